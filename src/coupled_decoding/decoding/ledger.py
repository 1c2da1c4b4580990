"""Where each row of a decode starts, stands and ends: numbers on the host, which no step has to ask the device for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Counts(NamedTuple):
    """What one step came to, one entry per row of its window. It is all that a step brings from the device."""

    committed: list[int]
    """Tokens committed; meaningless for a broken row."""
    changed: list[int]
    """Uncommitted drafts that the coupling changed."""
    pending: list[int]
    """Uncommitted drafts, changed or not."""
    broken: list[int]
    """Positions whose target distribution is not a number."""
    read: list[int]
    """Tokens that the forward read, branches included."""


class Ledger:
    """The numbers of B rows. A row is running while it stands before its end; at first all rows are idle."""

    def __init__(self, rows: int) -> None:
        self.start = [0] * rows
        """Generated index of each row's first uncommitted token."""
        self.lengths = [0] * rows
        """Tokens that each row will have."""
        self.nfe = [0] * rows
        """Forwards that each row took part in since it was opened."""
        self.entered = [0] * rows
        """Generated index up to which each row's positions have been in a window."""
        self.active: list[int] = []
        """The rows of the current window: the same list as long as the same rows continue."""
        self.bounds = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
        """LongTensor ``[R]`` each, on the CPU: generated indices where each row of the current window begins and ends.
        """

    @property
    def running(self) -> list[int]:
        """The rows that take part in the next step."""
        return [row for row, end in enumerate(self.lengths) if self.start[row] < end]

    @property
    def sizes(self) -> list[int]:
        """Positions that exist in each row of the current window."""
        start, end = self.bounds
        return (end - start).tolist()

    def restart(self, rows: Sequence[int], lengths: Sequence[int], start: Sequence[int]) -> None:
        """Let rows begin, or begin again, with this many tokens already known."""
        for row, length, known in zip(rows, lengths, start, strict=True):
            self.start[row], self.lengths[row] = known, length
            self.nfe[row] = self.entered[row] = 0

    def advance(self, counts: Counts) -> list[int]:
        """Move the rows of the window by what they committed; one that is broken ends where it stood.

        Returns the broken rows.
        """
        broken = []
        for row, committed, wrong in zip(self.active, counts.committed, counts.broken, strict=True):
            self.nfe[row] += 1
            if wrong:
                broken.append(row)
                self.end(row, self.start[row])
            else:
                self.start[row] += committed
        return broken

    def end(self, row: int, length: int) -> None:
        """Let a row end after ``length`` tokens, all of them committed."""
        self.start[row] = self.lengths[row] = length

    def of(self, values: Sequence[int]) -> Tensor:
        """LongTensor ``[R]`` on the CPU: of one value per row of the batch, those of the current window's rows."""
        return torch.tensor([values[row] for row in self.active], dtype=torch.long)
