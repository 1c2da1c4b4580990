"""The window and the tree that decode fastest here, found while decoding.

How many seconds a forward of so many tokens takes is measured once for a model. How many tokens a step commits is
followed as decoding goes on: with a window of W positions and B branch tokens beside it about ::

    W * g * h / (W + SETTLING * g * h),    h = 1 + CURED * B / (B + HALF_CURED)

where ``g`` is what an endless window without branches would commit, the one thing that is not known beforehand. Both
come from committed tokens and clocks, so under rejection sampling a choice by them could be lossless too; but a clock
would then decide what a seed gives. :class:`coupled_decoding.SeedExact` gives the same whatever is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from coupled_decoding.decoding.session import Session

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Tokens that a forward may read of each row."""
LONGEST = SIZES[-1]
TOO_DEAR = 1.9
"""Larger forwards are not tried where twice the tokens take so many times longer: they never commit twice as many."""

# Of the shipped picture model: 2.4, 2.75 and 3.05 tokens a step at windows of 16, 32 and 64, and with as many branch
# tokens as window 1.4 times as many as an endless window of as good drafts.
SETTLING = 1.7
"""How many positions of a window a token that is committed in the end has cost: drafts settle while they wait."""
CURED, HALF_CURED = 0.55, 12.0
"""By how much branches lengthen the run of right drafts at most, and how many of them give half of it."""
EXPECTED = 3.5
"""What ``g`` is taken for before anything is known."""

NEW = 0.1
"""Weight of a step among the steps that are followed."""
BETTER = 1.05
"""So many times faster must another choice promise to be."""

Choice = tuple[int, int]
"""Positions of a window, and branch tokens beside it."""


def choices(trees: bool) -> Iterator[Choice]:
    """Windows of every size, and with ``trees`` those of which half is given to branches."""
    for size in SIZES:
        yield size, 0
        if trees and size >= 16:
            yield size // 2, size // 2


def tokens_a_step(endless: float, choice: Choice) -> float:
    """Tokens that a step commits, where an endless window without branches would commit so many."""
    window, count = choice
    run = endless * (1 + CURED * count / (count + HALF_CURED))
    return max(1.0, window * run / (window + SETTLING * run))


def endless_window(tokens: float, choice: Choice) -> float:
    """What :func:`tokens_a_step` was given, where it gave so many."""
    window, count = choice
    settled = max(window - SETTLING * tokens, 0.1 * window)  # more than a window can settle: as much as can be told
    return tokens * window / settled / (1 + CURED * count / (count + HALF_CURED))


class Tuner:
    """Chooses the window and the branches of each step.

    Args:
        seconds: what a forward of each of the first ``SIZES`` took, tokens of each of ``rows`` rows.
        rows: rows of that forward.
        trees: whether branches can be read.
    """

    def __init__(self, seconds: Sequence[float], rows: int, trees: bool) -> None:
        self.seconds, self.rows = list(seconds), rows
        self.choices = [choice for choice in choices(trees) if sum(choice) <= SIZES[len(seconds) - 1]]
        self.outside: dict[bool, float] = {}
        """Seconds outside the model that a step took, with and without branches, as far as it is known."""
        self.endless = EXPECTED
        self.choice = self._best(rows)

    def observe(self, committed: Sequence[int], rows: int, outside: float) -> None:
        """A step with the current choice: tokens committed by rows with whole windows, rows left, other seconds."""
        if committed:
            tokens = sum(committed) / len(committed)
            expected = tokens_a_step(self.endless, self.choice)
            self.endless = endless_window(expected + NEW * (tokens - expected), self.choice)
        kind = self.choice[1] > 0
        known = self.outside.get(kind, outside)
        self.outside[kind] = known + NEW * (outside - known)
        best = self._best(rows)
        if self._speed(best, rows) > BETTER * self._speed(self.choice, rows):
            self.choice = best

    def _best(self, rows: int) -> Choice:
        return max(self.choices, key=lambda choice: self._speed(choice, rows))

    def _speed(self, choice: Choice, rows: int) -> float:
        """Tokens a second that a row is expected to get."""
        inside = self._inside(sum(choice) * rows / self.rows)
        # what is not known yet is taken for as little as it can be, and so is tried: a tree costs more than none
        alone = self.outside.get(False, 0.0)
        outside = self.outside.get(True, alone) if choice[1] else alone
        return tokens_a_step(self.endless, choice) / (inside + outside)

    def _inside(self, tokens: float) -> float:
        """Seconds of a forward of so many tokens of each row, between those measured on a line."""
        if tokens <= 1:
            return self.seconds[0]
        below = max(i for i, size in enumerate(SIZES[: len(self.seconds)]) if size <= tokens)
        if below == len(self.seconds) - 1:
            return self.seconds[below]
        share = (tokens - SIZES[below]) / (SIZES[below + 1] - SIZES[below])
        return self.seconds[below] + share * (self.seconds[below + 1] - self.seconds[below])


@torch.no_grad()
def measure(session: Session, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of a forward of each of ``SIZES`` tokens a row, up to where more cannot pay.

    Reads tokens behind the prompts, as any forward before the first commit does: their entries are written again. The
    session's ``costs`` keep what was measured, once for each number of rows.
    """
    rows, device = len(session.last_token), session.last_token.device
    kept = session.costs
    if rows not in kept:
        seconds: list[float] = []
        for size in SIZES:
            tokens = session.last_token.unsqueeze(1).expand(-1, size)
            positions = session.last_position.unsqueeze(1) + torch.arange(size, device=device)
            taken = []
            for _ in range(3):  # the first one may have to make room, or to compile
                started = clock()
                session.forward(tokens, positions)
                if device.type != "cpu":
                    torch.accelerator.synchronize(device)
                taken.append(clock() - started)
            # a larger forward is no faster than a smaller one: where it seems so, the smaller one was disturbed
            seconds.append(min(taken[1:]))
            if len(seconds) > 1 and seconds[-1] > TOO_DEAR * seconds[-2]:
                break
        for i in reversed(range(len(seconds) - 1)):
            seconds[i] = min(seconds[i], seconds[i + 1])
        kept[rows] = seconds
    return kept[rows]
