"""Drawing from a distribution: exact laws, impossible codes, rare codes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf, race, residual_draw
from tests.decoding.helpers import THRESHOLD, assert_agrees

DRAWS = 100_000
SIZES = [1, 2, 5, 127, 128, 129, 300, 1000]
EXTREMES = torch.tensor([2.0**-53, 2.0**-33, 0.5, 1 - 2.0**-33, 1 - 2.0**-53], dtype=torch.float64)
DTYPES = [torch.float32, torch.float64]


def fresh_uniforms(count: int, seed: int = 0) -> Tensor:
    """Uniforms of a generator that is not the one under test."""
    return torch.from_numpy(np.random.default_rng(seed).random(count))


def random_law(size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(size)).mul(1.5).softmax(-1).to(dtype)


def zero_patterns(size: int) -> list[Tensor]:
    """Where weights are positive: all, first only, last only, all but the first or last stretch, every other one."""
    place = torch.arange(size)
    patterns = [place >= 0, place < 1, place >= size - 1, place >= size // 2, place < (size + 1) // 2, place % 2 == 0,
                place % 128 == 127, (place >= 128) & (place < 256)]
    return [pattern for pattern in patterns if pattern.any()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_inverse_cdf_follows_the_weights(size: int, dtype: torch.dtype) -> None:
    """Codes come in proportion to their weights, whatever their number and sum."""
    weights = 3.7 * random_law(size, dtype=dtype)
    drawn, exists = inverse_cdf(weights.expand(DRAWS, -1), fresh_uniforms(DRAWS))
    assert exists.all()
    assert_agrees(torch.bincount(drawn, minlength=size), weights.double() / weights.double().sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_inverse_cdf_never_draws_a_zero_weight(size: int, dtype: torch.dtype) -> None:
    """At the extreme uniforms, and with zero weights in front, behind, between and around blocks."""
    for positive in zero_patterns(size):
        for scale in (1.0, 1e-30, 1e30):
            weights = scale * random_law(size, dtype=dtype) * positive
            drawn, exists = inverse_cdf(weights.expand(len(EXTREMES), -1), EXTREMES)
            assert exists.all()
            assert positive[drawn].all()
            assert drawn[0] == positive.nonzero()[0]
            assert drawn[-1] == positive.nonzero()[-1]


@given(size=st.integers(1, 400), seed=st.integers(0, 2**32 - 1), density=st.floats(0.01, 1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_inverse_cdf_draws_the_code_that_its_uniform_points_at(size: int, seed: int, density: float) -> None:
    """Against exact rational arithmetic: the first code whose cumulative weight exceeds the uniform's share."""
    generator = np.random.default_rng(seed)
    # whole numbers up to 2^12 are summed without rounding in any precision
    weights = generator.integers(1, 4096, size) * (generator.random(size) < density)
    uniforms = generator.random(20)
    drawn, exists = inverse_cdf(torch.from_numpy(weights).float().expand(20, -1), torch.from_numpy(uniforms))
    assert exists.all() == (weights.sum() > 0)
    if weights.sum() > 0:
        upto = [Fraction(int(total)) for total in weights.cumsum()]
        for u, code in zip(uniforms, drawn.tolist(), strict=True):
            mass = Fraction(float(u)) * upto[-1]
            # the uniform itself is rounded when it is scaled, which may decide only this close to an edge
            near = Fraction(1, 2**40) * upto[-1]
            assert (upto[code - 1] if code else Fraction(0)) - near <= mass < upto[code] + near
            assert weights[code] > 0


def hits(weights: Tensor, code: int, uniforms: Tensor) -> Tensor:
    drawn, _ = inverse_cdf(weights.expand(len(uniforms), -1), uniforms)
    return drawn == code


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("code", [0, 1, 127, 128, 200, 299])
def test_rare_codes_are_hit_exactly_in_their_interval(code: int, dtype: torch.dtype) -> None:
    """A code of mass 1e-9 among heavy ones owns 1e-9 of the uniforms, to a millionth of that."""
    weights = random_law(300, seed=2).mul(1 - 1e-9)
    weights[code] = 0.0
    weights *= (1 - 1e-9) / weights.sum()
    weights[code] = 1e-9
    weights = weights.to(dtype)
    # a float32 sum of a block moves all intervals a little: find this one's edges by bisection
    start = weights[:code].double().sum().item() / weights.double().sum().item()
    fine = start + torch.linspace(-3e-7, 3e-7, 6001, dtype=torch.float64)
    inside = fine[(fine > 0) & (fine < 1)]
    inside = inside[hits(weights, code, inside)]
    assert len(inside) > 0

    def edge(within: float, beyond: float) -> float:
        for _ in range(60):
            middle = (within + beyond) / 2
            if hits(weights, code, torch.tensor([middle], dtype=torch.float64)):
                within = middle
            else:
                beyond = middle
        return within

    first, last = edge(inside[0].item(), 0.0), edge(inside[-1].item(), 1.0)
    assert last - first == pytest.approx(1e-9, rel=1e-6)
    if dtype == torch.float64:
        assert first == pytest.approx(start, abs=1e-14)


def test_no_weight_at_all_is_reported() -> None:
    """Rows of zeros say so, beside rows that are not, and give a code that exists."""
    weights = torch.zeros(3, 200)
    weights[1, 7] = 1e-40
    drawn, exists = inverse_cdf(weights, torch.full((3,), 0.5, dtype=torch.float64))
    assert exists.tolist() == [False, True, False]
    assert drawn[1] == 7
    assert ((drawn >= 0) & (drawn < 200)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [2, 5, 129])
def test_race_follows_the_probabilities(size: int, dtype: torch.dtype) -> None:
    """The exponential race with this package's noise draws from the distribution."""
    law = random_law(size, dtype=dtype)
    seeds = torch.arange(DRAWS)
    noise = exponentials(seeds, torch.zeros_like(seeds), torch.arange(size)).to(dtype)
    assert_agrees(torch.bincount(race(law, noise), minlength=size), law.double() / law.double().sum())


@pytest.mark.parametrize("dtype", DTYPES)
def test_race_never_draws_a_zero_probability(dtype: torch.dtype) -> None:
    """However small its noise, a code of probability zero does not win, against a code of tiny probability either."""
    smallest, largest = 2.0**-33, 23.0
    for positive in zero_patterns(300):
        law = torch.where(positive, 1e-30, 0.0).to(dtype)
        noise = torch.where(positive, largest, smallest).to(dtype)
        assert positive[race(law, noise)]


def test_race_draws_rare_codes_as_often_as_they_should() -> None:
    """A tail of mass 1.6e-5 over many codes is drawn 1.6e-5 of the time, also in float32 arithmetic."""
    law = torch.cat([torch.full((4,), (1 - 1.6e-5) / 4), torch.full((16,), 1.6e-5 / 16)])
    rare = 0
    for first in range(0, 1_000_000, DRAWS):
        seeds = first + torch.arange(DRAWS)
        rare += int((race(law, exponentials(seeds, seeds % 7, torch.arange(20)).float()) >= 4).sum())
    assert stats.binomtest(rare, 1_000_000, 1.6e-5).pvalue > THRESHOLD


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("p", "q"), [(0.3, 0.6), (0.6, 0.3), (0.5, 0.5), (1e-3, 1.0), (0.0, 0.4), (1.0, 1.0)])
def test_accepts_with_the_ratio(p: float, q: float, dtype: torch.dtype) -> None:
    """A draft passes with probability min(1, p/q): always where p >= q, never where p is zero."""
    target, label = torch.tensor([p, 1 - p], dtype=dtype), torch.tensor([q, 1 - q], dtype=dtype)
    draft = torch.zeros(DRAWS, dtype=torch.long)
    passed = int(accepts(target.expand(DRAWS, -1), label.expand(DRAWS, -1), draft, fresh_uniforms(DRAWS)).sum())
    probability = min(1.0, (target[0].double() / label[0].double()).item())
    if probability in (0.0, 1.0):
        assert passed == probability * DRAWS
    else:
        assert stats.binomtest(passed, DRAWS, probability).pvalue > THRESHOLD


def test_accepts_at_the_extreme_uniforms() -> None:
    """An impossible draft fails at the smallest uniform, a certain one passes at the largest, tiny values included."""
    draft = torch.zeros(len(EXTREMES), dtype=torch.long)
    for q in (1.0, 1e-30):
        label = torch.tensor([q, 1 - q]).expand(len(EXTREMES), -1)
        assert not accepts(torch.tensor([0.0, 1.0]).expand(len(EXTREMES), -1), label, draft, EXTREMES).any()
        assert accepts(torch.tensor([1.0, 0.0]).expand(len(EXTREMES), -1), label, draft, EXTREMES).all()


@pytest.mark.parametrize("size", [2, 5, 129])
def test_residual_follows_the_positive_part(size: int) -> None:
    """Draws come from norm(max(0, p - q)); codes with p <= q never."""
    target, label = random_law(size, seed=1), random_law(size, seed=2)
    drawn = residual_draw(target.expand(DRAWS, -1), label.expand(DRAWS, -1), torch.zeros(DRAWS, dtype=torch.long),
                          fresh_uniforms(DRAWS))
    residual = (target - label).clamp(min=0)
    assert_agrees(torch.bincount(drawn, minlength=size), residual / residual.sum())


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_all_zero_residual_keeps_the_draft(dtype: torch.dtype) -> None:
    """p equal to q leaves nothing to draw: the draft stands, whatever the uniform."""
    law = random_law(300, dtype=dtype).expand(len(EXTREMES), -1)
    draft = torch.tensor([0, 5, 128, 298, 299])
    assert torch.equal(residual_draw(law, law.clone(), draft, EXTREMES), draft)
