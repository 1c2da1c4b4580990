"""Random numbers: the published generator, honest addresses, and numbers that stay where they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from coupled_decoding.decoding import noise
from coupled_decoding.decoding.noise import NOISE_VERSION, Purpose, exponentials, philox, uniforms
from tests.decoding.helpers import THRESHOLD, assert_agrees

COUNT = 100_000

# Random123's kat_vectors for philox4x32 with 10 rounds: counter, key, output
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

# what version philox4x32-1 gives at the addresses of test_the_scheme_has_not_changed_under_its_name
UNIFORMS = [0.48707019077333136, 0.5096362105928077]
EXPONENTIALS = [0.7819073487968003, 0.442319737744535, 0.22823837059882593, 0.6017273511007457, 0.7620243310863045,
                3.388873978199818]


def words(text: str) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


def uniform_row(seed: int = 1, index: int = 0, visit: int = 0, purpose: Purpose = Purpose.ACCEPTANCE) -> Tensor:
    """Many uniforms that differ in the seed alone."""
    return uniforms(seed + torch.arange(COUNT), torch.tensor(index), torch.tensor(visit), purpose)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, expected: str) -> None:
    """The generator is Philox4x32-10 as its authors published it, of tensors and of arrays."""
    given_words = (*words(counter), *words(key))
    for kind in (given_words, [word.numpy().view(np.uint64) for word in given_words]):
        c0, c1, c2, c3, k0, k1 = kind
        output = philox((c0, c1, c2, c3), (k0, k1))
        assert [int(word[0]) for word in output] == [int(word) for word in words(expected)]


def test_the_scheme_has_not_changed_under_its_name() -> None:
    """Numbers at fixed addresses: whoever changes one changes every picture, and must change NOISE_VERSION."""
    assert NOISE_VERSION == "philox4x32-1"
    seeds, index = torch.tensor([7, 2**63 - 1]), torch.tensor([3, 2**20])
    assert uniforms(seeds, index, torch.tensor([0, 5]), Purpose.RESIDUAL).tolist() == UNIFORMS
    exponential = exponentials(seeds, index, torch.tensor([0, 5, 16383]))
    assert exponential.flatten().tolist() == pytest.approx(EXPONENTIALS, rel=1e-15)


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF])
def test_extreme_outputs_stay_inside(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest and largest integers give uniforms strictly inside (0, 1) and positive finite exponentials."""
    # no address is known that gives these outputs, so the generator is replaced
    monkeypatch.setattr(noise, "philox", lambda counter, key: (np.full_like(counter[1], word),) * 4)
    zero = torch.zeros(1, dtype=torch.long)
    uniform = uniforms(zero, zero, zero, Purpose.ACCEPTANCE)
    assert uniform.dtype == torch.float64
    assert 0 < uniform.item() < 1
    exponential = exponentials(zero, zero, torch.arange(4))
    for dtype in (torch.float64, torch.float32):
        assert (exponential.to(dtype) > 0).all()
        assert exponential.to(dtype).isfinite().all()


def test_small_exponentials_keep_their_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rare codes win by a small exponential: the smallest ones are (k + 0.5) / 2^32 to full relative precision."""
    monkeypatch.setattr(noise, "philox", lambda counter, key: tuple(np.full_like(counter[1], k) for k in range(4)))
    zero = torch.zeros(1, dtype=torch.long)
    expected = (torch.arange(4, dtype=torch.float64) + 0.5) / 2**32
    torch.testing.assert_close(exponentials(zero, zero, torch.arange(4))[0], expected, rtol=1e-9, atol=0.0)


@given(
    codes=st.sets(st.integers(0, 999), min_size=1, max_size=60),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5),
    first=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_exponentials_depend_on_their_address_only(codes: set[int], seeds: list[int], first: int) -> None:
    """The number of a seed, index and code is the same, to the bit, whichever others are asked for with it."""
    subset, rows = torch.tensor(sorted(codes)), torch.tensor(seeds)
    index = first + torch.arange(len(seeds))
    everything = exponentials(rows, index, torch.arange(1000))
    assert torch.equal(exponentials(rows, index, subset), everything[:, subset])
    for row in range(len(seeds)):
        assert torch.equal(exponentials(rows[row : row + 1], index[row : row + 1], subset)[0], everything[row, subset])


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20), visit=st.integers(0, 2**20))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_uniforms_depend_on_their_address_only(seeds: list[int], visit: int) -> None:
    """The uniform of an address is the same alone and among others."""
    rows, index, visits = torch.tensor(seeds), torch.arange(len(seeds)), torch.full((len(seeds),), visit)
    together = uniforms(rows.unsqueeze(1), index, visits.unsqueeze(1), Purpose.REDRAW)  # [R, T]
    for row in range(len(seeds)):
        for place in (0, len(seeds) - 1):
            alone = uniforms(rows[row], index[place], visits[row], Purpose.REDRAW)
            assert alone == together[row, place]


@pytest.mark.parametrize("purpose", [Purpose.ACCEPTANCE, Purpose.RESIDUAL, Purpose.REDRAW])
def test_uniforms_are_uniform(purpose: Purpose) -> None:
    """Over rows, over indices and over visits, uniforms follow the uniform law (Kolmogorov-Smirnov)."""
    many, zero = torch.arange(COUNT), torch.zeros(COUNT, dtype=torch.long)
    for seeds, index, visit in ((many, zero, zero), (zero + 5, many, zero), (zero + 5, zero, many)):
        assert stats.kstest(uniforms(seeds, index, visit, purpose).numpy(), "uniform").pvalue > THRESHOLD


def test_exponentials_are_exponential() -> None:
    """Over rows, over indices and over codes, the noise follows the exponential law, in its lower tail too."""
    many, zero = torch.arange(COUNT), torch.zeros(COUNT, dtype=torch.long)
    samples = [
        exponentials(many, zero, torch.tensor([3]))[:, 0],
        exponentials(zero + 5, many, torch.tensor([3]))[:, 0],
        exponentials(torch.tensor([5]), torch.tensor([0]), many)[0],
    ]
    for sample in samples:
        assert stats.kstest(sample.numpy(), "expon").pvalue > THRESHOLD
        below = int((sample < 1e-3).sum())
        assert stats.binomtest(below, COUNT, -math.expm1(-1e-3)).pvalue > THRESHOLD


PAIRS = {
    "seed": ({"seed": 1}, {"seed": 1 + COUNT}),
    "high half of the seed": ({"seed": 1}, {"seed": 1 + 2**32}),
    "index": ({"index": 0}, {"index": 1}),
    "visit": ({"visit": 0}, {"visit": 1}),
    "index and visit swapped": ({"index": 1, "visit": 2}, {"index": 2, "visit": 1}),
    "acceptance and residual": ({"purpose": Purpose.ACCEPTANCE}, {"purpose": Purpose.RESIDUAL}),
    "acceptance and redraw": ({"purpose": Purpose.ACCEPTANCE}, {"purpose": Purpose.REDRAW}),
    "residual and redraw": ({"purpose": Purpose.RESIDUAL}, {"purpose": Purpose.REDRAW}),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_different_addresses_are_independent(pair: str) -> None:
    """Uniforms of addresses that differ in one word fill the unit square evenly."""
    one, other = (uniform_row(**where) for where in PAIRS[pair])  # type: ignore[arg-type]
    cells = torch.bincount((one * 16).long() * 16 + (other * 16).long(), minlength=256)
    assert_agrees(cells, torch.full((256,), 1 / 256, dtype=torch.float64))


def test_codes_and_purposes_are_independent() -> None:
    """The noise of neighbouring codes, in one counter and in two, and the acceptance uniform are independent."""
    seeds = torch.arange(COUNT)
    zero = torch.zeros_like(seeds)
    sample = exponentials(seeds, zero, torch.tensor([2, 3, 4]))
    columns = [*(-torch.expm1(-sample)).unbind(1), uniforms(seeds, zero, zero, Purpose.ACCEPTANCE)]
    for one, other in ((0, 1), (1, 2), (0, 3), (2, 3)):
        cells = torch.bincount((columns[one] * 16).long() * 16 + (columns[other] * 16).long(), minlength=256)
        assert_agrees(cells, torch.full((256,), 1 / 256, dtype=torch.float64))
