"""The tree of branches: what its shape may depend on."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.branches import grow
from coupled_decoding.decoding.rules.window import Learned, Window

POSITIONS, CODES = 6, 8


def window_with(cut: float, seed: int) -> Window:
    """Two rows, one shorter, whose labels lack more codes the larger ``cut`` is, by other drafts before them."""
    labels = torch.rand(2, POSITIONS, CODES, generator=torch.Generator().manual_seed(seed))
    labels = torch.where(labels < cut * labels.amax(-1, keepdim=True), 0.0, labels)
    index = torch.arange(POSITIONS).expand(2, -1)
    noise = exponentials(torch.tensor([1, 2]).repeat_interleave(POSITIONS), index.flatten(), torch.arange(CODES))
    noise = noise.view(2, POSITIONS, CODES).float()
    return Window(
        rows=torch.arange(2), seeds=torch.tensor([1, 2]), visit=torch.zeros(2, dtype=torch.long), index=index,
        size=torch.tensor([POSITIONS, 3]), forced=index == 1, drafts=(noise / labels).argmin(-1),
        noise=noise, learned=Learned(labels),
    )


@given(st.floats(0, 0.999), st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_under_rejection_sampling_the_tree_has_one_shape(cut: float, seed: int, count: int) -> None:
    """Which places are read never depends on labels, for later ones were made by drafts that are not verified: a code
    that cannot be drawn leaves its place empty, and nothing else moves up.
    """
    whole = grow(window_with(0.0, 0), count, from_drafts=False)
    window = window_with(cut, seed)
    tree = grow(window, count, from_drafts=False)
    assert torch.equal(tree.fork, whole.fork)
    assert torch.equal(tree.rank, whole.rank)
    candidates = (window.labels > 0).sum(-1).gather(1, tree.fork) - 1  # besides the draft
    assert torch.equal(tree.exists, whole.exists & (tree.rank < candidates))


@given(st.floats(0, 0.999), st.integers(0, 10**6), st.integers(1, 40), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_branches_can_be_drawn_and_parents_stand_before_children(
    cut: float, seed: int, count: int, from_drafts: bool
) -> None:
    """Each branch begins with a code of its position's label that is not the draft, where no token is forced."""
    window = window_with(cut, seed)
    tree = grow(window, count, from_drafts=from_drafts)
    for row, token in tree.exists.nonzero().tolist():
        offset, fork, parent = (int(values[row, token]) for values in (tree.offset, tree.fork, tree.parent))
        assert parent < POSITIONS + token
        assert offset < window.size[row] - 1
        if offset == fork:
            code = tree.code[row, token]
            assert window.labels[row, offset, code] > 0
            assert code != window.drafts[row, offset]
            assert not window.forced[row, offset]
            assert parent == fork
        else:
            assert tree.exists[row, parent - POSITIONS]
            assert int(tree.offset[row, parent - POSITIONS]) == offset - 1
