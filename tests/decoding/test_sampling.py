"""The target distribution: transformers' own order and boundaries, over the legal codes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from coupled_decoding import Sampling
from coupled_decoding.decoding.sampling import target_distribution

# few values, so that ties are common, also at the k-th place and at the edge of the nucleus
TIED = st.sampled_from([-3.0, -1.0, 0.0, 0.5, 0.5, 2.0])
LOGITS = st.integers(2, 40).flatmap(
    lambda size: st.lists(
        st.lists(st.one_of(TIED, st.floats(-20, 20, width=32)), min_size=size, max_size=size), min_size=1, max_size=4
    )
)
# no ties: which of several tied codes stand inside the nucleus is the sort's choice, and may depend on their number
DISTINCT = st.lists(st.integers(-2000, 2000), min_size=2, max_size=40, unique=True).map(
    lambda row: [[value / 100 for value in row], [value / 150 for value in row]]
)
TEMPERATURE = st.one_of(st.just(1.0), st.floats(0.05, 5))
TOP_K = st.one_of(st.none(), st.integers(1, 50))
TOP_P = st.one_of(st.none(), st.floats(0.01, 1))
DTYPE = st.sampled_from([torch.float32, torch.float64])


def transformers_distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """What ``generate`` samples from: its warpers in its order."""
    rows = logits.flatten(0, -2)
    tokens = torch.zeros(len(rows), 1, dtype=torch.long)
    if sampling.temperature != 1:
        rows = TemperatureLogitsWarper(sampling.temperature)(tokens, rows)
    if sampling.top_k is not None:
        rows = TopKLogitsWarper(sampling.top_k)(tokens, rows)
    if sampling.top_p is not None and sampling.top_p < 1:
        rows = TopPLogitsWarper(sampling.top_p)(tokens, rows)
    return rows.softmax(-1).view_as(logits)


@given(values=LOGITS, temperature=TEMPERATURE, top_k=TOP_K, top_p=TOP_P, dtype=DTYPE)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_equals_transformers(
    values: list[list[float]], temperature: float, top_k: int | None, top_p: float | None, dtype: torch.dtype
) -> None:
    """Temperature, top-k and top-p, alone and together, ties included, are transformers' own warpers."""
    logits, sampling = torch.tensor(values, dtype=dtype), Sampling(temperature, top_k, top_p)
    expected = transformers_distribution(logits, sampling)
    ours = target_distribution(logits, sampling)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    together = target_distribution(torch.stack([logits, logits.flip(0)]), sampling)  # [2, R, C]
    torch.testing.assert_close(together[0], expected, rtol=0, atol=0)


@given(values=DISTINCT, temperature=TEMPERATURE, top_k=TOP_K, top_p=TOP_P, data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_illegal_codes_are_exactly_zero(
    values: list[list[float]], temperature: float, top_k: int | None, top_p: float | None, data: st.DataObject
) -> None:
    """Illegal codes have no mass, whatever their logits, and the others are what they were without them."""
    logits, sampling = torch.tensor(values, dtype=torch.float64), Sampling(temperature, top_k, top_p)
    size = logits.shape[-1]
    allowed = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    legal = torch.zeros(size, dtype=torch.bool)
    legal[list(allowed)] = True
    logits[:, ~legal] += 30.0  # the model would love them
    ours = target_distribution(logits, sampling, legal)
    assert (ours[:, ~legal] == 0).all()
    torch.testing.assert_close(ours[:, legal], target_distribution(logits[:, legal], sampling))
    torch.testing.assert_close(ours.sum(-1), torch.ones(len(logits), dtype=torch.float64))


@given(values=LOGITS, data=st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_temperature_zero_is_the_lowest_best_id(values: list[list[float]], data: st.DataObject) -> None:
    """Greedy: all mass on the best legal code, the lowest id where several are best."""
    logits = torch.tensor(values)
    allowed = data.draw(st.sets(st.integers(0, logits.shape[-1] - 1), min_size=1))
    legal = torch.zeros(logits.shape[-1], dtype=torch.bool)
    legal[list(allowed)] = True
    ours = target_distribution(logits, Sampling(temperature=0, top_k=3, top_p=0.5), legal)
    for row, distribution in zip(values, ours, strict=True):
        best = min(allowed, key=lambda code: (-row[code], code))
        assert distribution[best] == 1
        assert distribution.count_nonzero() == 1


def test_ties_at_the_kth_value_all_stay() -> None:
    """top-k keeps every code that ties with the k-th, as documented."""
    ours = target_distribution(torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0]), Sampling(top_k=2))
    assert (ours > 0).tolist() == [False, True, True, True, True]


def test_top_p_keeps_the_code_that_reaches_the_mass() -> None:
    """The nucleus is the smallest set that reaches top_p, and never empty."""
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64).log()
    for top_p, kept in ((0.01, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.95, 4), (1.0, 4)):
        assert target_distribution(logits, Sampling(top_p=top_p)).count_nonzero() == kept


def test_nothing_is_applied_unless_asked_for() -> None:
    """The default is the softmax of the logits, of each set of legal codes."""
    logits = torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(target_distribution(logits, Sampling()), logits.softmax(-1))
    before = logits.clone()
    target_distribution(logits, Sampling(0.7, 5, 0.9), torch.arange(50) > 3)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"temperature": -0.1}, "temperature is -0.1: give a number of at least 0"),
    ({"temperature": math.inf}, "temperature is inf: give a number"),
    ({"temperature": math.nan}, "temperature is nan: give a number"),
    ({"top_k": 0}, "top_k is 0: give a whole number of at least 1"),
    ({"top_k": -5}, "top_k is -5: give a whole number of at least 1"),
    ({"top_p": 0.0}, "top_p is 0.0: give a number in"),
    ({"top_p": 1.5}, "top_p is 1.5: give a number in"),
    ({"top_p": math.nan}, "top_p is nan: give a number in"),
    ({"top_k": 2.5}, "top_k is 2.5: give"),
])
def test_bad_values_are_refused(arguments: dict[str, float], sentence: str) -> None:
    """Every value that means nothing is named, with what to give instead."""
    with pytest.raises(ValueError, match=sentence):
        Sampling(**arguments)  # type: ignore[arg-type]
