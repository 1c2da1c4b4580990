"""Intervals that hold what they estimate as often as they say, and a bias that is seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coupled_decoding.evaluation.metrics.bootstrap import Statistic, bootstrap
from coupled_decoding.evaluation.metrics.clips import mean_statistic


def square_of_mean(values: Tensor) -> Statistic:
    """Biased by the variance of the mean."""
    mean = mean_statistic(values)
    return lambda counts: mean(counts).square()


def test_an_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    """Of 400 normal values; resampling is random, so to a tenth."""
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimate = bootstrap(mean_statistic(values), 400, draws=4000)
    half = 1.96 * values.std(correction=0) / 20
    assert estimate.value == pytest.approx(values.mean().item(), abs=1e-12)
    assert estimate.low == pytest.approx((values.mean() - half).item(), abs=0.1 * half.item())
    assert estimate.high == pytest.approx((values.mean() + half).item(), abs=0.1 * half.item())


def test_intervals_cover() -> None:
    """In 400 sets of 60 values the true mean is in the interval some 95 times in 100 (under 340 by chance: 1e-12)."""
    values = torch.randn(400, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimates = [bootstrap(mean_statistic(some), 60, draws=300, seed=i) for i, some in enumerate(values)]
    held = sum(estimate.low <= 0 <= estimate.high for estimate in estimates)
    assert 340 <= held < 400


def test_bias_is_taken_out() -> None:
    """The square of a mean is too large by the variance of the mean, here by 0.05; the corrected one is not."""
    values = 1 + torch.randn(2000, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    estimates = [bootstrap(square_of_mean(some), 20, draws=100, seed=i) for i, some in enumerate(values)]
    plain = sum(estimate.value for estimate in estimates) / len(estimates)
    corrected = sum(estimate.corrected for estimate in estimates) / len(estimates)
    error = 5 * 2 / (20 * 2000) ** 0.5  # the square's own standard error over all sets is 2 / sqrt(40000)
    assert plain - 1 == pytest.approx(0.05, abs=error)
    assert corrected - 1 == pytest.approx(0.0, abs=error)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = torch.arange(10.0)
    assert bootstrap(mean_statistic(values), 10) == bootstrap(mean_statistic(values), 10)
    assert bootstrap(mean_statistic(values), 10) != bootstrap(mean_statistic(values), 10, seed=1)


def test_what_cannot_be_resampled_is_refused() -> None:
    """One unit says nothing of spread, and an infinite value makes everything not a number."""
    with pytest.raises(ValueError, match="1 units to resample"):
        bootstrap(mean_statistic(torch.ones(1)), 1)
    with pytest.raises(ValueError, match="not finite"):
        bootstrap(mean_statistic(torch.tensor([1.0, torch.inf])), 2)
