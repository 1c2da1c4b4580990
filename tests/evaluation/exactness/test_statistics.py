"""The measure itself: a chi-square test that agrees with scipy's, pools rare cells and forgives nothing impossible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from coupled_decoding.evaluation.exactness.statistics import chi_square_p_value, count_sequences, median_interval


def random_law(size: int, seed: int, concentration: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.full(size, concentration)))


def draw_counts(law: Tensor, draws: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).multinomial(draws, law.numpy()))


@given(size=st.integers(2, 40), seed=st.integers(0, 2**32 - 1), tilt=st.floats(0, 0.2))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_equals_scipy_where_nothing_is_pooled(size: int, seed: int, tilt: float) -> None:
    """For counts of the law and of a tilted one, with all cells large."""
    law = 0.5 / size + 0.5 * random_law(size, seed)
    counts = draw_counts((1 - tilt) * law + tilt * random_law(size, seed + 1), 10_000, seed)
    expected = stats.chisquare(counts.numpy(), 10_000 * law.numpy(), sum_check=False).pvalue
    assert chi_square_p_value(counts, law, least=1.0) == pytest.approx(expected, rel=1e-6, abs=1e-250)


def test_rare_cells_are_pooled_into_one() -> None:
    """Cells of fewer than ten expected counts are one cell of their sum."""
    law = torch.tensor([0.5, 0.3, 0.185, 0.005, 0.004, 0.006], dtype=torch.float64)
    counts = torch.tensor([480, 320, 178, 9, 2, 11])
    merged = stats.chisquare([480, 320, 178, 22], [500, 300, 185, 15]).pvalue
    assert chi_square_p_value(counts, law) == pytest.approx(merged, rel=1e-9)


def test_a_pool_too_small_joins_the_smallest_cell() -> None:
    """One rare cell alone would be a cell of fewer than ten expected counts."""
    law = torch.tensor([0.6, 0.395, 0.005], dtype=torch.float64)
    merged = stats.chisquare([590, 410], [600, 400]).pvalue
    assert chi_square_p_value(torch.tensor([590, 403, 7]), law) == pytest.approx(merged, rel=1e-9)


@pytest.mark.parametrize("count", [1, 5])
def test_one_impossible_count_is_enough(count: int) -> None:
    """However well the rest fits, and however few."""
    law = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    assert chi_square_p_value(torch.tensor([5000, 5000, count]), law) == 0.0
    assert chi_square_p_value(torch.tensor([5000, 5000, 0]), law) == 1.0


def test_too_few_counts_prove_nothing() -> None:
    """With everything in one cell, no deviation can be seen, and none is claimed."""
    assert chi_square_p_value(torch.tensor([3, 0]), torch.tensor([0.5, 0.5])) == 1.0
    assert chi_square_p_value(torch.tensor([100]), torch.tensor([1.0])) == 1.0


@pytest.mark.parametrize("concentration", [0.3, 5.0])
def test_p_values_are_uniform_under_the_null(concentration: float) -> None:
    """Over 4,000 repetitions of a right model, p-values spread evenly, also where many cells are pooled."""
    law = random_law(60, 1, concentration)
    values = [chi_square_p_value(draw_counts(law, 20_000, seed), law) for seed in range(4000)]
    assert stats.kstest(values, "uniform").pvalue > 1e-9


def test_a_wrong_law_is_seen() -> None:
    """Two per cent of the mass in a wrong place gives a tiny p-value at 200,000 counts."""
    law = random_law(60, 2)
    wrong = 0.98 * law + 0.02 * random_law(60, 3)
    assert chi_square_p_value(draw_counts(wrong, 200_000, 0), law) < 1e-20


def test_the_shape_does_not_matter() -> None:
    """Joint laws are tables of several dimensions, tested cell by cell."""
    law = random_law(24, 4)
    counts = draw_counts(law, 5000, 0)
    assert chi_square_p_value(counts.view(2, 3, 4), law.view(2, 3, 4)) == chi_square_p_value(counts, law)


def test_sequences_are_counted_in_their_cells() -> None:
    """The cell of a sequence is named by its tokens."""
    counts = count_sequences(torch.tensor([[0, 2, 1], [0, 2, 1], [2, 0, 0]]), 3)
    assert counts.shape == (3, 3, 3)
    assert counts[0, 2, 1] == 2
    assert counts[2, 0, 0] == 1
    assert counts.sum() == 3


@pytest.mark.parametrize(("count", "cut", "probability"), [
    (1, 0, 0.0), (3, 0, 0.75), (6, 0, 1 - 2 / 64), (8, 0, 1 - 2 / 256), (9, 1, 1 - 2 * 10 / 512), (20, 5, None),
])
def test_an_interval_of_the_median_is_that_of_the_binomial_law(count: int, cut: int, probability: float | None) -> None:
    """The narrowest pair of values with at least 95%; scipy's binomial law says how often it holds the median."""
    values = [float(value) for value in np.random.default_rng(0).permutation(count)]
    low, high, held = median_interval(values)
    assert (low, high) == (cut, count - 1 - cut)
    assert held == pytest.approx(1 - 2 * stats.binom.cdf(cut, count, 0.5), abs=1e-12)
    if probability is not None:
        assert held == pytest.approx(probability, abs=1e-12)
    assert count < 6 or held >= 0.95 > 1 - 2 * stats.binom.cdf(cut + 1, count, 0.5)
