"""A benchmark from end to end: forwards of every case, then seconds of all in turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Any

from coupled_decoding.evaluation.bench import rounds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Row, Unchanged, rows_of, summary
from coupled_decoding.evaluation.bench.generate import Generate
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import Figures, Seconds, figures_of
from coupled_decoding.evaluation.bench.work import Work, batches


def count(work: Work, case: Case) -> dict[str, float]:
    """What :func:`coupled_decoding.evaluation.bench.counts.summary` says of all items of a case that keeps traces."""
    traces = [work.ready(case, items)() for items in batches(work, case)]
    return summary(rows_of([trace for trace in traces if trace is not None]), work.length)


def draws(work: Work, cases: Sequence[Case], repeat: int) -> int:
    """How often ``done`` is called by :func:`run`."""
    return sum(len(batches(work, case)) for case in cases) * (1 + repeat)


def run(
    work: Work,
    cases: Sequence[Case],
    kept: Kept,
    of: Mapping[str, Any],
    repeat: int,
    done: Callable[[], None] = lambda: None,
) -> list[Figures]:
    """Measure what is not kept yet.

    Forwards first, once for each case, since they are the same each time; what listens to the steps would spoil
    seconds. Seconds then, with nobody listening, in rounds of all cases with one batch size.

    Args:
        of: what all results depend on: the model, its precision, versions.
        repeat: rounds of seconds; 0 counts forwards only.
        done: called after each draw, also where its result was kept.
    """
    counted: list[list[dict[str, Any]]] = []
    for case in cases:
        counted.append([])
        for items in batches(work, case):
            name = json.dumps({**of, "case": case.described, "items": work.named(items)}, sort_keys=True)
            counted[-1].append(kept.get(name, partial(_count_batch, work, case, items)))
            done()
    seconds = _seconds(work, cases, kept, of, repeat, done) if repeat else {}
    return [figures_of(work, case, counts, seconds.get(case)) for case, counts in zip(cases, counted, strict=True)]


def _count_batch(work: Work, case: Case, items: Sequence[int]) -> dict[str, Any]:
    draw = work.ready(case, items)
    if isinstance(case.decoder, Generate):  # its tokens are one forward each by construction
        return {"rows": [asdict(Row.plain(work.length)) for _ in items], "held": [], "of": []}
    unchanged = Unchanged(work.length)
    trace = draw(on_step=unchanged)
    assert trace is not None
    return {"rows": [asdict(row) for row in rows_of([trace])], "held": unchanged.held.tolist(),
            "of": unchanged.of.tolist()}


def _seconds(
    work: Work, cases: Sequence[Case], kept: Kept, of: Mapping[str, Any], repeat: int, done: Callable[[], None]
) -> dict[Case, Seconds]:
    seconds = {}
    for _, group in groupby(sorted(cases, key=lambda case: case.batch), key=lambda case: case.batch):
        together = list(group)
        measured = rounds.measure(work, together, kept, of, repeat, done)
        for number, case in enumerate(together):
            base = next((i for i, other in enumerate(together) if other.plain and other.pairs_with(case)), None)
            seconds[case] = Seconds.of(measured, number, base)
    return seconds
