"""Which branch a row continues along, once a forward has said what holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.noise import Purpose, uniforms
from coupled_decoding.decoding.rules.branches import CANDIDATES, Branches
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf, race
from coupled_decoding.decoding.rules.verification import leading
from coupled_decoding.decoding.rules.window import Window


@dataclass(frozen=True, eq=False)
class Route:
    """The tokens of a forward that each row continues along: its window, or that up to a branch and then the branch.

    Example: a window of four positions reads ``a b c`` in slots 1 to 3, and beside it candidate ``x`` for ``b`` in slot
    4 and a copy of ``c`` behind it in slot 5. Where ``x`` is what holds, the route is slots ``0 1 4 5``, with drafts
    ``a x c`` of offsets 0 to 2, all three readable; slots 4 and 5 are kept in place of what stood at their positions.
    """

    slots: Tensor
    """LongTensor ``[R, T]``: slot of the forward, 0 .. T+M-1, whose distribution holds at each offset."""
    drafts: Tensor
    """LongTensor ``[R, T]``: codes of the drafts on the route."""
    readable: Tensor
    """LongTensor ``[R]``: how many drafts have a distribution of this route after them."""
    settled: Tensor
    """bool ``[R, T]``: offsets whose draft the route itself has decided, distributed as the target: the verification
    passes them."""
    which: Tensor
    """LongTensor ``[n]``: number of the row in the window, for each branch token on a route,"""
    kept: Tensor
    """LongTensor ``[n]``: and its slot."""


Following = Callable[[Window, Branches, Tensor], Route]
"""From the distributions ``[R, T + M, C]`` after all tokens of a forward to the route of each row."""


def match(window: Window, branches: Branches, target: Tensor) -> Route:
    """Along the branch that begins with what the position's noise draws from the true target, if there is one."""
    drawn = race(target[:, : window.index.shape[1]], window.noise)  # [R, T]
    fork = leading(window.drafts == drawn, window)
    wanted = drawn.gather(1, fork.unsqueeze(1))
    found = _first_tokens(branches, fork) & (branches.code == wanted)  # at most one a row
    rank = torch.where(found, branches.rank, -1).amax(1)
    drafts = torch.where((rank >= 0).unsqueeze(1), window.drafts.scatter(1, fork.unsqueeze(1), wanted), window.drafts)
    return _route(window, branches, fork, rank, drafts, window.size - 1, torch.zeros_like(window.forced))


def resample(window: Window, branches: Branches, target: Tensor) -> Route:
    """Along the branch whose candidate passes where the draft did not: recursive rejection sampling.

    What is left of the target when draft and candidates so far are rejected, ``norm(max(0, p - q))``, is the target of
    the next candidate, and its label is what is left of the draft's label: candidates are drawn without replacement
    (arXiv 2402.14160, section 3). So what stands in the end is distributed as the target. Where all are rejected, the
    token is drawn from the last residual, and the route ends there. What replaces the draft is settled.
    """
    row, width = torch.arange(len(target), device=target.device), window.index.shape[1]
    fork = leading(accepts(target[:, :width], window.labels, window.drafts, window.rejection_uniforms[0]), window)
    at = row, fork
    failed = fork < window.size - 1
    rank = torch.where(_first_tokens(branches, fork), branches.rank, CANDIDATES)  # the last takes all others
    candidates = torch.full((len(row), CANDIDATES + 1), -1, device=row.device).scatter(1, rank, branches.code)
    token, rank = replacement(window, fork, target[at], candidates[:, :CANDIDATES], failed)
    settled = torch.zeros_like(window.forced).scatter(1, fork.unsqueeze(1), failed.unsqueeze(1))
    drafts = window.drafts.scatter(1, fork.unsqueeze(1), token.unsqueeze(1))
    return _route(window, branches, fork, rank, drafts, torch.where(failed, fork, window.size - 1), settled)


def replacement(
    window: Window, offset: Tensor, target: Tensor, candidates: Tensor, rejected: Tensor
) -> tuple[Tensor, Tensor]:
    """What stands where a draft is rejected: the first candidate that passes, or else a draw from what is left.

    Args:
        offset: LongTensor ``[R]``: offset of the draft in each row's window.
        target: ``[R, C]``: the target distribution there.
        candidates: LongTensor ``[R, K]``: codes drawn without replacement from the draft's label, in this
            order, after the draft; -1 where there is none.
        rejected: bool ``[R]``: rows whose draft is; the others keep it.

    Returns:
        The code, LongTensor ``[R]``, and which candidate it is, LongTensor ``[R]``, -1 for none.
    """
    at = torch.arange(len(target), device=target.device), offset
    index, token, label = window.index[at], window.drafts[at], window.labels[at]
    rank = torch.full_like(token, -1)
    rest = (target - label).clamp(min=0)
    undecided = rejected & (rest.sum(-1) > 0)  # no residual: label and target differ by rounding only, the draft stands
    label = label.scatter(1, token.unsqueeze(1), 0.0)
    tried = undecided
    for number in range(candidates.shape[1]):
        tried = tried & (candidates[:, number] >= 0)
        if not tried.any():
            break
        candidate = candidates[:, number].clamp(min=0)
        rest, label = _normalised(rest), _normalised(label)
        uniform = uniforms(window.seeds, index, window.visit, Purpose.CANDIDATE, number + 1)
        left = (rest - label).clamp(min=0)
        passed = tried & (accepts(rest, label, candidate, uniform) | (left.sum(-1) == 0))
        token, rank = torch.where(passed, candidate, token), torch.where(passed, number, rank)
        tried, undecided = tried & ~passed, undecided & ~passed
        rest = torch.where(tried.unsqueeze(1), left, rest)
        label = label.scatter(1, candidate.unsqueeze(1), 0.0)
    last, _ = inverse_cdf(rest, uniforms(window.seeds, index, window.visit, Purpose.CANDIDATE))
    return torch.where(undecided, last, token), rank


def _first_tokens(branches: Branches, fork: Tensor) -> Tensor:
    """Branch tokens that replace the draft at offset ``fork`` ``[R]``: bool ``[R, M]``."""
    return branches.exists & (branches.offset == branches.fork) & (branches.fork == fork.unsqueeze(1))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


def _route(
    window: Window, branches: Branches, fork: Tensor, rank: Tensor, drafts: Tensor, otherwise: Tensor, settled: Tensor
) -> Route:
    """The route along branch ``rank`` of offset ``fork``, both ``[R]``; along the window where ``rank`` is -1.

    ``otherwise`` ``[R]`` is how many drafts of the window are readable there.
    """
    rows, width = window.index.shape
    along = branches.exists & (branches.fork == fork.unsqueeze(1)) & (branches.rank == rank.unsqueeze(1))  # [R, M]
    tokens = width + torch.arange(along.shape[1], device=along.device).expand(rows, -1)
    slots = torch.arange(width + 1, device=along.device).repeat(rows, 1)  # the last takes what is not on the route
    slots = slots.scatter(1, torch.where(along, branches.offset + 1, width), tokens)[:, :width]
    end = torch.where(along, branches.offset + 1, -1).amax(1)
    which, token = torch.nonzero(along, as_tuple=True)
    return Route(slots, drafts, torch.where(rank >= 0, end, otherwise), settled, which, width + token)
