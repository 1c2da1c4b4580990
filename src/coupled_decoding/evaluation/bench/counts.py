"""What traces come to: counts of each item, means over many, and where in a picture drafts hold."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from coupled_decoding.decoding.trace import Step, Trace


@dataclass(frozen=True)
class Drawn:
    """What drawing one item took."""

    committed: list[int]
    """Tokens committed in each forward."""
    fed: int
    """Tokens that its forwards read."""
    changed: float
    """Shares of its uncommitted drafts that changed in a forward, summed over the forwards that left any."""
    behind: int
    """Forwards that left uncommitted drafts."""

    @classmethod
    def plain(cls, length: int) -> Drawn:
        """An item of one token per forward, with nothing drafted."""
        return cls([1] * length, length, 0.0, 0)

    @property
    def nfe(self) -> int:
        """Forwards of the model."""
        return len(self.committed)


@dataclass(frozen=True)
class Counted:
    """What was counted of some items that were drawn together."""

    rows: list[Drawn]
    """One per item."""
    held: list[int]
    """By place, the last tokens of the sequence: drafts that stood unchanged from one forward to the next,"""
    of: list[int]
    """and all that were drawn again. Both empty where nothing is drafted."""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Counted:
        """From JSON."""
        return cls([Drawn(**row) for row in kept["rows"]], kept["held"], kept["of"])


@dataclass(frozen=True)
class Summary:
    """Means over items."""

    nfe: float
    """Forwards per item,"""
    nfe_error: float
    """and the standard error of this mean; 0 for a single item."""
    ratio: float
    """Forwards of AR, which takes one per token, divided by ``nfe``."""
    single: float
    """Share of forwards that committed one token."""
    changed: float
    """Share of uncommitted drafts that changed in a forward."""
    fed: float | None = None
    """Tokens read per item; None where they were not counted."""

    @classmethod
    def of(cls, rows: Sequence[Drawn], length: int) -> Summary:
        """Of these items, for which AR takes ``length`` forwards each."""
        nfe = [row.nfe for row in rows]
        mean, forwards, behind = statistics.mean(nfe), sum(nfe), sum(row.behind for row in rows)
        return cls(
            nfe=mean,
            nfe_error=statistics.stdev(nfe) / len(nfe) ** 0.5 if len(nfe) > 1 else 0.0,
            ratio=length / mean,
            single=sum(row.committed.count(1) for row in rows) / forwards,
            changed=sum(row.changed for row in rows) / behind if behind else 0.0,
            fed=statistics.mean(row.fed for row in rows),
        )

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Summary:
        """From JSON."""
        return cls(**kept)


@dataclass(frozen=True)
class Curves:
    """What the plots of a case are drawn from."""

    accepted: Sequence[float]
    """By place: the share of items whose token there was a draft that passed."""
    unchanged: Sequence[float | None]
    """By place: the share of forwards that drew its draft again and left it as it was; None where none did."""
    committed: Mapping[int, int]
    """How many forwards committed so many tokens."""

    @classmethod
    def of(cls, counted: Sequence[Counted], length: int) -> Curves:
        """Of all batches of a case, of ``length`` tokens per item."""
        rows = [row for one in counted for row in one.rows]
        held = [sum(places) for places in zip(*(one.held for one in counted), strict=True)]
        drawn_again = [sum(places) for places in zip(*(one.of for one in counted), strict=True)]
        unchanged = [stood / total if total else None for stood, total in zip(held, drawn_again, strict=True)]
        return cls(accepted(rows, length), unchanged, committed_per_step(rows))


def drawn_of(traces: Sequence[Trace]) -> list[Drawn]:
    """One for each row of each trace."""
    rows = []
    for trace in traces:
        committed, pending, fed = trace.committed, trace.pending, trace.fed
        shares = trace.changed.double() / pending.clamp(min=1)
        for row in range(trace.rows):
            counts = committed[:, row]
            rows.append(Drawn(counts[counts > 0].tolist(), int(fed[:, row].sum()), float(shares[:, row].sum()),
                              int((pending[:, row] > 0).sum())))
    return rows


def accepted(rows: Sequence[Drawn], length: int) -> list[float]:
    """At each place of the sequence, the share of items whose token there was a draft that passed.

    A forward commits the drafts that it accepts and one more token, so this follows from what each committed.
    """
    passed = [0] * length
    for row in rows:
        place = 0
        for count in row.committed:
            for accepted_place in range(place, place + count - 1):
                passed[accepted_place] += 1
            place += count
    return [count / len(rows) for count in passed]


def committed_per_step(rows: Sequence[Drawn]) -> dict[int, int]:
    """How many forwards committed 1, 2, ... tokens."""
    return dict(sorted(Counter(count for row in rows for count in row.committed).items()))


class Unchanged:
    """How often the draft of each place stood unchanged from one forward to the next; to be given as ``on_step``.

    What a first guess becomes is not counted: no forward had drawn it.

    Args:
        length: the last places of the sequence, of which counts are kept; those before are given.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.held = torch.zeros(length, dtype=torch.long)
        """LongTensor ``[length]``: drafts that stood."""
        self.of = torch.zeros(length, dtype=torch.long)
        """LongTensor ``[length]``: all that were drawn again."""
        self._before: torch.Tensor | None = None

    def __call__(self, step: Step) -> None:
        drafts = step.drafts
        if self._before is not None and step.number > 1:  # the first step of another draw has nothing before it
            open_places = torch.arange(drafts.shape[1]) >= torch.tensor(step.committed).unsqueeze(1)
            again = open_places & (drafts >= 0) & (self._before >= 0)
            self.of += again.sum(0)[-self.length :]
            self.held += (again & (drafts == self._before)).sum(0)[-self.length :]
        self._before = drafts
