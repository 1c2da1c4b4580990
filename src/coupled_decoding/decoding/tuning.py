"""The window and the tree that decode fastest here, found while decoding.

How many seconds a forward of so many tokens takes is measured once for a model. How many tokens a step commits is
followed while decoding: with a window of W positions and B branch tokens beside it about ::

    W * g * h / (W + settling * g * h),    h = 1 + cured * B / (B + half_cured)

where ``g`` is what an endless window without branches would commit, the one thing that is not known beforehand, and the
others are of :class:`coupled_decoding.decoding.rules.chances.Chances`. Both
come from committed tokens and clocks, so under rejection sampling a choice by them could be lossless too; but a clock
would then decide what a seed gives. :class:`coupled_decoding.SeedExact` gives the same whatever is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.session import Session

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Tokens that a forward may read of each row."""
LONGEST = SIZES[-1]
TOO_SLOW = 1.9
"""Larger forwards are not tried where twice the tokens take so many times longer: they never commit twice as many."""

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


def tokens_per_step(endless: float, choice: Choice, chances: Chances = EMOJI) -> float:
    """Tokens that a step commits, where an endless window without branches would commit so many."""
    window, count = choice
    run = endless * (1 + chances.cured * count / (count + chances.half_cured))
    return max(1.0, window * run / (window + chances.settling * run))


def endless_window(tokens: float, choice: Choice, chances: Chances = EMOJI) -> float:
    """What :func:`tokens_per_step` was given, where it gave so many."""
    window, count = choice
    # more than a window can settle: as much as can be told
    settled = max(window - chances.settling * tokens, 0.1 * window)
    return tokens * window / settled / (1 + chances.cured * count / (count + chances.half_cured))


class Tuner:
    """Chooses the window and the branches of each step.

    Args:
        seconds: what a forward of each of the first ``SIZES`` took, tokens of each of ``rows`` rows.
        rows: rows of that forward.
        trees: whether branches can be read.
        chances: what is expected of drafts.
    """

    def __init__(self, seconds: Sequence[float], rows: int, trees: bool, chances: Chances = EMOJI) -> None:
        self.seconds, self.rows, self.chances = list(seconds), rows, chances
        self.choices = [choice for choice in choices(trees) if sum(choice) <= SIZES[len(seconds) - 1]]
        self.outside: dict[bool, float] = {}
        """Seconds outside the model that a step took, with and without branches, as far as it is known."""
        self.endless = chances.expected
        self.choice = self._best(rows)

    def observe(self, committed: Sequence[int], rows: int, outside: float) -> None:
        """A step with the current choice: tokens committed by rows with whole windows, rows left, other seconds."""
        if committed:
            tokens = sum(committed) / len(committed)
            expected = tokens_per_step(self.endless, self.choice, self.chances)
            self.endless = endless_window(expected + NEW * (tokens - expected), self.choice, self.chances)
        tree = self.choice[1] > 0
        known = self.outside.get(tree, outside)
        self.outside[tree] = known + NEW * (outside - known)
        best = self._best(rows)
        if self._speed(best, rows) > BETTER * self._speed(self.choice, rows):
            self.choice = best

    def _best(self, rows: int) -> Choice:
        return max(self.choices, key=lambda choice: self._speed(choice, rows))

    def _speed(self, choice: Choice, rows: int) -> float:
        """Tokens per second that a row is expected to get."""
        inside = self._inside(sum(choice) * rows / self.rows)
        # what is not known yet is taken for as little as it can be, and so is tried: a tree costs more than none
        alone = self.outside.get(False, 0.0)
        outside = self.outside.get(True, alone) if choice[1] else alone
        return tokens_per_step(self.endless, choice, self.chances) / (inside + outside)

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
    """Seconds of a forward of each of ``SIZES`` tokens per row, up to where more cannot pay.

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
            if len(seconds) > 1 and seconds[-1] > TOO_SLOW * seconds[-2]:
                break
        for i in reversed(range(len(seconds) - 1)):
            seconds[i] = min(seconds[i], seconds[i + 1])
        kept[rows] = seconds
    return kept[rows]
