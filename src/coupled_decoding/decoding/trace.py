"""What happened during a decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Trace:
    """Counts of every step and seconds in all. Steps are forwards; a row that is not in a step counts zero there."""

    rows: int
    _committed: list[list[int]] = field(default_factory=list)
    _changed: list[list[int]] = field(default_factory=list)
    _pending: list[list[int]] = field(default_factory=list)
    _fed: list[list[int]] = field(default_factory=list)
    _seconds: list[tuple[float, float]] = field(default_factory=list)

    def record(
        self,
        rows: list[int],
        committed: list[int],
        changed: list[int],
        pending: list[int],
        fed: list[int],
        seconds: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """One step of the given rows of the batch, and its seconds inside the model and outside."""
        for history, counts in zip(self._counts, (committed, changed, pending, fed), strict=True):
            step = [0] * self.rows
            for row, count in zip(rows, counts, strict=True):
                step[row] = count
            history.append(step)
        self._seconds.append(seconds)

    def part(self, row: int, first: int) -> Trace:
        """Of one row, from step ``first`` on."""
        part = Trace(1)
        for step in range(first, self.steps):
            committed, changed, pending, fed = ([counts[step][row]] for counts in self._counts)
            part.record([0], committed, changed, pending, fed, self._seconds[step])
        return part

    @property
    def _counts(self) -> tuple[list[list[int]], ...]:
        return self._committed, self._changed, self._pending, self._fed

    @property
    def seconds_model(self) -> float:
        """Seconds inside ``session.forward``."""
        return sum(model for model, _ in self._seconds)

    @property
    def seconds_outside(self) -> float:
        """Seconds of the rest: target distributions, verification, coupling, noise."""
        return sum(outside for _, outside in self._seconds)

    @property
    def steps(self) -> int:
        return len(self._committed)

    @property
    def committed(self) -> Tensor:
        """LongTensor ``[steps, B]``: tokens committed, at least one in each step that a row takes part in."""
        return torch.tensor(self._committed, dtype=torch.long).view(self.steps, self.rows)

    @property
    def changed(self) -> Tensor:
        """LongTensor ``[steps, B]``: uncommitted drafts that the coupling changed."""
        return torch.tensor(self._changed, dtype=torch.long).view(self.steps, self.rows)

    @property
    def pending(self) -> Tensor:
        """LongTensor ``[steps, B]``: uncommitted drafts, changed or not."""
        return torch.tensor(self._pending, dtype=torch.long).view(self.steps, self.rows)

    @property
    def fed(self) -> Tensor:
        """LongTensor ``[steps, B]``: tokens that the forward read, branches included; padding to a longer window of
        another row is not."""
        return torch.tensor(self._fed, dtype=torch.long).view(self.steps, self.rows)

    @property
    def nfe(self) -> Tensor:
        """LongTensor ``[B]``: forwards that each row took part in, reading the prompt not counted."""
        return (self.committed > 0).sum(0)

    @property
    def tokens_per_forward(self) -> Tensor:
        """``[B]``: tokens committed divided by forwards."""
        return self.committed.sum(0) / self.nfe.clamp(min=1)


@dataclass(frozen=True, eq=False)
class Step:
    """What ``on_step`` is told after each forward."""

    number: int
    """Forwards so far."""
    committed: list[int]
    """Generated tokens that stand, for each row of the batch; those given beforehand included."""
    lengths: list[int]
    """Tokens that each row will have."""
    nfe: int
    """Forwards of the row that took most."""
    _sequence: Callable[[], Tensor]

    @property
    def tokens(self) -> Tensor:
        """LongTensor ``[B, length]``: committed tokens, -1 elsewhere. Copied from the device when asked for."""
        ends = torch.tensor(self.committed).unsqueeze(1)
        drafted = self.drafts
        return torch.where(torch.arange(drafted.shape[1]) < ends, drafted, -1)

    @property
    def drafts(self) -> Tensor:
        """LongTensor ``[B, length]``: committed tokens followed by the current drafts, -1 where there is none."""
        return self._sequence().cpu()
