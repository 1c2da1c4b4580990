"""On a real transformer the joint law of what is decoded is the model's own, by enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import coupled_decoding as cd
from coupled_decoding.evaluation.exactness.statistics import chi_square_p_value, count_sequences
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession

FIRST, CODES, LENGTH = 3, 4, 4  # codes 3 .. 6, streams of four
PROMPTS, NEGATIVE = ([1, 2, 0], [2]), [0]
DRAWS, AT_ONCE = 20_000, 4_000
FALSE_ALARM = 1e-9  # of each test below; eight comparisons, so the file stays under 1e-8


def backbone() -> CausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, initializer_range=0.6,
    )
    return CausalLM(LlamaForCausalLM(config).double().eval(), torch.arange(FIRST, FIRST + CODES))


def joint_law(model: CausalLM, prompt: list[int]) -> Tensor:
    """Probability of each stream by plain forwards without a cache, guided: ``[CODES] * LENGTH``."""
    streams = torch.tensor(list(itertools.product(range(FIRST, FIRST + CODES), repeat=LENGTH)))

    def logits(start: list[int]) -> Tensor:
        whole = torch.cat([torch.tensor(start).expand(len(streams), -1), streams], 1)
        with torch.no_grad():
            out = model.model(input_ids=whole, use_cache=False).logits
        return out[:, len(start) - 1 : -1, FIRST : FIRST + CODES]

    c, u = logits(prompt), logits(NEGATIVE)  # two prompts that end differently, then the same new tokens
    steps = (u + 1.5 * (c - u)).log_softmax(-1).gather(-1, streams.unsqueeze(-1) - FIRST).squeeze(-1)
    return steps.sum(1).exp().view([CODES] * LENGTH)


METHODS = [
    cd.SJD(window=3),
    cd.SCD(window=3, coupling="maximal"),
    cd.SCD(window=3, first_guess="above"),
    cd.SeedExact(window=3),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_joint_law_on_a_transformer(method: cd.Method) -> None:
    """Two ragged prompts in one batch, guided; all 256 streams against the model's own probabilities."""
    model = backbone()
    layout = cd.Layout.grid(2, 2, torch.arange(FIRST, FIRST + CODES))
    rows = [PROMPTS[row % 2] for row in range(AT_ONCE)]
    session = TransformersSession(model, rows, LENGTH, negative_prompts=[NEGATIVE] * AT_ONCE, guidance_scale=1.5)
    counts = [torch.zeros([CODES] * LENGTH, dtype=torch.long) for _ in PROMPTS]
    for first in range(0, DRAWS, AT_ONCE):
        tokens = cd.decode(session, LENGTH, method=method, layout=layout, seed=first).tokens - FIRST
        for number in range(len(PROMPTS)):
            counts[number] += count_sequences(tokens[number::2], CODES)
    for number, prompt in enumerate(PROMPTS):
        assert chi_square_p_value(counts[number], joint_law(model, prompt), least=50) > FALSE_ALARM
    other = joint_law(model, PROMPTS[1])
    assert chi_square_p_value(counts[0], other) < FALSE_ALARM, "the test could not tell one prompt from the other"
