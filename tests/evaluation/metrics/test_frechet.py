"""The Frechet distance: the closed form, what leaves it as it is, what finite sets add, and its intervals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coupled_decoding.evaluation.metrics.bootstrap import bootstrap
from coupled_decoding.evaluation.metrics.frechet import frechet_distance, frechet_statistic, gaussian_distance
from coupled_decoding.evaluation.metrics.projection import PrincipalComponents


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def exactly(mean: Tensor, covariance: Tensor, count: int, seed: int) -> Tensor:
    """Samples whose own mean and covariance are these."""
    raw = normal(count, len(mean), seed=seed)
    white = (raw - raw.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def covariance(size: int, seed: int) -> Tensor:
    factor = normal(size, size + 2, seed=seed)
    return factor @ factor.T


def test_closed_form_of_covariances_that_commute() -> None:
    """Normal laws along common axes: squared differences of means and of standard deviations, summed."""
    turn, mean, other_mean = rotation(6, 0), normal(6, seed=1), normal(6, seed=2)
    spread, other_spread = normal(6, seed=3).abs() + 0.1, normal(6, seed=4).abs() + 0.1
    one = exactly(mean, turn @ spread.square().diag() @ turn.T, 50, seed=5)
    other = exactly(other_mean, turn @ other_spread.square().diag() @ turn.T, 80, seed=6)
    expected = ((mean - other_mean).square().sum() + (spread - other_spread).square().sum()).item()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_closed_form_in_two_dimensions() -> None:
    """Of covariances that do not commute: tr (CD)^1/2 is sqrt(tr CD + 2 sqrt(det CD)) there."""
    one, other = covariance(2, 7), covariance(2, 8)
    shared = (torch.trace(one @ other) + 2 * (torch.det(one) * torch.det(other)).sqrt()).sqrt()
    expected = (torch.trace(one) + torch.trace(other) - 2 * shared).item()
    zero = torch.zeros(2, dtype=torch.float64)
    assert gaussian_distance(zero, one, zero, other).item() == pytest.approx(expected, rel=1e-9)


def test_zero_for_equal_sets_also_far_from_the_origin() -> None:
    """Whatever their order, and where the mean is a million times the spread, as float64 can tell."""
    features = normal(300, 20, seed=9) + 1e6
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-6)


def test_symmetric_and_unmoved_by_what_moves_both() -> None:
    """Shifts and rotations of both sets change nothing; scaling both scales its square."""
    one, other = normal(90, 5, seed=10) @ covariance(5, 11), 0.5 + normal(70, 5, seed=12)
    distance = frechet_distance(one, other)
    turn = rotation(5, 13)
    assert frechet_distance(other, one) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(one @ turn + 7, other @ turn + 7) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(3 * one, 3 * other) == pytest.approx(9 * distance, rel=1e-9)


def test_a_covariance_of_lower_rank_is_no_trouble() -> None:
    """A constant feature: the others decide."""
    one, other = normal(90, 4, seed=14), 1 + normal(70, 4, seed=15)
    one[:, 3] = other[:, 3] = 2.0
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(one[:, :3], other[:, :3]), abs=1e-6)


def test_finite_sets_of_one_law_lie_apart_as_the_module_says() -> None:
    """On average over 400 pairs of sets, to the tenth that higher orders and chance may add."""
    values = torch.tensor([4.0, 1.0, 1.0, 0.25], dtype=torch.float64)
    pairs = values.unsqueeze(0) * values.unsqueeze(1) / (values.unsqueeze(0) + values.unsqueeze(1))
    expected = (1 / 150 + 1 / 300) * (1.25 * values.sum() + 0.5 * pairs.sum()).item()
    distances = [frechet_distance(normal(150, 4, seed=2 * i) * values.sqrt(), normal(300, 4, seed=2 * i + 1)
                                  * values.sqrt()) for i in range(400)]
    assert sum(distances) / 400 == pytest.approx(expected, rel=0.1)


def test_counts_are_the_same_as_clips_written_out() -> None:
    """A clip that counts twice is a clip that is there twice, one that counts zero times is left out."""
    one, other = normal(4, 6, 3, seed=20), normal(4, 5, 3, seed=21) * 2 + 1
    drawn = torch.tensor([0, 2, 2, 3])
    counts = torch.tensor([[1.0, 0.0, 2.0, 1.0]], dtype=torch.float64)
    expected = frechet_distance(one[drawn].flatten(0, 1), other[drawn].flatten(0, 1))
    assert frechet_statistic(one, other)(counts).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_intervals_cover_the_distance_of_the_laws(apart: float) -> None:
    """In 100 sets of 40 clips whose frames resemble each other, for laws that are apart and for one law.

    The true distance lies in the 95% interval at least 80 times; the distance as it comes is always too large for one
    law. Were clips not resampled whole, intervals would be too narrow and hold it less than 80 times.
    """
    scale = torch.tensor([1.0, 1.0 + apart, 1.0], dtype=torch.float64)
    expected = apart**2 + 3 * 0.5**2 * apart
    held = 0
    for i in range(100):
        between, other_between = normal(40, 1, 3, seed=4 * i), normal(40, 1, 3, seed=4 * i + 1)
        within, other_within = normal(40, 4, 3, seed=4 * i + 2), normal(40, 4, 3, seed=4 * i + 3)
        one = (0.8**0.5 * between + 0.2**0.5 * within) * scale + 0.5 * apart**0.5
        other = 0.8**0.5 * other_between + 0.2**0.5 * other_within
        estimate = bootstrap(frechet_statistic(one, other), 40, draws=200, seed=i)
        held += estimate.low <= expected <= estimate.high
        assert estimate.bias > 0
    assert held >= 80


def test_too_few_samples_are_refused() -> None:
    """With no more samples than features any covariance is singular, and the sentence says how many there should be."""
    with pytest.raises(ValueError, match="8 samples of 8 features.*80"):
        frechet_distance(normal(8, 8, seed=0), normal(100, 8, seed=1))
    with pytest.raises(ValueError, match="same number of features"):
        frechet_distance(normal(50, 8, seed=0), normal(50, 9, seed=1))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(normal(50, 8, seed=0) / 0, normal(50, 8, seed=1))


def test_principal_components_keep_what_varies_most() -> None:
    """Of features with known axes the widest are kept, in order, and a distance along them stays what it is."""
    turn, spread = rotation(6, 30), torch.tensor([5.0, 3.0, 1.0, 0.1, 0.1, 0.1], dtype=torch.float64)
    reference = exactly(torch.ones(6, dtype=torch.float64), turn @ spread.square().diag() @ turn.T, 60, seed=31)
    project = PrincipalComponents(reference, 3)
    assert project.share == pytest.approx(35 / 35.03, rel=1e-9)
    torch.testing.assert_close(torch.cov(project(reference).T), spread[:3].square().diag(), atol=1e-9, rtol=1e-9)
    moved = reference + turn[:, 1]
    assert frechet_distance(project(moved), project(reference)) == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(ValueError, match="give between 1 and 6"):
        PrincipalComponents(reference, 7)
