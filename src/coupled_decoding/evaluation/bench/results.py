"""What was measured of each case, and the files it is written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Curves, Summary
from coupled_decoding.evaluation.bench.seconds import Median, Timings


@dataclass(frozen=True)
class Measured:
    """All that was measured of one case."""

    case: Case
    items: int
    counts: Summary
    curves: Curves | None = None
    """None where means only were kept."""
    timings: Timings | None = None
    """None where forwards only were counted."""
    base: Timings | None = None
    """Of AR in the same rounds; None where it was not measured."""

    @property
    def times_faster(self) -> Median | None:
        """Than AR in the same round; None where one of the two was not timed."""
        return None if self.timings is None or self.base is None else self.timings.times_faster(self.base)

    @property
    def flat(self) -> dict[str, Any]:
        """A line of a table: the case, and one number per column."""
        seconds = self.timings.seconds if self.timings else None
        return {
            **self.case.options, "items": self.items, **asdict(self.counts),
            **_columns("seconds", seconds),
            **_columns("times_faster", self.times_faster),
            "interval": seconds.probability if seconds else None,
            "outside": self.timings.outside if self.timings else None,
        }


def _columns(name: str, median: Median | None) -> dict[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    return dict.fromkeys(names) if median is None else dict(
        zip(names, (median.value, median.low, median.high), strict=True))


def varying(measured: Sequence[Measured]) -> list[str]:
    """The options that are not the same in all cases that have them, after the method's name."""
    values: dict[str, set[Any]] = {}
    for one in measured:
        for name, value in one.case.options.items():
            values.setdefault(name, set()).update([] if value is None else [value])
    return [name for name, of_cases in values.items() if name == "method" or len(of_cases) > 1]


def as_csv(measured: Sequence[Measured]) -> str:
    """A line per case; an empty field where there is no number."""
    lines = [one.flat for one in measured]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(circumstances: Mapping[str, Any], measured: Sequence[Measured]) -> str:
    """The same and the curves, under what they were measured with."""
    cases = [{**one.flat, **(asdict(one.curves) if one.curves else {})} for one in measured]
    return json.dumps({**circumstances, "cases": cases}, indent=1) + "\n"
