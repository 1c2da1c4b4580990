"""Seconds of several cases in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.seconds import Timed, Timings
from coupled_decoding.evaluation.bench.work import Work, batches


def measure(
    work: Work,
    cases: Sequence[Case],
    kept: Kept,
    of: Mapping[str, Any],
    repeat: int = 1,
    done: Callable[[], None] = lambda: None,
) -> list[Timings]:
    """Every case on every batch of items, batch by batch, so that a drift of the machine's speed hits all cases alike.

    A round of all cases on one batch is kept whole. ``of`` says what the figures are of; the cases and the machine
    count besides, so that what was measured elsewhere, or beside other cases, is not mixed in.

    Args:
        cases: all with one batch size.
        repeat: rounds of each batch; all batches once, then all again.
        done: called after each case of a round, also where it was kept.

    Returns:
        What each case took.
    """
    parts = batches(work, cases[0])
    names = fingerprint.of_text(json.dumps([case.name for case in cases]))
    rounds: list[list[list[Timed]]] = [[] for _ in parts]
    warm: set[str] = set()

    def make(items: Sequence[int]) -> list[Timed]:
        for case in cases:
            if case.name not in warm:
                work.warm_up(case)
                warm.add(case.name)
        return [_timed(work, case, items) for case in cases]

    for repetition in range(repeat):
        for of_batch, items in zip(rounds, parts, strict=True):
            name = {**of, **work.described(items), "repetition": repetition, "cases": names, "machine": in_words()}
            of_batch.append(kept.get(json.dumps(name, sort_keys=True), _read, partial(make, items)))
            for _ in cases:
                done()
    return [Timings([[of_round[case] for of_round in of_batch] for of_batch in rounds]) for case in range(len(cases))]


def _read(kept: Sequence[Mapping[str, Any]]) -> list[Timed]:
    return [Timed(**one) for one in kept]


def _timed(work: Work, case: Case, items: Sequence[int]) -> Timed:
    draw = work.ready(case, items)
    started = time.perf_counter()
    trace = draw()
    seconds = time.perf_counter() - started
    if trace is None:
        return Timed(seconds, [work.length] * len(items))
    return Timed(seconds, trace.nfe.tolist(), trace.seconds_outside)
