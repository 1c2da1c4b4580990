"""SJD-PAC: adaptive continuation and proactive drafting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import final

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import check_whole, check_window
from coupled_decoding.decoding.methods import Method
from coupled_decoding.decoding.noise import Purpose, uniforms
from coupled_decoding.decoding.rules.branches import Branches
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.coupling import COUPLINGS
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf
from coupled_decoding.decoding.rules.following import Route, replacement
from coupled_decoding.decoding.rules.guesses import GUESSES, REMEMBERING, check_first_guess
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import rejection_sampling
from coupled_decoding.decoding.rules.window import Window


@final
@dataclass(frozen=True)
class PAC(Method):
    """SJD-PAC (arXiv 2603.18599, algorithm 1): SJD with adaptive continuation and proactive drafting. Lossless.

    Adaptive continuation keeps verifying after the first rejection: a draft that passes is kept, one that fails is
    redrawn from the residual, and the label becomes the new distribution. That is maximal coupling, the same as in
    SCD-MC. Proactive drafting gives the first ``tree_depth - 1`` positions after each commit ``tree_width`` candidates
    each: a full tree rooted at the committed token, whose first path continues as the window. Candidates are drawn
    without replacement from their position's label and tried in turn by recursive rejection sampling
    (arXiv 2402.14160), level by level.

    Two things differ from the released code. The candidates beside a kept draft come from the whole label without that
    draft, as their acceptance takes for granted; there they come from the residual that would have replaced it. And
    what stands after a route that leaves the window is the window's own draft, verified like any other, not a new draw.

    Args:
        window: tokens that a forward reads on the first path. With the 18 tokens of a tree of width 4 and depth 3
            beside it, the default reads 64, the paper's L.
        first_guess: see :class:`coupled_decoding.SJD`.
        tree_width: candidates of a position, its draft included (the paper's K).
        tree_depth: levels of the tree, the committed token included (the paper's D).
    """

    window: int = 46
    first_guess: str = "uniform"
    tree_width: int = 4
    tree_depth: int = 3

    def __post_init__(self) -> None:
        check_window(self.window)
        check_first_guess(self.first_guess)
        for name, value in (("tree_width", self.tree_width), ("tree_depth", self.tree_depth)):
            check_whole(name, value, 2, ", or SCD with coupling='maximal', which is this method without a tree")

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return Rules(
            guess=GUESSES[self.first_guess], couple=COUPLINGS["maximal"], verify=rejection_sampling,
            grow=partial(grow_tree, width=self.tree_width, depth=self.tree_depth),
            follow=partial(climb, width=self.tree_width, depth=self.tree_depth),
            remember=self.first_guess in REMEMBERING,
        )


Ranks = tuple[int, ...]
"""A token of the tree by the candidates that lead to it, level by level; 0 is the window's draft."""


@lru_cache
def beside_the_window(width: int, levels: int) -> list[Ranks]:
    """The tokens of the tree that are not the window's own, parents before their children."""
    return [ranks for level in range(1, levels + 1) for ranks in product(range(width), repeat=level) if any(ranks)]


def slots_of(tree: list[Ranks], levels: int, positions: int) -> dict[Ranks, int]:
    """Where each token of the tree stands in a forward that reads a window of so many positions."""
    return {(0,) * level: level for level in range(levels + 1)} | {
        ranks: positions + number for number, ranks in enumerate(tree)
    }


def grow_tree(window: Window, width: int, depth: int) -> Branches:
    """The tree beside a window, as :class:`PAC` has it. Its shape is the same at every step."""
    rows, positions = window.index.shape
    levels = min(depth - 1, positions)
    tree = beside_the_window(width, levels)
    slot = slots_of(tree, levels, positions)

    codes = [_siblings(window, level, width - 1) for level in range(levels)]  # [R, width - 1] each, -1: none
    reads = [window.size - 1 > level for level in range(levels)]  # whether a token read at this level gives anything
    exists: dict[Ranks, Tensor] = {(): torch.ones_like(reads[0])}
    for level in range(levels):
        for ranks in product(range(width), repeat=level + 1):
            own = reads[level] if ranks[-1] == 0 else codes[level][:, ranks[-1] - 1] >= 0
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
        code=drawn.clamp(min=0),
        parent=torch.where(real, for_all_rows([slot[ranks[:-1]] for ranks in tree]), 0),
        fork=for_all_rows(fork),
        rank=for_all_rows([ranks[level] - 1 for ranks, level in zip(tree, fork, strict=True)]),
        exists=real,
    )


def _siblings(window: Window, offset: int, count: int) -> Tensor:
    """Further draws from the label of each row's draft at an offset: LongTensor ``[R, count]``, -1 for none."""
    branches = (window.size - 1 > offset) & ~window.forced[:, offset]
    left = window.labels[:, offset].scatter(1, window.drafts[:, offset : offset + 1], 0.0)
    drawn = []
    for number in range(count):
        uniform = uniforms(window.seeds, window.index[:, offset], window.visit, Purpose.SIBLING, number)
        code, exists = inverse_cdf(left, uniform)
        drawn.append(torch.where(exists & branches, code, -1))
        left = left.scatter(1, code.unsqueeze(1), 0.0)
    return torch.stack(drawn, 1)


def climb(window: Window, branches: Branches, target: Tensor, width: int, depth: int) -> Route:
    """Up the tree of :func:`grow_tree`, at each level to the first candidate that passes.

    Where none does, the token is drawn from what is left, and the route ends there; see
    :func:`coupled_decoding.decoding.rules.following.resample`, which does the same at one level.

    Example: a window of three positions reads ``a b`` in slots 1 and 2; a tree of width 2 and depth 3 reads beside it
    ``a'`` (slot 3), ``b'`` behind ``a`` (slot 4), and ``b b'`` behind ``a'`` (slots 5 and 6). Where ``a`` passes and
    ``b`` fails for ``b'``, the route is slots ``0 1 4``, and the draft at offset 1 is settled as ``b'``.
    """
    rows, positions = window.index.shape
    levels = min(depth - 1, positions)
    tree = beside_the_window(width, levels)
    slot = slots_of(tree, levels, positions)
    children = torch.zeros(positions + len(tree), width, dtype=torch.long)
    for ranks, token_slot in slot.items():
        if ranks:
            children[slot[ranks[:-1]], ranks[-1]] = token_slot
    children = children.to(target.device)

    row = torch.arange(rows, device=target.device)
    slots = torch.arange(positions, device=target.device).repeat(rows, 1)
    drafts, settled, readable = window.drafts.clone(), torch.zeros_like(window.forced), window.size - 1
    node, ended = torch.zeros_like(row), torch.zeros_like(window.forced[:, 0])
    followed = []
    for level in range(levels):
        slots[:, level] = torch.where(ended, level, node)
        here, offset = ~ended & (level < window.size - 1), torch.full_like(row, level)
        p = target[row, node]
        passed = accepts(p, window.labels[:, level], drafts[:, level], window.rejection_uniforms[0, :, level])
        passed |= window.forced[:, level]
        siblings = torch.stack([
            torch.where(branches.exists[:, at], branches.code[:, at], -1)
            for at in (slot[(0,) * level + (rank,)] - positions for rank in range(1, width))
        ], 1)
        rejected = here & ~passed
        token, rank = replacement(window, offset, p, siblings, rejected)
        drafts[:, level] = torch.where(rejected, token, drafts[:, level])
        settled[:, level] = rejected  # what stands now is distributed as the target
        last = rejected & (rank < 0)
        ended, readable = ended | last, torch.where(last, level, readable)
        node = torch.where(here & ~last, children[node, rank + 1], node)
        followed.append(torch.where(here & ~last & (node >= positions), node, -1))
    if levels < positions:
        slots[:, levels] = torch.where(ended, levels, node)
    off = ~ended & (node >= positions)  # away from the window, whose later drafts have no distribution after this route
    readable = torch.where(off, readable.clamp(max=levels), readable)
    kept = torch.stack(followed, 1)
    which, level_of = torch.nonzero(kept >= 0, as_tuple=True)
    return Route(slots, drafts, readable, settled, which, kept[which, level_of])
