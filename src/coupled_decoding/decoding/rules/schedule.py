"""Which forward decides which position, for methods that fix it beforehand instead of asking the drafts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """A turn for every position of B rows; a window ends with the last position whose turn has come."""

    turn: Tensor
    """LongTensor ``[B, L]``: the row's visit that decides a position; -1 where it is decided before the first."""
    ends: list[list[int]]
    """Generated index past the last position whose turn has come, for each row and visit."""

    @classmethod
    def of(cls, turn: Tensor) -> Schedule:
        index = torch.arange(1, turn.shape[1] + 1, device=turn.device).expand_as(turn)
        visits = int(turn.max()) + 1
        ends = torch.zeros(len(turn), visits, dtype=torch.long, device=turn.device)
        ends = ends.scatter_reduce(1, turn.clamp(min=0), index, "amax").cummax(1).values
        return cls(turn, ends.tolist())

    def turn_at(self, rows: Tensor, index: Tensor) -> Tensor:
        """Turns LongTensor ``[R, T]`` of positions ``[R, T]`` of rows ``[R]``. Indices past the end are clamped."""
        return self.turn[rows.unsqueeze(1), index.clamp(max=self.turn.shape[1] - 1)]

    def end(self, row: int, visit: int) -> int:
        """Where a row's window ends at a visit."""
        ends = self.ends[row]
        return ends[min(visit, len(ends) - 1)]
