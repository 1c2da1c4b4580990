"""The drop-in for transformers' generate: the same greedy tokens, the same law, and what each option promises."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    SynthIDTextWatermarkingConfig,
    set_seed,
)

import coupled_decoding as cd
from coupled_decoding.evaluation.exactness.statistics import chi_square_p_value, count_sequences

VOCAB = 40
PAD = 39
INPUT_IDS = torch.tensor([[PAD, PAD, 1, 2, 3], [4, 5, 6, 7, 8], [PAD, 9, 10, 1, 2]])
MASK = (INPUT_IDS != PAD).long()
PADDED = {"input_ids": INPUT_IDS, "attention_mask": MASK}
ALONE = {"input_ids": INPUT_IDS[1:2], "attention_mask": MASK[1:2]}
METHODS = [cd.AR(), cd.SJD(window=8), cd.SCD(window=8, coupling="maximal"), cd.SeedExact(window=8)]
RUNS = 20_000
P_VALUE = 1e-9  # a dozen statistical tests at most: false alarms below 1e-7 a run


def llama(vocab: int = VOCAB, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{
        "vocab_size": vocab, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 128, "initializer_range": 0.25, "bos_token_id": None,
        "eos_token_id": None, "pad_token_id": vocab - 1, **changes,
    })).eval()


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3, bos_token_id=None,
        eos_token_id=None, pad_token_id=PAD,
    )).eval()


class EndsAfterRepeat(StoppingCriteria):
    """Ends a row at the second of two equal neighbours."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return input_ids[:, -1] == input_ids[:, -2]


class NoNeighbours(LogitsProcessor):
    """A user's own: ids next to the last token's are a little less likely."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        distance = (torch.arange(scores.shape[1]) - input_ids[:, -1:]).abs()
        return scores - 2.0 * (distance <= 1)


class Counting(LogitsProcessor):
    """Keeps a state: its answer depends on how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        return scores + self.calls * torch.arange(scores.shape[1])


def only_rising(row: int, past: Tensor) -> list[int]:
    """Three ids above the last token, another three for odd rows; a past that this forbids is an error."""
    generated = past[INPUT_IDS.shape[1] :].tolist()
    if any(not 0 < (after - before - row % 2 * 3) % (VOCAB - 1) <= 3 for before, after in
           itertools.pairwise([int(past[INPUT_IDS.shape[1] - 1]), *generated])):
        raise AssertionError("asked about a past that cannot be")
    return [(int(past[-1]) + row % 2 * 3 + step) % (VOCAB - 1) for step in (1, 2, 3)]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "eos": {"eos_token_id": [3, 17, 22, 30]},
    "repetition penalty": {"repetition_penalty": 1.7},
    "n-grams": {"no_repeat_ngram_size": 2},
    "bad words": {"bad_words_ids": [[3], [7, 8], [12, 5]]},
    "sequence bias": {"sequence_bias": [[[5], 3.0], [[5, 9], -4.0]]},
    "lengths": {"min_new_tokens": 6, "eos_token_id": [3, 17, 22, 30], "forced_eos_token_id": 3},
    "decay": {"exponential_decay_length_penalty": (4, 1.5), "eos_token_id": 3},
    "suppress": {"suppress_tokens": [1, 2], "begin_suppress_tokens": [4]},
    "prompt penalty": {"encoder_repetition_penalty": 1.5},
    "prompt n-grams": {"encoder_no_repeat_ngram_size": 2},
    "watermark": {"watermarking_config": {"bias": 2.5, "seeding_scheme": "selfhash"}},
    "prefix": {"prefix_allowed_tokens_fn": only_rising},
    "own": {"logits_processor": LogitsProcessorList([NoNeighbours()])},
    "stopping": {"stopping_criteria": StoppingCriteriaList([EndsAfterRepeat()]), "eos_token_id": 3},
    "guidance": {"guidance_scale": 2.5},
    "negative prompt": {
        "guidance_scale": 3.0, "repetition_penalty": 1.3,
        "negative_prompt_ids": torch.tensor([[PAD, 3], [4, 5], [6, 1]]),
        "negative_prompt_attention_mask": torch.tensor([[0, 1], [1, 1], [1, 1]]),
    },
    "several": {"num_return_sequences": 1, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "eos_token_id": 22},
}


@pytest.mark.parametrize(
    ("method", "name"),
    [*((cd.SCD(window=8), name) for name in OPTIONS), *((method, "several") for method in METHODS)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_greedy_tokens_scores_and_logits_are_those_of_transformers(method: cd.Method, name: str) -> None:
    """Three prompts of different lengths, padded on the left; every option, and every method."""
    options = OPTIONS[name]
    asked = {"max_new_tokens": 20, "do_sample": False, "return_dict_in_generate": True, "output_scores": True,
             "output_logits": True, **PADDED, **options}
    model = llama()
    theirs = model.generate(**asked)
    ours = model.generate(**asked, custom_generate=cd.generate_with(method))
    assert torch.equal(ours.sequences, theirs.sequences)
    tokens = ours.sequences[:, INPUT_IDS.shape[1] :]
    for mine, own in ((ours.scores, theirs.scores), (ours.logits, theirs.logits)):
        assert len(mine) == len(own) == tokens.shape[1]
        for row, seeds_end in enumerate(ours.trace.committed.sum(0).tolist()):
            for step in range(seeds_end):
                torch.testing.assert_close(mine[step][row], own[step][row], rtol=1e-4, atol=1e-4)
            assert all(not entry[row].any() for entry in mine[seeds_end:])


@pytest.mark.parametrize("prompt", [PADDED, ALONE], ids=["batch", "alone"])
def test_greedy_tokens_of_another_architecture(prompt: dict[str, Tensor]) -> None:
    model = gpt2()
    theirs = model.generate(**prompt, max_new_tokens=30, do_sample=False)
    ours = model.generate(**prompt, max_new_tokens=30, do_sample=False, custom_generate=cd.generate_with())
    assert torch.equal(ours, theirs)


def law_of_generate(model: Any, prompt: Tensor, length: int, options: dict[str, Any]) -> Tensor:
    """Joint law of ``length`` tokens by enumeration: transformers' own processors on the model's own logits."""
    caught: list[Any] = []

    def catch(model: Any, input_ids: Tensor, logits_processor: Any, **kwargs: Any) -> Tensor:
        caught.append((logits_processor, kwargs["generation_config"]))
        return input_ids

    model.generate(prompt.unsqueeze(0), max_new_tokens=length, do_sample=True, custom_generate=catch, **options)
    processors, config = caught[0]
    ends = set() if config.eos_token_id is None else set(config._eos_token_tensor.tolist())
    vocab = model.config.vocab_size
    law = torch.zeros([vocab] * length, dtype=torch.float64)

    def walk(past: list[int], probability: float) -> None:
        if len(past) == length or (past and past[-1] in ends):
            law[(*past, *[vocab - 1] * (length - len(past)))] += probability  # padded as generate does
            return
        ids = torch.cat([prompt, torch.tensor(past, dtype=torch.long)]).unsqueeze(0)
        with torch.no_grad():
            scores = processors(ids, model(ids).logits[:, -1].float())
        for token, chance in enumerate(scores.double().softmax(-1)[0].tolist()):
            if chance > 0:
                walk([*past, token], probability * chance)

    walk([], 1.0)
    return law


SAMPLED: dict[str, dict[str, Any]] = {
    "warpers": {"temperature": 1.5, "top_k": 4, "top_p": 0.9},
    "min-p and penalty": {"top_k": 0, "min_p": 0.02, "repetition_penalty": 1.4},
    "n-grams and eos": {"top_k": 0, "no_repeat_ngram_size": 2, "eos_token_id": 2},
}


@pytest.mark.parametrize("options", SAMPLED.values(), ids=SAMPLED.keys())
@pytest.mark.parametrize("method", [cd.SCD(window=3), cd.SCD(window=4, coupling="maximal"), cd.SeedExact(window=3)],
                         ids=lambda method: method.name)
def test_sampled_sequences_follow_the_law_of_generate(method: cd.Method, options: dict[str, Any]) -> None:
    """Four tokens of a vocabulary of six, drafts and ends included, against the enumerated law."""
    model, prompt, length = llama(6, initializer_range=0.35), torch.tensor([1, 2, 1]), 4
    law = law_of_generate(model, prompt, length, options)
    out = model.generate(
        prompt.unsqueeze(0), max_new_tokens=length, do_sample=True, num_return_sequences=RUNS,
        custom_generate=cd.generate_with(method, seed=1), **options,
    )
    counts = count_sequences(out[:, len(prompt) :], 6)
    assert chi_square_p_value(counts, law) > P_VALUE


def test_seed_exact_gives_the_tokens_of_ar_and_takes_fewer_forwards() -> None:
    model = llama().double()
    asked = {**PADDED, "max_new_tokens": 40, "do_sample": True, "top_k": 10, "return_dict_in_generate": True}
    ar = model.generate(**asked, custom_generate=cd.generate_with(cd.AR(), seed=5))
    exact = model.generate(**asked, custom_generate=cd.generate_with(cd.SeedExact(window=16), seed=5))
    assert torch.equal(ar.sequences, exact.sequences)
    assert exact.trace.nfe.sum() < ar.trace.nfe.sum()
    assert exact.seeds == (5, 6, 7)
    tuned = model.generate(**asked, custom_generate=cd.generate_with(cd.SeedExact("auto", predict=True), seed=5))
    assert torch.equal(ar.sequences, tuned.sequences)


def test_transformers_set_seed_makes_a_run_repeatable() -> None:
    model, outputs = llama(), []
    for seed in (1, 1, 2):
        set_seed(seed)
        outputs.append(model.generate(**ALONE, max_new_tokens=20, do_sample=True, custom_generate=cd.generate_with()))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_a_row_does_not_depend_on_its_neighbours_nor_on_their_ends() -> None:
    model = llama().double()
    asked = {"max_new_tokens": 30, "do_sample": True, "eos_token_id": [3, 17], "repetition_penalty": 1.3}
    batch = model.generate(**PADDED, **asked, custom_generate=cd.generate_with(seed=[4, 5, 6]))
    alone = model.generate(**ALONE, **asked, custom_generate=cd.generate_with(seed=5))
    length = alone.shape[1]
    assert torch.equal(batch[1, :length], alone[0])
    assert (batch[1, length:] == PAD).all()


def test_several_sequences_of_a_prompt_differ() -> None:
    out = llama().generate(**PADDED, max_new_tokens=10, do_sample=True, num_return_sequences=3,
                           custom_generate=cd.generate_with(seed=0))
    assert out.shape == (9, 15)
    assert len({tuple(row) for row in out.tolist()}) == 9


class Recorder:
    def __init__(self) -> None:
        self.put_tokens: list[Tensor] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        assert not self.ended
        self.put_tokens.append(value)

    def end(self) -> None:
        self.ended = True


def test_a_streamer_gets_the_prompt_and_then_each_token_once() -> None:
    streamer = Recorder()
    out = llama().generate(**ALONE, max_new_tokens=20, do_sample=True, eos_token_id=[3, 17, 22, 30],
                           custom_generate=cd.generate_with(seed=2, streamer=streamer))
    assert torch.equal(streamer.put_tokens[0], INPUT_IDS[1:2])
    assert torch.cat(streamer.put_tokens[1:]).tolist() == out[0, 5:].tolist()
    assert streamer.ended


def test_on_step_stops() -> None:
    out = llama().generate(**ALONE, max_new_tokens=50, custom_generate=cd.generate_with(
        cd.AR(), on_step=lambda step: step.number < 4))
    assert out.shape[1] == 5 + 4


def test_the_repository_form_streams_and_gives_the_same_tokens() -> None:
    repository, streamer, model = str(Path(__file__).parents[2]), Recorder(), llama()
    asked = {**ALONE, "max_new_tokens": 20, "do_sample": True}
    ours = model.generate(**asked, custom_generate=repository, trust_remote_code=True, method="seed-exact", window=8,
                          seed=3, streamer=streamer)
    theirs = model.generate(**asked, custom_generate=cd.generate_with(cd.SeedExact(window=8), seed=3))
    assert torch.equal(ours, theirs)
    assert streamer.ended


def filled_cache(model: Any) -> DynamicCache:
    cache = DynamicCache()
    model(input_ids=INPUT_IDS[1:2, :3], past_key_values=cache)
    return cache


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "beams": ({"num_beams": 2}, "num_beams is 2"),
    "attentions": ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions"),
    "embeddings": ({"inputs_embeds": torch.zeros(1, 5, 32), "input_ids": None}, "inputs_embeds"),
    "stateful": ({"logits_processor": LogitsProcessorList([Counting()])}, "Counting gives two answers"),
    "synthid": ({"watermarking_config": SynthIDTextWatermarkingConfig(keys=[1, 2, 3], ngram_len=2)}, "SynthID"),
    "right padding": ({"attention_mask": torch.tensor([[1, 1, 1, 1, 0]])}, "at the left end"),
    "hole": ({"attention_mask": torch.tensor([[1, 0, 1, 1, 1]])}, "at the left end"),
    "positions": ({"position_ids": torch.tensor([[5, 6, 7, 8, 9]])}, "position_ids of your own"),
    "too long": ({"max_new_tokens": 200}, "the model reads 128"),
}


@pytest.mark.parametrize(("options", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_served_is_refused_with_its_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        llama().generate(**{**ALONE, "max_new_tokens": 5, "do_sample": True, **options},
                         custom_generate=cd.generate_with())


def test_other_refusals() -> None:
    model = llama()
    with pytest.raises(ValueError, match="SCD-gumbel reads branches, which logits processors are not asked about"):
        cd.generate_with(cd.SCD(branches=8))
    with pytest.raises(ValueError, match="already holds tokens"):
        model.generate(**ALONE, max_new_tokens=5, past_key_values=filled_cache(model),
                       custom_generate=cd.generate_with())
    with pytest.raises(ValueError, match="a batch of 3: it shows one text"):
        model.generate(**PADDED, max_new_tokens=5, custom_generate=cd.generate_with(streamer=Recorder()))
    bart = BartForConditionalGeneration(BartConfig(
        vocab_size=VOCAB, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=0,
        forced_eos_token_id=None,
    ))
    with pytest.raises(ValueError, match="encoder-decoder"):
        bart.generate(INPUT_IDS, max_new_tokens=5, custom_generate=cd.generate_with())
