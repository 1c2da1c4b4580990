"""Seconds of several methods in turn, and how many times faster each is than another."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from benchmarks.kept import Kept
from benchmarks.machine import in_words
from coupled_decoding.evaluation.statistics import median_interval

Item = TypeVar("Item")
Runners = Mapping[str, Callable[[Item, int], int]]
"""Name -> a function that decodes one item with a seed, and returns its NFE."""
Measured = dict[str, dict[str, list[float]]]
"""``seconds`` and ``nfe``, each by runner and then by item."""


def measure(runners: Runners[Item], items: Sequence[Item], kept: Kept, of: Mapping[str, str | int]) -> Measured:
    """Every runner on every item, item by item, so that a drift of the machine's speed hits all runners alike.

    A round of all runners on one item is kept whole. ``of`` says what the figures are of; runners and machine count
    besides, so that what was measured elsewhere is not mixed in.
    """
    rounds = []
    for i, item in enumerate(tqdm(items)):
        case = {**of, "runners": [*runners], "machine": in_words(), "item": i}
        rounds.append(kept.get(json.dumps(case, sort_keys=True), partial(_round, runners, item, i)))
    return {
        "seconds": {name: [one[name][0] for one in rounds] for name in runners},
        "nfe": {name: [one[name][1] for one in rounds] for name in runners},
    }


def _round(runners: Runners[Item], item: Item, seed: int) -> dict[str, tuple[float, int]]:
    out = {}
    for name, run in runners.items():
        started = time.perf_counter()
        forwards = run(item, seed)
        out[name] = time.perf_counter() - started, forwards
    return out


def report(measured: Measured, what: str, bases: Mapping[str, str]) -> str:
    """A table in Markdown.

    Args:
        what: one item in words, such as ``"picture"``.
        bases: in words, and the runner of that name: what the others are compared with.
    """
    seconds = measured["seconds"]
    count = len(next(iter(seconds.values())))
    share = median_interval(range(count))[2]
    lines = [
        f"{count} {what}s, one at a time. {in_words()}. Intervals hold the median of all such {what}s with probability "
        f"{share:.0%}.",
        "",
        f"| method | NFE | seconds a {what} (median) | "
        + "".join(f"times faster than {base} (median, interval) | " for base in bases).strip(),
        "| --- " * (3 + len(bases)) + "|",
    ]
    for name, own in seconds.items():
        cells = [name, f"{statistics.mean(measured['nfe'][name]):.1f}", f"{statistics.median(own):.2f}"]
        for base in bases.values():
            ratios = [a / b for a, b in zip(seconds[base], own, strict=True)]
            low, high, _ = median_interval(ratios)
            cells.append(f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
