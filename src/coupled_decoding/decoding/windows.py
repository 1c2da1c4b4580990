"""Windows: the first one of a row, the next one, and what enters it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coupled_decoding.decoding.board import Board
from coupled_decoding.decoding.ledger import Ledger
from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.guesses import Entering
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.window import Learned, Window
from coupled_decoding.decoding.step import Outcome


class Windows:
    """Makes the window of each step from what the step before it came to.

    What a window needs beside tokens, noise and labels with one number per code, slides along with it.
    """

    def __init__(self, board: Board, ledger: Ledger, rules: Rules, memory: Memory | None) -> None:
        self._board, self._ledger, self._rules, self._memory = board, ledger, rules, memory
        self._seeds = torch.zeros(len(ledger.start), dtype=torch.long, device=board.device)
        self._rows = torch.empty(0, dtype=torch.long, device=board.device)

    def seed(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Give rows their seeds."""
        self._seeds[torch.tensor(rows, device=self._board.device)] = torch.tensor(seeds, device=self._board.device)

    def open(self, width: int) -> Window | None:
        """A window with no step before it, of at most ``width`` positions; None where no row is running."""
        if not self._aim(width):
            return None
        rows, positions = len(self._ledger.active), int((self._ledger.bounds[1] - self._ledger.bounds[0]).max())
        # until the first logits tell their precision, in that of the noise
        empty = torch.zeros(rows, positions, len(self._board.codes), dtype=torch.float64, device=self._board.device)
        return self._window(empty, Learned(
            empty.clone() if self._rules.keep_labels else None, empty.clone() if self._rules.predict else None))

    def slide(self, outcome: Outcome, width: int) -> Window | None:
        """The window after a step: each row moved to where it stands now, rows that were opened since among them.

        Example: a row of window ``[3 4 5 6]`` (by index) that committed two tokens has ``[5 6 7 8]`` next; noise and
        labels of 5 and 6 are copied to offsets 0 and 1, and 7 and 8 enter with noise and a first guess of their own.
        """
        before, began = {row: i for i, row in enumerate(self._ledger.active)}, self._ledger.bounds[0].tolist()
        if not self._aim(width):
            return None
        number, move = [], []
        for row, start in zip(self._ledger.active, self._ledger.bounds[0].tolist(), strict=True):
            stays = row in before and self._ledger.entered[row] > 0  # else all of it enters
            number.append(before[row] if stays else 0)
            move.append(start - began[before[row]] if stays else 0)
        positions = outcome.window.index.shape[1]
        moved = int((self._ledger.bounds[1] - self._ledger.bounds[0]).max())
        offset = (torch.arange(moved) + torch.tensor(move).unsqueeze(1)).clamp(max=positions - 1)
        # in a list of all rows' positions
        source = (positions * torch.tensor(number).unsqueeze(1) + offset).flatten().to(self._board.device)

        def slid(values: Tensor) -> Tensor:
            # index_select copies whole rows, several times faster than indexing by two tensors
            return values.flatten(0, 1).index_select(0, source).unflatten(0, offset.shape)

        learned = outcome.window.learned
        return self._window(slid(outcome.window.noise), Learned(
            slid(outcome.labels) if self._rules.keep_labels else None,
            None if learned.averages is None else slid(learned.averages)))

    def _aim(self, width: int) -> bool:
        """Set the rows of the next window and where each begins and ends; False where no row is running."""
        ledger, running = self._ledger, self._ledger.running
        if running != ledger.active:  # the same tensor as long as the same rows continue: sessions compare by identity
            ledger.active = running
            self._rows = torch.tensor(running, dtype=torch.long, device=self._board.device)
        if not running:
            return False
        # what the host knows is put together there: asking the device would wait for it
        start = ledger.of(ledger.start)
        end = torch.minimum(start + width, ledger.of(ledger.lengths))
        if self._rules.schedule is not None:
            ends = [self._rules.schedule.end(row, ledger.nfe[row]) for row in running]
            end = torch.minimum(end, torch.tensor(ends))
        ledger.bounds = start, end
        return True

    def _window(self, noise: Tensor, learned: Learned) -> Window:
        """The window where the rows stand; what of noise and learned values enters is written in place."""
        board, (start, end), rows = self._board, self._ledger.bounds, self._rows
        index = (start.unsqueeze(1) + torch.arange(noise.shape[1])).to(board.device)
        window = Window(
            rows=rows,
            seeds=self._seeds[rows],
            visit=self._ledger.of(self._ledger.nfe).to(board.device),
            index=index,
            size=(end - start).to(board.device),
            forced=board.forced[rows.unsqueeze(1), index],
            drafts=board.at(rows.unsqueeze(1), index).clamp(min=0),
            noise=noise,
            learned=learned,
        )
        self._enter(window)
        return window

    def _enter(self, window: Window) -> None:
        """Give noise, a first guess and its label to the positions of each row that were in no window before."""
        board, ledger = self._board, self._ledger
        start, end = ledger.bounds
        on_host = torch.arange(window.index.shape[1]) + start.unsqueeze(1)
        entering = ((on_host >= ledger.of(ledger.entered).unsqueeze(1)) & (on_host < end.unsqueeze(1))).nonzero()
        for active, reached in zip(ledger.active, end.tolist(), strict=True):
            ledger.entered[active] = reached
        if not len(entering):
            return
        number, offset = entering.to(board.device).unbind(1)
        index, row = window.index[number, offset], window.rows[number]
        noise = exponentials(window.seeds[number], index, board.codes)
        layout = board.layout
        previous = layout.previous[row, index]
        drafts, label = self._rules.guess(Entering(
            noise=noise,
            legal=layout.legal_at(row, index),
            last=board.code_before(row, window.index[number, 0]),
            above=board.neighbour(row, layout.above[row, index]),
            previous=board.neighbour(row, previous),
            remembered=None if self._memory is None else self._memory.recall(row, previous, noise.shape[-1]),
        ))
        window.noise[number, offset] = noise.to(window.noise.dtype)
        window.drafts[number, offset] = drafts
        if window.learned.labels is not None:
            window.learned.labels[number, offset] = label.to(window.noise.dtype)
        if window.learned.averages is not None:
            window.learned.averages[number, offset] = 0
        board.put(row, index, drafts, ~window.forced[number, offset])
