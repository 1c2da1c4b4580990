"""Work without a model, for tests of benchmarks: what is drawn is written down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.work import Draw, Work

LENGTH = 6
COMMITTED = {1: [1] * LENGTH, 2: [1, 2, 2, 1], 4: [3, 3]}
"""By window: tokens that each forward commits."""


class ScriptedWork(Work):
    """Items of six tokens in a grid of two rows; ``calls`` tells what was drawn, and ``stops`` may raise."""

    drawn = "picture"
    length = LENGTH
    layout = cd.Layout.grid(2, 3, 10)
    pipe = SimpleNamespace(model=SimpleNamespace(backbone=SimpleNamespace(eager=nullcontext)))  # type: ignore[assignment]

    def __init__(self, items: int) -> None:
        self.items = items
        self.calls: list[tuple[str, int]] = []
        self.stops: Callable[[Case, Sequence[int]], bool] = lambda case, items: False

    def __len__(self) -> int:
        return self.items

    def named(self, items: Sequence[int]) -> list[Any]:
        return [*items]

    def warm_up(self, case: Case) -> None:
        self.calls.append((f"warm {case.title}", 0))

    def _ready(self, case: Case, items: Sequence[int]) -> Draw:
        assert isinstance(case.decoder, cd.Method)
        committed = COMMITTED[case.decoder.window]
        everyone = [*range(len(items))]

        def draw(on_step: Any = None) -> cd.Trace:
            if self.stops(case, items):
                raise KeyboardInterrupt
            self.calls.append((case.title + (", listened to" if on_step else ""), items[0]))
            trace = cd.Trace(len(items))
            for count in committed:
                trace.record(everyone, [count for _ in items], [1 for _ in items], [2 for _ in items],
                             [case.decoder.window for _ in items])
            return trace

        return draw
