"""The engine of every benchmark: forwards of every case, then seconds of all in turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from coupled_decoding.evaluation.bench import rounds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Counted, Curves, Drawn, Summary, Unchanged, drawn_of
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import Measured
from coupled_decoding.evaluation.bench.seconds import Timings
from coupled_decoding.evaluation.bench.transformers_generate import Generate
from coupled_decoding.evaluation.bench.work import Work, batches


def summarise(work: Work, case: Case) -> Summary:
    """Draw all items of a case that keeps traces, and count."""
    traces = [work.ready(case, items)() for items in batches(work, case)]
    return Summary.of(drawn_of([trace for trace in traces if trace is not None]), work.length)


def count(work: Work, case: Case, kept: Kept, of: Mapping[str, Any]) -> Measured:
    """The means of a case, kept as one result: what a table of the documents is made of.

    Args:
        of: what all results depend on besides the work and the case: the model.
    """
    name = name_of(case, {**of, **work.described(range(len(work)))})
    return Measured(case, len(work), kept.get(name, Summary.read, partial(summarise, work, case)))


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
) -> list[Measured]:
    """Measure what is not kept yet, batch by batch, with all that plots are drawn from.

    Forwards first, once for each case, since they are the same each time; what listens to the steps would spoil
    seconds. Seconds then, with nobody listening, in rounds of all cases with one batch size.

    Args:
        of: what all results depend on: the model, its precision, versions.
        repeat: rounds of seconds; 0 counts forwards only.
        done: called after each draw, also where its result was kept.
    """
    counted: list[list[Counted]] = []
    for case in cases:
        counted.append([])
        for items in batches(work, case):
            name = name_of(case, {**of, **work.described(items), "batch": case.batch})
            counted[-1].append(kept.get(name, Counted.read, partial(_count_batch, work, case, items)))
            done()
    timings = _timings(work, cases, kept, of, repeat, done) if repeat else {}
    return [_measured(work, case, batch_counts, timings)
            for case, batch_counts in zip(cases, counted, strict=True)]


def name_of(case: Case, of: Mapping[str, Any]) -> str:
    """What a result of this case is kept under; ``of`` is all else that it depends on."""
    return json.dumps({**of, **case.described}, sort_keys=True)


def _measured(work: Work, case: Case, counted: Sequence[Counted], timings: Mapping[Case, Timings]) -> Measured:
    rows = [row for one in counted for row in one.rows]
    base = next((timings[other] for other in timings if other.plain and other.pairs_with(case)), None)
    return Measured(case, len(rows), Summary.of(rows, work.length), Curves.of(counted, work.length),
                    timings.get(case), base)


def _count_batch(work: Work, case: Case, items: Sequence[int]) -> Counted:
    draw = work.ready(case, items)
    if isinstance(case.decoder, Generate):  # its tokens are one forward each by construction
        return Counted([Drawn.plain(work.length) for _ in items], [], [])
    unchanged = Unchanged(work.length)
    trace = draw(on_step=unchanged)
    assert trace is not None
    return Counted(drawn_of([trace]), unchanged.held.tolist(), unchanged.of.tolist())


def _timings(
    work: Work, cases: Sequence[Case], kept: Kept, of: Mapping[str, Any], repeat: int, done: Callable[[], None]
) -> dict[Case, Timings]:
    timings: dict[Case, Timings] = {}
    for _, group in groupby(sorted(cases, key=lambda case: case.batch), key=lambda case: case.batch):
        together = list(group)
        timings.update(zip(together, rounds.measure(work, together, kept, of, repeat, done), strict=True))
    return timings
