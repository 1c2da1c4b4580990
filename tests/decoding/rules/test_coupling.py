"""How often each coupling keeps a draft, over random pairs of distributions, and that it draws from the target."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from coupled_decoding.decoding.rules.coupling import COUPLINGS, gumbel, independent, maximal
from coupled_decoding.decoding.rules.window import Learned
from tests.decoding.helpers import THRESHOLD, assert_agrees, window_of

ROWS = 20_000

# logits far apart make rare codes; "zero" leaves a code out of one of the two
LOGIT = st.one_of(st.floats(-4, 4), st.just(float("-inf")))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two distributions over the same codes: the new target p, and the label q of the old draft."""
    size = draw(st.integers(2, 7))
    both = []
    for _ in range(2):
        logits = draw(st.lists(LOGIT, min_size=size, max_size=size).filter(lambda row: max(row) > float("-inf")))
        both.append(torch.tensor(logits, dtype=torch.float64).softmax(-1))
    return both[0], both[1]


def total_variation(p: Tensor, q: Tensor) -> float:
    return (p - q).abs().sum().item() / 2


def kept_by_maximal(p: Tensor, q: Tensor) -> float:
    return 1 - total_variation(p, q)


def kept_by_gumbel(p: Tensor, q: Tensor) -> float:
    """``sum_i 1 / sum_j max(p_j / p_i, q_j / q_i)`` over the codes that both can draw."""
    both = (p > 0) & (q > 0)
    ratios = torch.maximum(p / p[both].unsqueeze(1), q / q[both].unsqueeze(1))
    return (1 / ratios.sum(1)).sum().item()


def kept_by_independent(p: Tensor, q: Tensor) -> float:
    return (p * q).sum().item()


KEPT = {"maximal": kept_by_maximal, "gumbel": kept_by_gumbel, "independent": kept_by_independent}


def test_every_coupling_is_tested() -> None:
    """A new coupling needs its keep probability written down here."""
    assert KEPT.keys() == COUPLINGS.keys()
    assert [COUPLINGS[name] for name in KEPT] == [maximal, gumbel, independent]


@given(pair=pairs(), seed=st.integers(0, 10**6))
@settings(max_examples=24, deadline=None, derandomize=True)
def test_keep_probability_and_law(pair: tuple[Tensor, Tensor], seed: int) -> None:
    """Each coupling keeps a draft exactly as often as its formula says, draws from the target, and labels it so."""
    p, q = pair
    window, target = window_of(q, ROWS, seed=seed, visit=3), p.expand(ROWS, 1, -1)
    assert_agrees(torch.bincount(window.drafts[:, 0], minlength=len(q)), q)
    for name, coupling in COUPLINGS.items():
        drawn, labels = coupling(window, target)
        assert torch.equal(labels, target)
        assert_agrees(torch.bincount(drawn[:, 0], minlength=len(p)), p)
        kept = int((drawn == window.drafts).sum())
        probability = min(1.0, KEPT[name](p, q))
        if probability in (0.0, 1.0):
            assert kept == probability * ROWS
        else:
            assert stats.binomtest(kept, ROWS, probability).pvalue > THRESHOLD


@given(pair=pairs())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_gumbel_keeps_at_least_its_bound(pair: tuple[Tensor, Tensor]) -> None:
    """Between (1 - TV) / (1 + TV) and the maximal coupling's 1 - TV."""
    p, q = pair
    tv = total_variation(p, q)
    assert (1 - tv) / (1 + tv) - 1e-9 <= kept_by_gumbel(p, q) <= 1 - tv + 1e-9


@given(pair=pairs(), seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_maximal_joint_law(pair: tuple[Tensor, Tensor], seed: int) -> None:
    """Old and new draft together: min(p, q) on the diagonal, and a residual independent of the draft beside it."""
    p, q = pair
    window = window_of(q, ROWS, seed=seed)
    drawn, _ = maximal(window, p.expand(ROWS, 1, -1))
    cells = torch.bincount(window.drafts[:, 0] * len(p) + drawn[:, 0], minlength=len(p) ** 2)
    moved = (p - q).clamp(min=0)
    law = torch.diag(torch.minimum(p, q))
    if moved.sum() > 0:
        law = law + torch.outer((q - p).clamp(min=0), moved / moved.sum())
    assert_agrees(cells, law.flatten())


@pytest.mark.parametrize("name", COUPLINGS)
def test_equal_distributions(name: str) -> None:
    """Where target and label are the same, maximal and gumbel keep every draft."""
    law = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    window = window_of(law, ROWS)
    drawn, _ = COUPLINGS[name](window, law.expand(ROWS, 1, -1))
    assert torch.equal(drawn, window.drafts) == (name != "independent")


def test_fresh_draws_differ_from_visit_to_visit() -> None:
    """Independent redraws at two visits are independent of each other; gumbel's are the same."""
    law = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    target = law.expand(ROWS, 1, -1)
    windows = [window_of(law, ROWS, visit=visit) for visit in (0, 1)]
    one, other = (independent(window, target)[0][:, 0] for window in windows)
    assert_agrees(torch.bincount(one * 3 + other, minlength=9), torch.outer(law, law).flatten())
    assert torch.equal(*(gumbel(window, target)[0] for window in windows))


def test_maximal_needs_labels() -> None:
    """Without the old labels there is no maximal coupling: said, not guessed."""
    window = replace(window_of(torch.tensor([0.5, 0.5]), 2), learned=Learned())
    with pytest.raises(ValueError, match="needs the labels of the drafts: give Rules with keep_labels=True"):
        maximal(window, torch.full((2, 1, 2), 0.5))
