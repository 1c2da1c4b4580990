"""The training's forward is transformers' Llama, its loss counts codes, and examples come as often as they weigh."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from training.emoji.captions import CODES
from training.emoji.recognition import recognised
from training.emoji.transformer import code_loss, draws
from training.llama import causal_attention, hidden_states


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=CODES + 40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, initializer_range=0.2,
    )).eval()


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_hidden_states_are_those_of_transformers(model: LlamaForCausalLM, length: int) -> None:
    """Up to the rounding of rotary factors, which the training holds in bfloat16."""
    ids = torch.randint(0, CODES + 40, (3, length), generator=torch.Generator().manual_seed(length))
    expected = model.model(ids).last_hidden_state
    torch.testing.assert_close(hidden_states(model, ids), expected, atol=0.02, rtol=0.02)


@given(st.integers(1, 9), st.integers(0, 99))
@settings(deadline=None)
def test_attention_by_halves_is_attention(length: int, seed: int) -> None:
    q, k, v = torch.randn(3, 2, 3, length, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(causal_attention(q, k, v), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_loss_counts_picture_codes_only(model: LlamaForCausalLM) -> None:
    """By hand over each row alone; padding and prompts add nothing. Computed in bfloat16, so to two digits."""
    prompts = [[CODES + 1, CODES + 2], [CODES + 1, CODES + 9, CODES + 8, CODES + 2]]
    codes = torch.randint(0, CODES, (2, 6), generator=torch.Generator().manual_seed(1))
    ids, before = torch.zeros(2, 12, dtype=torch.long), torch.zeros(2, 6, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
        ids[row, len(prompt) : len(prompt) + 6] = codes[row]
        before[row] = len(prompt) - 1 + torch.arange(6)
    found = code_loss(model, ids, before, codes)
    for row, prompt in enumerate(prompts):
        logits = model(torch.tensor([[*prompt, *codes[row].tolist()]])).logits[0, len(prompt) - 1 : -1, :CODES]
        expected = F.cross_entropy(logits, codes[row], reduction="none")
        torch.testing.assert_close(found[row], expected, atol=0.05, rtol=0.02)


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=30), st.integers(0, 99))
def test_examples_come_as_often_as_they_weigh(weights: list[float], seed: int) -> None:
    """In every round of N draws an example comes N times its share, rounded down or up."""
    weight = torch.tensor(weights)
    count = len(weights)
    drawn = list(islice(draws(weight, torch.Generator().manual_seed(seed)), 3 * count))
    for first in range(0, 3 * count, count):
        often = torch.bincount(torch.tensor(drawn[first : first + count]), minlength=count)
        assert ((often - count * weight.double() / weight.double().sum()).abs() < 1 + 1e-6).all()


def test_recognised_counts_ranks() -> None:
    found = recognised(torch.tensor([1, 2, 5, 6, 100]))
    assert (found.subjects, found.top1, found.top5, found.median_rank) == (5, 0.2, 0.6, 5.0)
    assert found.top5_interval[0] <= 0.6 <= found.top5_interval[1]
    assert recognised(torch.tensor([1, 1])).top1_interval == (1.0, 1.0)
