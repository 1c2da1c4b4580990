"""What happened during a decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class RowTrace:
    """What happened in one row, one entry per step that it took part in."""

    first: int = 0
    """Steps of the decode before the row's first one."""
    counts: list[list[int]] = field(default_factory=list)
    """Tokens committed, drafts changed, drafts pending, tokens read."""
    seconds: list[tuple[float, float]] = field(default_factory=list)
    """Of each step, which the row may share with others: inside the model, and outside."""


class Trace:
    """Counts of every step and seconds in all. Steps are forwards; a row that is not in a step counts zero there.

    All is kept per row and dropped with :meth:`restart`: a trace of rows that are used again and again does not grow.
    """

    def __init__(self, rows: int) -> None:
        self._of = [RowTrace() for _ in range(rows)]
        self._steps = 0

    def record(
        self,
        rows: Sequence[int],
        committed: Sequence[int],
        changed: Sequence[int],
        pending: Sequence[int],
        fed: Sequence[int],
        seconds: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """One step of the given rows of the batch, and its seconds inside the model and outside."""
        for row, *counts in zip(rows, committed, changed, pending, fed, strict=True):
            trace = self._of[row]
            if not trace.counts:
                trace.first = self._steps
            trace.counts.append(counts)
            trace.seconds.append(seconds)
        self._steps += 1

    def restart(self, row: int) -> None:
        """Drop what happened in a row; a :meth:`part` that was taken of it before keeps it."""
        self._of[row] = RowTrace()

    def part(self, row: int) -> Trace:
        """The trace of one row alone, its first step the first; it follows the row until that is restarted."""
        part = Trace(0)
        part._of = [self._of[row]]
        return part

    @property
    def rows(self) -> int:
        return len(self._of)

    @property
    def _span(self) -> range:
        """The steps that some row took part in."""
        spans = [range(trace.first, trace.first + len(trace.counts)) for trace in self._of if trace.counts]
        return range(min(span.start for span in spans), max(span.stop for span in spans)) if spans else range(0)

    @property
    def _seconds(self) -> list[tuple[float, float]]:
        """Of every step, once."""
        by_step = {trace.first + i: seconds for trace in self._of for i, seconds in enumerate(trace.seconds)}
        return [by_step[step] for step in sorted(by_step)]

    def _counted(self, which: int) -> Tensor:
        """LongTensor ``[steps, B]`` of one of the counts."""
        span = self._span
        counted = torch.zeros(len(span), self.rows, dtype=torch.long)
        for row, trace in enumerate(self._of):
            if trace.counts:
                first = trace.first - span.start
                counted[first : first + len(trace.counts), row] = torch.tensor([step[which] for step in trace.counts])
        return counted

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
        return len(self._span)

    @property
    def committed(self) -> Tensor:
        """LongTensor ``[steps, B]``: tokens committed, at least one in each step that a row takes part in."""
        return self._counted(0)

    @property
    def changed(self) -> Tensor:
        """LongTensor ``[steps, B]``: uncommitted drafts that the coupling changed."""
        return self._counted(1)

    @property
    def pending(self) -> Tensor:
        """LongTensor ``[steps, B]``: uncommitted drafts, changed or not."""
        return self._counted(2)

    @property
    def fed(self) -> Tensor:
        """LongTensor ``[steps, B]``: tokens that the forward read, branches included; padding to a longer window of
        another row is not."""
        return self._counted(3)

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
    """What ``on_step`` is told after each forward. It tells of that forward for good, also when read later."""

    number: int
    """Forwards so far."""
    committed: list[int]
    """Generated tokens that stand, for each row of the batch; those given beforehand included."""
    lengths: list[int]
    """Tokens that each row will have."""
    nfe: int
    """Forwards of the row that took most."""
    sequence: Tensor
    """LongTensor ``[B, length]``: committed tokens followed by the drafts, -1 where there is neither; where the session
    computes."""

    @property
    def tokens(self) -> Tensor:
        """LongTensor ``[B, length]`` on the CPU: committed tokens, -1 elsewhere."""
        ends = torch.tensor(self.committed).unsqueeze(1)
        drafted = self.drafts
        return torch.where(torch.arange(drafted.shape[1]) < ends, drafted, -1)

    @property
    def drafts(self) -> Tensor:
        """LongTensor ``[B, length]`` on the CPU: committed tokens followed by the drafts, -1 where there is none."""
        return self.sequence.cpu()
