"""Branches: other candidates for drafts that may fail, each followed by copies of the next drafts.

They are read in the same forward as the window, each seeing only the drafts before it and its own branch. Where a draft
fails and a candidate for it holds, decoding continues along the candidate's branch, and what would have been one
committed token are several.

Candidates are the codes next to the draft in the order of ``log q + G``: draws without replacement from the draft's
label, by the position's own noise. Which of them are read is another matter. How far they lie apart in that order says
where a draft will fail and for what, but nothing may be decided from drafts that are not verified yet. So this is for
:class:`coupled_decoding.SeedExact`, whose output does not depend on drafts; under rejection sampling the tree has one
shape, made of average chances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.window import Window

DEPTH = 16
"""Drafts of a window that may have other candidates, from its start."""
CANDIDATES = 12
"""Of each of these drafts, at most."""
RUN = 12
"""Tokens of a branch, at most."""


@dataclass(frozen=True, eq=False)
class Branches:
    """M branch tokens for each of the R rows of a window of T positions; parents stand before their children."""

    offset: Tensor
    """LongTensor ``[R, M]``: offset in the window of the position that the token is a candidate for."""
    code: Tensor
    """LongTensor ``[R, M]``: which code it is."""
    parent: Tensor
    """LongTensor ``[R, M]``: slot of the token that it follows, 0 .. T+M-1."""
    fork: Tensor
    """LongTensor ``[R, M]``: offset of the draft that its branch replaces."""
    rank: Tensor
    """LongTensor ``[R, M]``: by which candidate, the likeliest being 0."""
    exists: Tensor
    """bool ``[R, M]``: False is padding, where a window has less to branch."""

    def index(self, window: Window) -> Tensor:
        """Generated index of the position that each token of the forward gives the distribution of, ``[R, T + M]``."""
        return torch.cat([window.index, window.index[:, :1] + self.offset + 1], 1)


Growing = Callable[[Window], Branches]
"""From a window to the tokens that a forward reads beside it."""


def grow(window: Window, count: int, *, from_drafts: bool, chances: Chances = EMOJI) -> Branches:
    """The ``count`` branch tokens of each row that are likeliest to be committed (a greedy tree).

    A token's value is the probability that it and all before it are right. It falls along a branch, so the best
    tokens of all branches always make whole branches.

    Args:
        from_drafts: take these probabilities from the drafts and their candidates; else they are averages, the same at
            every step.
        chances: how likely drafts and candidates are, fitted to a model.

    Example: a window of four positions reads the last committed token in slot 0 and the drafts ``a b c`` of offsets 0
    to 2 in slots 1 to 3. Candidate ``x`` for ``a``, candidate ``y`` for ``b``, and behind ``x`` a copy of ``b``, are::

        slot     4  5  6        offset   0  1  1        parent   0  1  4
        code     x  y  b        fork     0  1  0        rank     0  0  0
    """
    rows, width, codes = window.noise.shape
    depth, most = min(DEPTH, width), min(CANDIDATES, codes - 1)
    codes_next, scores = candidates(window, depth, most)
    right, holds = (_by_scores if from_drafts else _by_averages)(scores, chances)
    forced = window.forced[:, :depth]
    holds = torch.where(forced, 1.0, holds)
    right = torch.where(forced.unsqueeze(-1), 0.0, right)  # nothing could replace a forced token
    prefix = torch.cat([torch.ones_like(holds[:, :1]), holds[:, :-1].cumprod(1)], 1)  # all drafts before are right
    value = _values(prefix, right, holds, window, chances)  # [R, depth, candidates, RUN]

    shape = value.shape[1:]
    best = value.flatten(1).topk(min(count, value[0].numel()))
    order = torch.argsort(best.indices % shape[2], dim=1, stable=True)  # parents come first
    chosen = best.indices.gather(1, order)
    number = torch.zeros(rows, value[0].numel(), dtype=torch.long, device=value.device)  # of a token among the chosen
    number.scatter_(1, chosen, torch.arange(chosen.shape[1], device=value.device).expand(rows, -1))
    step = chosen % shape[2]
    branch = chosen // shape[2]  # [R, M], depth * candidates of them
    fork = branch // shape[1]
    offset = fork + step
    # codes that cannot be drawn leave their places empty: what else is read must not depend on which these are, for
    # later labels were made by drafts that are not verified
    drawable = (scores[..., 1:] > -torch.inf).flatten(1).gather(1, branch)
    exists = (best.values.gather(1, order) > 0) & drawable
    before = width + number.gather(1, (chosen - 1).clamp(min=0))
    # a token of padding may have lost its parent, and hangs on the window's first token instead
    parent = torch.where(exists, torch.where(step == 0, fork, before), 0)
    drafts = window.drafts.gather(1, offset.clamp(max=width - 1))
    return Branches(
        offset=torch.where(exists, offset, 0),
        code=torch.where(step == 0, codes_next.flatten(1).gather(1, branch), drafts),
        parent=parent,
        fork=fork,
        rank=branch % shape[1],
        exists=exists,
    )


def candidates(window: Window, depth: int, count: int) -> tuple[Tensor, Tensor]:
    """The codes next to each draft in the order of ``log q + G``.

    Returns LongTensor ``[R, depth, count]``, and their scores in this order with that of the draft in front,
    ``[R, depth, 1 + count]``.
    """
    best = (window.noise[:, :depth] / window.labels[:, :depth]).topk(count + 1, largest=False)
    return best.indices[..., 1:], -best.values.log()


def _by_scores(scores: Tensor, chances: Chances) -> tuple[Tensor, Tensor]:
    """Probabilities that candidates ``[R, depth, count]`` and drafts ``[R, depth]`` are right, by their scores."""
    nth = torch.arange(scores.shape[1]).clamp(max=len(chances.spread) - 1)
    spread, missed = (scores.new_tensor(values)[nth].unsqueeze(-1) for values in (chances.spread, chances.missed))
    right = (1 - missed) * (scores / spread).softmax(-1)
    return right[..., 1:], right[..., 0]


def _by_averages(scores: Tensor, chances: Chances) -> tuple[Tensor, Tensor]:
    """Probabilities that candidates ``[R, depth, count]`` and drafts ``[R, depth]`` are right, whatever they score."""
    nth = torch.arange(scores.shape[1]).clamp(max=len(chances.holds) - 1)
    ranked = scores.new_tensor(chances.ranked)[nth, : scores.shape[2] - 1]
    return ranked.expand(len(scores), -1, -1), scores.new_tensor(chances.holds)[nth].expand(len(scores), -1)


def _values(prefix: Tensor, right: Tensor, holds: Tensor, window: Window, chances: Chances) -> Tensor:
    """Probability that a branch token is committed, ``[R, depth, candidates, RUN]``; 0 where there is none."""
    device, depth = holds.device, holds.shape[1]
    steps = torch.arange(RUN, device=device)
    shaken = holds.new_tensor(chances.shaken)[(steps - 1).clamp(0, len(chances.shaken) - 1)]
    offsets = torch.arange(depth, device=device).unsqueeze(1) + steps  # [depth, RUN]
    later = holds[:, offsets.clamp(max=depth - 1)] * shaken  # drafts after the deepest hold as the deepest does
    later[..., 0] = 1.0
    run = later.cumprod(-1)  # [R, depth, RUN]
    # a token that is read must leave a position after it whose distribution it gives
    inside = offsets < (window.size - 1).view(-1, 1, 1)
    value = (prefix.unsqueeze(-1) * run).unsqueeze(2) * right.unsqueeze(-1)
    return torch.where(inside.unsqueeze(2), value, 0.0)  # padding has no numbers, and so no zeros to multiply with
