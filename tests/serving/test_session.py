"""The transformers session equals the model's own forward, and keeps the session contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

import coupled_decoding as cd
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession

VOCAB, CODES = 50, torch.arange(5, 25)
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
NEGATIVE = [[1, 3], [1, 3], [2]]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2,
        **changes,
    })).eval()


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, bos_token_id=0,
        eos_token_id=0,
    )).eval()


MODELS = {"llama": llama, "gpt2": gpt2}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("architecture", MODELS)
def test_equals_the_models_own_forward_without_a_cache(architecture: str, dtype: torch.dtype) -> None:
    """Ragged prompts, a window after stale drafts: the logits of the whole sequence read at once."""
    model = MODELS[architecture]().to(dtype)
    session = TransformersSession(CausalLM(model), PROMPTS, length=12)
    generator = torch.Generator().manual_seed(1)
    stale, tokens = torch.randint(VOCAB, (2, 3, 12), generator=generator)
    positions = session.last_position.unsqueeze(1) + torch.arange(12)
    session.forward(stale, positions)
    fed = torch.cat([session.last_token.unsqueeze(1), tokens[:, :11]], 1)
    ours = torch.cat([session.forward(fed[:, :5], positions[:, :5]), session.forward(fed[:, 5:], positions[:, 5:])], 1)
    for row, prompt in enumerate(PROMPTS):
        whole = torch.tensor([prompt + tokens[row, :11].tolist()])
        with torch.no_grad():
            own = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 :]
        torch.testing.assert_close(ours[row], own, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("guided", [False, True])
def test_keeps_the_session_contract(architecture: str, dtype: torch.dtype, guided: bool) -> None:
    """Windows, stale entries, padding past the end, single rows and repetition; with a head of few codes."""
    backbone = CausalLM(MODELS[architecture]().to(dtype), output_codes=CODES)
    negative = NEGATIVE if guided else None
    session = TransformersSession(backbone, PROMPTS, 20, negative_prompts=negative, guidance_scale=1.5)
    cd.check_session(session, TOLERANCE[dtype])


def test_eager_attention_keeps_the_contract_in_float32() -> None:
    """The other mask format. (Its softmax is in float32 whatever the model's precision, so float64 gains nothing.)"""
    model = llama()
    model.set_attn_implementation("eager")
    cd.check_session(TransformersSession(CausalLM(model, CODES), PROMPTS, 20), TOLERANCE[torch.float32])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precisions_run_and_give_float32_logits(dtype: torch.dtype) -> None:
    session = TransformersSession(CausalLM(llama().to(dtype)), PROMPTS, 8)
    decoded = cd.decode(session, 8, method=cd.SCD(window=4), seed=0)
    assert decoded.tokens.shape == (3, 8)
    logits = session.forward(session.last_token.unsqueeze(1), session.last_position.unsqueeze(1))
    assert logits.dtype == torch.float32


def test_guidance_is_the_published_formula() -> None:
    """u + s (c - u) from two plain forwards; the scale depends on the index, the two prompts end differently."""
    model = llama().double()
    session = TransformersSession(
        CausalLM(model), PROMPTS, 6, negative_prompts=NEGATIVE, guidance_scale=lambda index: 1.0 + index.double()
    )
    tokens = torch.randint(VOCAB, (3, 6), generator=torch.Generator().manual_seed(2))
    fed = torch.cat([session.last_token.unsqueeze(1), tokens[:, :5]], 1)
    ours = session.forward(fed, session.last_position.unsqueeze(1) + torch.arange(6))
    scale = 1.0 + torch.arange(6, dtype=torch.float64).unsqueeze(1)
    for row in range(3):
        with torch.no_grad():
            c, u = (
                model(input_ids=torch.tensor([prompt + tokens[row, :5].tolist()]), use_cache=False)
                .logits[0, len(prompt) - 1 :]
                for prompt in (PROMPTS[row], NEGATIVE[row])
            )
        torch.testing.assert_close(ours[row], u + scale * (c - u), rtol=0, atol=1e-12)


def test_a_shared_prompt_is_read_once() -> None:
    """Counted at the model: one sequence read for five pictures of a prompt."""
    model = llama()
    backbone = CausalLM(model)
    read: list[tuple[int, ...]] = []
    handle = model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    session = TransformersSession(backbone, [[1, 2, 3]] * 5, 4)
    handle.remove()
    assert read == [(1, 2)]
    alone = TransformersSession(backbone, [[1, 2, 3]], 4)
    method = cd.SeedExact(window=3)
    expected = cd.decode(alone, 4, seed=[9], method=method).tokens
    assert torch.equal(cd.decode(session, 4, seed=[9] * 5, method=method).tokens, expected.expand(5, -1))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_rows_leave_and_the_session_can_be_used_again(dtype: torch.dtype) -> None:
    """Rows of unequal length: a second decode on the same session, and each row alone, give the same tokens."""
    backbone = CausalLM(llama().to(dtype))
    session = TransformersSession(backbone, PROMPTS, 20, negative_prompts=NEGATIVE, guidance_scale=1.5)
    lengths = [20, 7, 13]
    for method in (cd.SCD(window=6), cd.SeedExact(window=5), cd.SJD(window=4), cd.SCD(window=6, coupling="maximal")):
        first = cd.decode(session, lengths, method=method, seed=3)
        again = cd.decode(session, lengths, method=method, seed=3)
        assert torch.equal(first.tokens, again.tokens)
        assert [int((row >= 0).sum()) for row in first.tokens] == lengths
        for row, length in enumerate(lengths):
            alone = TransformersSession(
                backbone, PROMPTS[row : row + 1], 20, negative_prompts=NEGATIVE[row : row + 1], guidance_scale=1.5
            )
            expected = cd.decode(alone, length, method=method, seed=3 + row).tokens[0]
            assert torch.equal(first.tokens[row, :length], expected), f"{method}, row {row}"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_seed_exact_gives_the_tokens_of_ar_on_a_real_architecture(dtype: torch.dtype) -> None:
    """Windows 2 to 32 against plain AR with the same noise, guidance on."""
    session = TransformersSession(
        CausalLM(llama().to(dtype), CODES), PROMPTS, 40, negative_prompts=NEGATIVE, guidance_scale=2.0
    )
    layout = cd.Layout.grid(5, 8, CODES)
    expected = cd.decode(session, 40, method=cd.AR(), layout=layout, seed=5)
    assert expected.trace.nfe.tolist() == [40] * 3
    for window in (2, 3, 8, 32):
        decoded = cd.decode(session, 40, method=cd.SeedExact(window=window), layout=layout, seed=5)
        assert torch.equal(decoded.tokens, expected.tokens)
        assert (decoded.trace.nfe < 40).all()


def bart() -> Any:
    return BartForConditionalGeneration(BartConfig(
        vocab_size=VOCAB, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32,
    ))


def flash() -> Any:
    model = llama()
    model.config._attn_implementation = "flash_attention_2"
    return model


TINY = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 1}
REFUSED = {
    "sliding window": lambda: MistralForCausalLM(MistralConfig(
        **TINY, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2, sliding_window=8)),
    "recurrent state": lambda: MambaForCausalLM(MambaConfig(**TINY)),
    "does not run with positions": lambda: BloomForCausalLM(BloomConfig(
        vocab_size=VOCAB, hidden_size=32, n_layer=1, n_head=4)),
    "model file of its own": lambda: CohereForCausalLM(CohereConfig(
        **TINY, intermediate_size=32, num_attention_heads=4, logit_scale=0.1, pad_token_id=0, bos_token_id=1,
        eos_token_id=2)),
    "encoder-decoder": bart,
    "no linear output head": lambda: LlamaModel(LlamaConfig(**TINY, intermediate_size=32, num_attention_heads=4)),
    "refuses a mask": flash,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_architectures_it_cannot_serve_are_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CausalLM(REFUSED[reason]().eval())


def test_bad_prompts_are_refused_with_one_sentence() -> None:
    backbone = CausalLM(llama())
    for arguments, sentence in (
        (([[1], []], 4), "a prompt is empty"),
        (([[1, VOCAB]], 4), f"token {VOCAB} in a prompt"),
        (([[1, -1]], 4), "token -1 in a prompt"),
        (([[1]], 100), "the model reads 64 positions"),
    ):
        with pytest.raises(ValueError, match=sentence):
            TransformersSession(backbone, *arguments)
    with pytest.raises(ValueError, match="1 negative prompts for 2 prompts"):
        TransformersSession(backbone, [[1], [2]], 4, negative_prompts=[[1]])


def test_codes_that_the_head_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=f"code {VOCAB} is wanted, but the output head has ids 0 to {VOCAB - 1}"):
        CausalLM(llama(), torch.arange(10, VOCAB + 1))
