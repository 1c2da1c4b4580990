"""What a position that enters the window starts from. Each first guess has an honest label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from coupled_decoding.decoding.rules.draw import race


@dataclass(frozen=True, eq=False)
class Entering:
    """M positions that enter the window. Where a code 0 .. C-1 is asked for, -1 means that there is none."""

    noise: Tensor
    """``[M, C]``: exponential noise of each position."""
    legal: Tensor | None
    """bool ``[M, C]``: codes that may stand there; None: all."""
    last: Tensor
    """LongTensor ``[M]``: the row's last committed token."""
    above: Tensor
    """LongTensor ``[M]``: the code one row up, committed or drafted before; -1 too where it enters in the same step."""
    previous: Tensor
    """LongTensor ``[M]``: the code at the same place one frame earlier; as ``above``."""
    remembered: Tensor | None = None
    """``[M, C]``: the last target distribution of that place one frame earlier, without its tail; zeros where there is
    none. Only for guesses of :data:`REMEMBERING`."""


Guess = Callable[[Entering], tuple[Tensor, Tensor]]
"""Gives the drafts, LongTensor ``[M]``, and their labels ``[M, C]``."""


def uniform(entering: Entering) -> tuple[Tensor, Tensor]:
    """A code drawn uniformly with the position's own noise, and the uniform distribution as its label.

    The draw may use the noise that later couples the position, because its label is fixed beforehand.
    """
    weights = torch.ones_like(entering.noise) if entering.legal is None else entering.legal.to(entering.noise.dtype)
    label = weights / weights.sum(-1, keepdim=True)
    return race(label, entering.noise), label


def random(entering: Entering) -> tuple[Tensor, Tensor]:
    """The same draw with a one-hot label, as published: accepted with probability p(x), about one in C."""
    drafts, label = uniform(entering)
    return drafts, _one_hot(drafts, label)


def repeat(entering: Entering) -> tuple[Tensor, Tensor]:
    """The last committed code; where that is none of the legal codes, a uniform guess."""
    return copy(entering, entering.last)


def above(entering: Entering) -> tuple[Tensor, Tensor]:
    """The code one row up; where there is none, a uniform guess."""
    return copy(entering, entering.above)


def previous_frame(entering: Entering) -> tuple[Tensor, Tensor]:
    """The code at the same place one frame earlier; where there is none, a uniform guess."""
    return copy(entering, entering.previous)


def previous_frame_distribution(entering: Entering) -> tuple[Tensor, Tensor]:
    """A draw from the last target distribution of the same place one frame earlier, which is its label.

    It is drawn with the position's own noise: the label was decided by other positions. Where nothing is known of that
    place, its code is copied.
    """
    drafts, label = previous_frame(entering)
    if entering.remembered is None:
        return drafts, label
    known = entering.remembered if entering.legal is None else entering.remembered * entering.legal
    total = known.sum(-1, keepdim=True)
    there = total > 0
    label = torch.where(there, (known / total).to(label.dtype), label)
    return torch.where(there.squeeze(-1), race(label, entering.noise), drafts), label


def copy(entering: Entering, source: Tensor) -> tuple[Tensor, Tensor]:
    """Codes ``[M]`` from elsewhere with one-hot labels; where there is none, or it is not legal, a uniform guess."""
    drafts, label = uniform(entering)
    code = source.clamp(min=0)
    there = source >= 0
    if entering.legal is not None:
        there &= entering.legal.gather(1, code.unsqueeze(1)).squeeze(1)
    return torch.where(there, code, drafts), torch.where(there.unsqueeze(1), _one_hot(code, label), label)


def _one_hot(drafts: Tensor, like: Tensor) -> Tensor:
    return one_hot(drafts, like.shape[-1]).to(like.dtype)


GUESSES: dict[str, Guess] = {
    "uniform": uniform, "random": random, "repeat": repeat, "above": above, "previous-frame": previous_frame,
    "previous-frame-distribution": previous_frame_distribution,
}
REMEMBERING = ("previous-frame-distribution",)
"""Guesses that look at distributions of positions that have left the window."""


def check_first_guess(name: str) -> None:
    """ValueError where there is no first guess of this name."""
    if name not in GUESSES:
        raise ValueError(f"first_guess is {name!r}: give one of {', '.join(GUESSES)}")
