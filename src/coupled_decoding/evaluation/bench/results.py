"""The figures of each case, and the files they are written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Row, accepted, committed_a_step, summary
from coupled_decoding.evaluation.bench.rounds import Round
from coupled_decoding.evaluation.bench.seconds import Median, seconds_of, share_outside, times_faster
from coupled_decoding.evaluation.bench.work import Work


@dataclass(frozen=True)
class Seconds:
    """Of one case among those that were measured in turn with it."""

    seconds: Median
    """An item."""
    times_faster: Median | None
    """Than AR in the same round; None where AR was not measured."""
    outside: float | None
    """The share that the method took outside the model."""

    @classmethod
    def of(cls, rounds: Sequence[Sequence[Round]], case: int, base: int | None) -> Seconds:
        faster = None if base is None else times_faster(rounds, case, base)
        return cls(seconds_of(rounds, case), faster, share_outside(rounds, case))


@dataclass(frozen=True)
class Figures:
    """All that was measured of one case."""

    case: Case
    items: int
    counts: Mapping[str, float]
    """What :func:`coupled_decoding.evaluation.bench.counts.summary` gives."""
    seconds: Seconds | None
    """None where forwards only were counted."""
    accepted: Sequence[float]
    """By place: the share of items whose token there was a draft that passed."""
    unchanged: Sequence[float | None]
    """By place: the share of forwards that drew its draft again and left it as it was; None where none did."""
    committed: Mapping[int, int]
    """How many forwards committed so many tokens."""

    @property
    def flat(self) -> dict[str, Any]:
        """A line of a table: the case, and one number a column."""
        timed = self.seconds
        return {
            **self.case.options, "items": self.items, **self.counts,
            **_columns("seconds", timed.seconds if timed else None),
            **_columns("times_faster", timed.times_faster if timed else None),
            "interval": timed.seconds.probability if timed else None,
            "outside": timed.outside if timed else None,
        }


def _columns(name: str, median: Median | None) -> dict[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    return dict.fromkeys(names) if median is None else dict(
        zip(names, (median.value, median.low, median.high), strict=True))


def figures_of(work: Work, case: Case, counts: Sequence[Mapping[str, Any]], seconds: Seconds | None) -> Figures:
    """Of what was counted of each batch."""
    rows = [Row(**row) for one in counts for row in one["rows"]]
    held, of = ([sum(places) for places in zip(*(one[name] for one in counts), strict=True)] for name in ("held", "of"))
    return Figures(
        case=case,
        items=len(rows),
        counts=summary(rows, work.length),
        seconds=seconds,
        accepted=accepted(rows, work.length),
        unchanged=[one / all_of if all_of else None for one, all_of in zip(held, of, strict=True)],
        committed=committed_a_step(rows),
    )


def varying(figures: Sequence[Figures]) -> list[str]:
    """The options that are not the same in all cases that have them, after the method's name."""
    values: dict[str, set[Any]] = {}
    for one in figures:
        for name, value in one.case.options.items():
            values.setdefault(name, set()).update([] if value is None else [value])
    return [name for name, of_cases in values.items() if name == "method" or len(of_cases) > 1]


def as_csv(figures: Sequence[Figures]) -> str:
    """A line a case; an empty field where there is no number."""
    lines = [one.flat for one in figures]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(circumstances: Mapping[str, Any], figures: Sequence[Figures]) -> str:
    """The same and the curves, under what they were measured with."""
    cases = [{**one.flat, "accepted": one.accepted, "unchanged": one.unchanged, "committed": one.committed}
             for one in figures]
    return json.dumps({**circumstances, "cases": cases}, indent=1) + "\n"
