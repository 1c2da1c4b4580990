"""Where rows start, stand and end."""

from __future__ import annotations

from coupled_decoding.decoding.ledger import Counts, Ledger


def counts(committed: list[int], broken: list[int]) -> Counts:
    nothing = [0] * len(committed)
    return Counts(committed, nothing, nothing, broken, nothing)


def test_rows_are_idle_until_they_begin_and_after_they_have_ended() -> None:
    ledger = Ledger(3)
    assert ledger.running == []
    ledger.restart([0, 2], [5, 2], [0, 1])
    assert ledger.running == [0, 2]
    ledger.active = ledger.running
    assert ledger.advance(counts([3, 1], [0, 0])) == []
    assert (ledger.start, ledger.running, ledger.nfe) == ([3, 0, 2], [0], [1, 0, 1])
    ledger.end(0, 3)
    assert ledger.running == []


def test_a_row_that_fills_its_length_with_what_is_known_does_not_run() -> None:
    ledger = Ledger(1)
    ledger.restart([0], [4], [4])
    assert ledger.running == []


def test_a_broken_row_ends_where_it_stood() -> None:
    """What it would have committed is garbage; its neighbour moves on."""
    ledger = Ledger(2)
    ledger.restart([0, 1], [9, 9], [0, 2])
    ledger.active = ledger.running
    assert ledger.advance(counts([4, 4], [0, 7])) == [1]
    assert (ledger.start, ledger.lengths, ledger.running) == ([4, 2], [9, 2], [0])


def test_a_row_begins_again_from_nothing() -> None:
    ledger = Ledger(1)
    ledger.restart([0], [3], [0])
    ledger.active, ledger.entered = [0], [3]
    ledger.advance(counts([3], [0]))
    ledger.restart([0], [7], [0])
    assert (ledger.start, ledger.lengths, ledger.nfe, ledger.entered) == ([0], [7], [0], [0])
