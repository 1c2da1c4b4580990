"""SJD-PAC: adaptive continuation and proactive drafting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import torch
from torch import Tensor

from coupled_decoding.decoding.methods import SJD
from coupled_decoding.decoding.noise import Purpose, uniforms
from coupled_decoding.decoding.rules.branches import Branches
from coupled_decoding.decoding.rules.coupling import COUPLINGS, Coupling
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf
from coupled_decoding.decoding.rules.following import Following, Path, replacement
from coupled_decoding.decoding.rules.window import Window


@dataclass(frozen=True)
class PAC(SJD):
    """SJD-PAC (arXiv 2603.18599, algorithm 1): SJD with adaptive continuation and proactive drafting. Lossless.

    Adaptive continuation goes on verifying behind the first rejection: a draft that passes is kept, one that fails is
    redrawn from the residual, and the label becomes the new distribution. That is maximal coupling, the same as in
    SCD-MC. Proactive drafting gives the first ``tree_depth - 1`` positions behind each commit ``tree_width`` candidates
    each: a full tree rooted at the committed token, whose first path goes on as the window. Candidates are drawn
    without replacement from their position's label and tried in turn by recursive rejection sampling
    (arXiv 2402.14160), level by level.

    Two things differ from the released code. The candidates beside a kept draft come from the whole label without that
    draft, as their acceptance takes for granted; there they come from the residual that would have replaced it. And
    what stands behind a path that leaves the window is the window's own draft, verified like any other, not a new draw.

    Args:
        window: tokens that a forward reads on the first path. With the 18 tokens of a tree of width 4 and depth 3
            beside it, the default reads 64, the paper's L.
        tree_width: candidates of a position, its draft included (the paper's K).
        tree_depth: levels of the tree, the committed token included (the paper's D).
    """

    window: int = 46
    tree_width: int = 4
    tree_depth: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, least in (("tree_width", self.tree_width, 2), ("tree_depth", self.tree_depth, 2)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value}: give a whole number of at least {least}, or SCD with "
                                 "coupling='maximal', which is this method without a tree")

    @property
    def coupling_function(self) -> Coupling:
        return COUPLINGS["maximal"]

    @property
    def branching_function(self) -> Callable[[Window], Branches]:
        return partial(grow_tree, width=self.tree_width, depth=self.tree_depth)

    @property
    def following_function(self) -> Following:
        return partial(climb, width=self.tree_width, depth=self.tree_depth)


Ranks = tuple[int, ...]
"""A token of the tree by the candidates that lead to it, level by level; 0 is the window's draft."""


@lru_cache
def beside_the_window(width: int, levels: int) -> list[Ranks]:
    """The tokens of the tree that are not the window's own, parents before their children."""
    return [ranks for level in range(1, levels + 1) for ranks in product(range(width), repeat=level) if any(ranks)]


def columns_of(tree: list[Ranks], levels: int, positions: int) -> dict[Ranks, int]:
    """Where each token of the tree stands in a forward that reads a window of so many positions."""
    return {(0,) * level: level for level in range(levels + 1)} | {
        ranks: positions + number for number, ranks in enumerate(tree)
    }


def grow_tree(window: Window, width: int, depth: int) -> Branches:
    """The tree beside a window, as :class:`PAC` has it. Its shape is the same at every step."""
    assert window.labels is not None
    rows, positions = window.index.shape
    levels = min(depth - 1, positions)
    tree = beside_the_window(width, levels)
    column = columns_of(tree, levels, positions)

    codes = [_siblings(window, level, width - 1) for level in range(levels)]  # [R, width - 1] each, -1: none
    there = [window.size - 1 > level for level in range(levels)]  # whether a token read at this level gives anything
    exists: dict[Ranks, Tensor] = {(): torch.ones_like(there[0])}
    for level in range(levels):
        for ranks in product(range(width), repeat=level + 1):
            own = there[level] if ranks[-1] == 0 else codes[level][:, ranks[-1] - 1] >= 0
            exists[ranks] = exists[ranks[:-1]] & own

    def for_all_rows(values: list[int]) -> Tensor:
        return torch.tensor(values, device=window.index.device).expand(rows, -1)

    fork = [next(level for level, rank in enumerate(ranks) if rank) for ranks in tree]
    real = torch.stack([exists[ranks] for ranks in tree], 1)
    drawn = torch.stack([
        codes[len(ranks) - 1][:, ranks[-1] - 1] if ranks[-1] else window.drafts[:, len(ranks) - 1] for ranks in tree
    ], 1)
    return Branches(
        offset=torch.where(real, for_all_rows([len(ranks) - 1 for ranks in tree]), 0),
        column=drawn.clamp(min=0),
        parent=torch.where(real, for_all_rows([column[ranks[:-1]] for ranks in tree]), 0),
        fork=for_all_rows(fork),
        rank=for_all_rows([ranks[level] - 1 for ranks, level in zip(tree, fork, strict=True)]),
        exists=real,
    )


def _siblings(window: Window, offset: int, count: int) -> Tensor:
    """Further draws from the label of each row's draft at an offset: LongTensor ``[R, count]``, -1 for none."""
    assert window.labels is not None
    branches = (window.size - 1 > offset) & ~window.forced[:, offset]
    left = window.labels[:, offset].scatter(1, window.drafts[:, offset : offset + 1], 0.0)
    drawn = []
    for number in range(count):
        uniform = uniforms(window.seeds, window.index[:, offset], window.visit, Purpose.SIBLING, number)
        code, exists = inverse_cdf(left, uniform)
        drawn.append(torch.where(exists & branches, code, -1))
        left = left.scatter(1, code.unsqueeze(1), 0.0)
    return torch.stack(drawn, 1)


def climb(window: Window, branches: Branches, target: Tensor, width: int, depth: int) -> Path:
    """Up the tree of :func:`grow_tree`, at each level to the first candidate that passes.

    Where none does, the token is drawn from what is left, and the path ends there; see
    :func:`coupled_decoding.decoding.rules.following.resample`, which does the same at one level.
    """
    assert window.labels is not None
    rows, positions = window.index.shape
    levels = min(depth - 1, positions)
    tree = beside_the_window(width, levels)
    column = columns_of(tree, levels, positions)
    children = torch.zeros(positions + len(tree), width, dtype=torch.long)
    for ranks, token_column in column.items():
        if ranks:
            children[column[ranks[:-1]], ranks[-1]] = token_column
    children = children.to(target.device)

    row = torch.arange(rows, device=target.device)
    columns = torch.arange(positions, device=target.device).repeat(rows, 1)
    drafts, readable = window.drafts.clone(), window.size - 1
    node, ended = torch.zeros_like(row), torch.zeros_like(window.forced[:, 0])
    followed = []
    for level in range(levels):
        columns[:, level] = torch.where(ended, level, node)
        here, offset = ~ended & (level < window.size - 1), torch.full_like(row, level)
        p, label = target[row, node], window.labels[:, level]
        passed = accepts(p, label, drafts[:, level], window.rejection_uniforms[0, :, level]) | window.forced[:, level]
        siblings = torch.stack([
            torch.where(branches.exists[:, at], branches.column[:, at], -1)
            for at in (column[(0,) * level + (rank,)] - positions for rank in range(1, width))
        ], 1)
        rejected = here & ~passed
        token, rank = replacement(window, offset, p, siblings, rejected)
        drafts[:, level] = torch.where(rejected, token, drafts[:, level])
        # what stands now is distributed as the target: the verification will pass it
        window.labels[:, level] = torch.where(rejected.unsqueeze(1), p, label)
        last = rejected & (rank < 0)
        ended, readable = ended | last, torch.where(last, level, readable)
        node = torch.where(here & ~last, children[node, rank + 1], node)
        followed.append(torch.where(here & ~last & (node >= positions), node, -1))
    if levels < positions:
        columns[:, levels] = torch.where(ended, levels, node)
    off = ~ended & (node >= positions)  # away from the window, whose later drafts have no distribution behind this path
    readable = torch.where(off, readable.clamp(max=levels), readable)
    kept = torch.stack(followed, 1)
    which, place = torch.nonzero(kept >= 0, as_tuple=True)
    return Path(columns, drafts, readable, which, kept[which, place])
