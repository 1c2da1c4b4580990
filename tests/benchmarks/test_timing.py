"""Seconds of methods in turn: the order, rounds that are kept, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kept import Kept
from benchmarks.timing import measure, report


def test_methods_take_turns_and_whole_rounds_are_kept(tmp_path: Path) -> None:
    """Item by item; a round that was cut off is measured anew as a whole, one that is there is not."""
    calls: list[tuple[str, str, int]] = []

    def runner(name: str, stops: str = "") -> object:
        def run(item: str, seed: int) -> int:
            if item == stops:
                raise KeyboardInterrupt
            calls.append((name, item, seed))
            return len(name)

        return run

    path = tmp_path / "seconds.json"
    with pytest.raises(KeyboardInterrupt):
        measure({"AR": runner("AR"), "SJD": runner("SJD", stops="b")}, ["a", "b"], Kept(path), {"model": "x"})  # type: ignore[dict-item]
    assert calls == [("AR", "a", 0), ("SJD", "a", 0), ("AR", "b", 1)]
    calls.clear()
    runners = {"AR": runner("AR"), "SJD": runner("SJD")}
    measured = measure(runners, ["a", "b"], Kept(path), {"model": "x"})  # type: ignore[arg-type]
    assert calls == [("AR", "b", 1), ("SJD", "b", 1)]
    assert measured["nfe"] == {"AR": [2, 2], "SJD": [3, 3]}
    assert all(seconds > 0 for seconds in measured["seconds"]["SJD"])
    calls.clear()
    measure(runners, ["a"], Kept(path), {"model": "y"})  # type: ignore[arg-type]
    assert len(calls) == 2  # another model's rounds do not count


def test_ratios_are_of_each_item_and_their_interval_holds_the_median() -> None:
    """Six items: the median of the six ratios, between the smallest and the largest with 97%."""
    ar = [10.0, 12.0, 20.0, 10.0, 11.0, 9.0]
    ratios = [2.0, 4.0, 3.0, 2.5, 3.5, 1.0]
    fast = [a / ratio for a, ratio in zip(ar, ratios, strict=True)]
    text = report({"seconds": {"AR": ar, "SCD": fast}, "nfe": {"AR": [8.0] * 6, "SCD": [2.0, 3.0] * 3}}, "clip",
                  {"AR": "AR"})
    assert "6 clips, one at a time." in text
    assert "with probability 97%" in text
    assert "| AR | 8.0 | 10.50 | 1.00 (1.00 to 1.00) |" in text
    assert "| SCD | 2.5 | 4.50 | 2.75 (1.00 to 4.00) |" in text
    head, rule = text.splitlines()[2:4]
    assert head.count("|") == rule.count("|") == 5
