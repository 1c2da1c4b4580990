"""Which forward decides which position, for methods that fix it beforehand instead of asking the drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coupled_decoding.decoding.layout import BatchLayout

Plan = Callable[[BatchLayout, Sequence[int]], Tensor]
"""From the layout of some rows, and the generated index at which each stands, to the turn of each of their positions:
LongTensor ``[rows, L]``, the row's visit that decides a position, -1 where it is decided before the first."""


class Schedule:
    """A turn for every position of the rows of one decode; a window ends with the last position whose turn has come."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._turn = torch.empty(0, 0, dtype=torch.long)  # [B, L]
        self._ends: dict[int, list[int]] = {}
        """For each row, by visit, the generated index past the last position whose turn has come."""

    def begin(self, layout: BatchLayout, rows: Sequence[int], start: Sequence[int]) -> None:
        """Plan these rows anew; ``start`` is the generated index at which each of them stands."""
        turn = self._plan(layout.of(rows), start)
        if self._turn.shape != layout.forced.shape:
            grown = torch.full_like(layout.forced, -1)
            grown[: self._turn.shape[0], : self._turn.shape[1]] = self._turn.to(grown.device)
            self._turn = grown
        self._turn[torch.tensor(rows, device=turn.device)] = turn
        index = torch.arange(1, turn.shape[1] + 1, device=turn.device).expand_as(turn)
        visits = max(1, int(turn.max()) + 1)  # there may be nothing left to decide but forced tokens
        ends = torch.zeros(len(turn), visits, dtype=torch.long, device=turn.device)
        ends = ends.scatter_reduce(1, turn.clamp(min=0), index, "amax").cummax(1).values
        self._ends.update(zip(rows, ends.tolist(), strict=True))

    def turn_at(self, rows: Tensor, index: Tensor) -> Tensor:
        """Turns LongTensor ``[R, T]`` of positions ``[R, T]`` of rows ``[R]``. Indices past the end are clamped."""
        return self._turn[rows.unsqueeze(1), index.clamp(max=self._turn.shape[1] - 1)]

    def end(self, row: int, visit: int) -> int:
        """Where a row's window ends at a visit."""
        ends = self._ends[row]
        return ends[min(visit, len(ends) - 1)]
