"""ZipAR: the rows of a picture decoded side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import check_whole, check_window
from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.methods import Method
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.guesses import Entering, copy
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.schedule import Schedule
from coupled_decoding.decoding.rules.verification import leading
from coupled_decoding.decoding.rules.window import Window


@final
@dataclass(frozen=True)
class ZipAR(Method):
    """Row parallelism after ZipAR (arXiv 2412.04062): a row begins when the row above is some codes ahead. Lossy.

    Every forward draws one code of each row that has begun, for good, from what the model says there: nothing is
    verified. A row does not know what stands to the right in the rows above it. In the authors' code such a gap is
    missing from the attention, and only the position before a row's first code is lent one; here a forward reads a
    stretch without holes, from the first undecided position to the last that is drawn, and a gap holds the code above
    it, or in the first row the last committed code. So this is ZipAR's order of drawing, not its arithmetic: codes are
    read again as long as a row above them is open, and the trace counts them each time.

    Rows are those of :attr:`coupled_decoding.Layout.above`; a layout without rows is one row, and frames of a clip
    follow each other. The number of forwards is the same for all seeds. The grid being one row, or ``ahead`` at least
    its width, this is AR, token for token.

    Args:
        window: positions that a forward reads at most; a row that does not fit in begins later.
        ahead: codes of the row above that are decided before a row begins (the paper's window size s).
    """

    window: int = 64
    ahead: int = 8

    def __post_init__(self) -> None:
        check_window(self.window)
        check_whole("ahead", self.ahead)

    @property
    def name(self) -> str:
        return f"ZipAR-{self.ahead}"

    @property
    def lossless(self) -> bool:
        return False

    def rules(self, chances: Chances = EMOJI) -> Rules:
        schedule = Schedule(partial(staircase, ahead=self.ahead, window=self.window))
        return Rules(
            guess=fill_gap, couple=partial(draw_due, schedule=schedule),
            verify=partial(accept_decided, schedule=schedule), keep_labels=False, schedule=schedule,
        )


def fill_gap(entering: Entering) -> tuple[Tensor, Tensor]:
    """The code above, or the last committed one."""
    return copy(entering, torch.where(entering.above < 0, entering.last, entering.above))


def draw_due(window: Window, target: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Draw the positions whose turn it is by their own noise, as AR does, and keep all others."""
    due = schedule.turn_at(window.rows, window.index) == window.visit.unsqueeze(1)
    return torch.where(due, race(target, window.noise), window.drafts), target


def accept_decided(window: Window, target: Tensor, drawn: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Commit what earlier turns decided without a gap, and the code after it, whose turn it is."""
    accepted = leading(schedule.turn_at(window.rows, window.index) < window.visit.unsqueeze(1), window)
    return accepted, drawn.gather(1, accepted.unsqueeze(1)).squeeze(1)


def staircase(layout: BatchLayout, start: Sequence[int], ahead: int, window: int) -> Tensor:
    """The turn of each position, LongTensor ``[B, L]``: the row's forward that decides it, -1 for given tokens.

    A position waits for its left neighbour; the first of a row that has one above waits instead until that is
    ``ahead`` codes on. Both wait until the window reaches them: until what is ``window`` before is committed.
    """
    forced, above = layout.forced >= 0, layout.above
    rows, length = forced.shape
    known = torch.arange(length, device=forced.device) < torch.tensor(start, device=forced.device).unsqueeze(1)
    under = above >= 0
    top = ~under & ~forced  # the first row of a picture
    begins = top & ~torch.nn.functional.pad(top, (1, 0))[:, :-1]  # the first position of a row
    # position i stands at i + 1; what stands before the first position is there
    turns = torch.full((rows, length + 1), -1, device=forced.device)
    commits = turns.clone()  # the forward that commits a position

    for i in range(length):
        turn, commit = turns[:, i], commits[:, i]
        begins[:, i] |= under[:, i] & begins.gather(1, above[:, i : i + 1].clamp(min=0)).squeeze(1)
        lead = torch.where(begins[:, i] & under[:, i], above[:, i] + ahead - 1, i - 1).clamp(max=i - 1)
        waits = turns.gather(1, lead.unsqueeze(1) + 1).squeeze(1)
        if i >= window:
            waits = torch.maximum(waits, commits[:, i - window + 1])
        # a forced token needs no turn of its own: it is known as soon as what is before it
        mine = torch.where(forced[:, i], turn, waits + 1)
        # a forward commits what was decided before it, and one code that it decides itself
        own = torch.where(mine > commit, mine, commit + (turn == commit).long())
        turns[:, i + 1] = torch.where(known[:, i], -1, mine)
        commits[:, i + 1] = torch.where(known[:, i], -1, own)
    return turns[:, 1:]
