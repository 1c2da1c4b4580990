"""Branches: other candidates for drafts that may fail, each followed by copies of the next drafts.

They are read in the same forward as the window, each seeing only the drafts before it and its own branch. Where a draft
fails and a candidate for its place holds, decoding goes on along the candidate's branch, and what would have been one
committed token are several.

Candidates are the codes next to the draft in the order of ``log q + G``: draws without replacement from the draft's
label, by the position's own noise. Which of them are read is another matter. How far they lie apart in that order says
where a draft will fail and for what, but nothing may be decided from drafts that are not verified yet. So this is for
:class:`coupled_decoding.SeedExact`, whose output does not depend on drafts; under rejection sampling the tree has one
shape, made of average chances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.rules.window import Window

DEPTH = 16
"""Drafts of a window that may have other candidates, from its start."""
CANDIDATES = 12
"""Of each of these drafts, at most."""
RUN = 12
"""Tokens of a branch, at most."""

# Chances of the first draft behind a commit, whose past has changed, of the second, and of all later ones, each given
# that all before it are right. Measured on the shipped picture model.
SPREAD = (1.0, 0.7, 0.5)
"""By how much the true ``log p + G`` of a code may lie off the ``log q + G`` that drew the draft."""
MISSED = (0.1, 0.1, 0.05)
"""How often the true code is none of the candidates."""
HOLDS = (0.5, 0.65, 0.82)
"""How often the draft is right."""
RANKED = (
    (0.17, 0.075, 0.050, 0.034, 0.026, 0.021, 0.017, 0.010, 0.0080, 0.0070, 0.0060, 0.0050),
    (0.12, 0.055, 0.035, 0.015, 0.012, 0.010, 0.008, 0.006, 0.0050, 0.0045, 0.0040, 0.0035),
    (0.07, 0.024, 0.016, 0.009, 0.008, 0.006, 0.005, 0.003, 0.0025, 0.0020, 0.0015, 0.0010),
)
"""How often each candidate is right, the likeliest first. No two are equal: a candidate is tried only after all before
it, so it is of no use without them."""
SHAKEN = (0.8, 0.9, 0.95)
"""How much is left of the chances of the first, second and later drafts behind a candidate: they were made for another
code in its place."""


@dataclass(eq=False)
class Branches:
    """M branch tokens for each of the R rows of a window of T positions; parents stand before their children."""

    offset: Tensor
    """LongTensor ``[R, M]``: offset in the window of the position that the token is a candidate for."""
    column: Tensor
    """LongTensor ``[R, M]``: which code it is."""
    parent: Tensor
    """LongTensor ``[R, M]``: the token of the forward, 0 .. T+M-1, that it follows."""
    fork: Tensor
    """LongTensor ``[R, M]``: offset of the draft that its branch replaces."""
    rank: Tensor
    """LongTensor ``[R, M]``: by which candidate, the likeliest being 0."""
    exists: Tensor
    """bool ``[R, M]``: False is padding, where a window has less to branch."""

    def index(self, window: Window) -> Tensor:
        """Generated index of the position that each token of the forward gives the distribution of, ``[R, T + M]``."""
        return torch.cat([window.index, window.index[:, :1] + self.offset + 1], 1)


def grow(window: Window, count: int, *, from_drafts: bool) -> Branches:
    """The ``count`` branch tokens of each row that are likeliest to be committed (a greedy tree).

    A token's value is the probability that it and all before it are right. It falls along a branch, so the best
    tokens of all branches always make whole branches.

    Args:
        from_drafts: take these probabilities from the drafts and their candidates; else they are averages, the same at
            every step.
    """
    rows, width, codes = window.noise.shape
    depth, most = min(DEPTH, width), min(CANDIDATES, codes - 1)
    columns, scores = _candidates(window, depth, most)
    chances, holds = _chances(scores) if from_drafts else _averages(scores)
    forced = window.forced[:, :depth]
    holds = torch.where(forced, 1.0, holds)
    chances = torch.where(forced.unsqueeze(-1), 0.0, chances)  # nothing could replace a forced token
    prefix = torch.cat([torch.ones_like(holds[:, :1]), holds[:, :-1].cumprod(1)], 1)  # all drafts before are right
    value = _values(prefix, chances, holds, window)  # [R, depth, candidates, RUN]

    shape = value.shape[1:]
    best = value.flatten(1).topk(min(count, value[0].numel()))
    order = torch.argsort(best.indices % shape[2], dim=1, stable=True)  # parents come first
    chosen = best.indices.gather(1, order)
    place = torch.zeros(rows, value[0].numel(), dtype=torch.long, device=value.device)
    place.scatter_(1, chosen, torch.arange(chosen.shape[1], device=value.device).expand(rows, -1))
    step = chosen % shape[2]
    branch = chosen // shape[2]  # [R, M], depth * candidates of them
    fork = branch // shape[1]
    offset = fork + step
    # codes that cannot be drawn leave their places empty: what else is read must not depend on which these are, for
    # later labels were made by drafts that are not verified
    drawable = (scores[..., 1:] > -torch.inf).flatten(1).gather(1, branch)
    exists = (best.values.gather(1, order) > 0) & drawable
    before = width + place.gather(1, (chosen - 1).clamp(min=0))
    # a token of padding may have lost its parent, and hangs on the window's first token instead
    parent = torch.where(exists, torch.where(step == 0, fork, before), 0)
    drafts = window.drafts.gather(1, offset.clamp(max=width - 1))
    return Branches(
        offset=torch.where(exists, offset, 0),
        column=torch.where(step == 0, columns.flatten(1).gather(1, branch), drafts),
        parent=parent,
        fork=fork,
        rank=branch % shape[1],
        exists=exists,
    )


def _candidates(window: Window, depth: int, count: int) -> tuple[Tensor, Tensor]:
    """The codes next to each draft in the order of ``log q + G``.

    Returns their columns ``[R, depth, count]``, and these scores of theirs, that of the draft in front,
    ``[R, depth, 1 + count]``.
    """
    assert window.labels is not None
    best = (window.noise[:, :depth] / window.labels[:, :depth]).topk(count + 1, largest=False)
    return best.indices[..., 1:], -best.values.log()


def _chances(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities that candidates ``[R, depth, count]`` and drafts ``[R, depth]`` are right, by their scores."""
    kind = torch.arange(scores.shape[1]).clamp(max=len(SPREAD) - 1)
    spread, missed = (scores.new_tensor(values)[kind].unsqueeze(-1) for values in (SPREAD, MISSED))
    chances = (1 - missed) * (scores / spread).softmax(-1)
    return chances[..., 1:], chances[..., 0]


def _averages(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The same whatever the scores are."""
    kind = torch.arange(scores.shape[1]).clamp(max=len(HOLDS) - 1)
    ranked, holds = scores.new_tensor(RANKED)[kind, : scores.shape[2] - 1], scores.new_tensor(HOLDS)[kind]
    return ranked.expand(len(scores), -1, -1), holds.expand(len(scores), -1)


def _values(prefix: Tensor, chances: Tensor, holds: Tensor, window: Window) -> Tensor:
    """Probability that a branch token is committed, ``[R, depth, candidates, RUN]``; 0 where there is none."""
    device, depth = holds.device, holds.shape[1]
    steps = torch.arange(RUN, device=device)
    shaken = holds.new_tensor(SHAKEN)[(steps - 1).clamp(0, len(SHAKEN) - 1)]
    offsets = torch.arange(depth, device=device).unsqueeze(1) + steps  # [depth, RUN]
    later = holds[:, offsets.clamp(max=depth - 1)] * shaken  # drafts behind the deepest hold as the deepest does
    later[..., 0] = 1.0
    run = later.cumprod(-1)  # [R, depth, RUN]
    # a token that is read must leave a position behind it whose distribution it gives
    inside = offsets < (window.size - 1).view(-1, 1, 1)
    value = (prefix.unsqueeze(-1) * run).unsqueeze(2) * chances.unsqueeze(-1)
    return torch.where(inside.unsqueeze(2), value, 0.0)  # padding has no numbers, and so no zeros to multiply with
