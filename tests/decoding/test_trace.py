"""Counts per row that read as counts per step."""

from __future__ import annotations

from coupled_decoding.decoding.trace import Trace


def test_rows_that_are_not_in_a_step_count_zero() -> None:
    trace = Trace(3)
    trace.record([0, 2], [2, 1], [1, 0], [3, 2], [4, 4], (1.0, 0.5))
    trace.record([2], [3], [0], [0], [4], (2.0, 0.25))
    assert trace.committed.tolist() == [[2, 0, 1], [0, 0, 3]]
    assert trace.changed.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert trace.pending.tolist() == [[3, 0, 2], [0, 0, 0]]
    assert trace.fed.tolist() == [[4, 0, 4], [0, 0, 4]]
    assert (trace.steps, trace.nfe.tolist()) == (2, [1, 0, 2])
    assert trace.tokens_per_forward.tolist() == [2.0, 0.0, 2.0]
    # a step that two rows share took its time once
    assert (trace.seconds_model, trace.seconds_outside) == (3.0, 0.75)


def test_nothing_happened_yet() -> None:
    trace = Trace(2)
    assert (trace.rows, trace.steps, trace.committed.shape, trace.seconds_model) == (2, 0, (0, 2), 0)


def test_a_part_is_one_row_from_where_it_began() -> None:
    """It follows the row until that begins again, and keeps what it has then."""
    trace = Trace(2)
    trace.record([0], [1], [0], [0], [1], (1.0, 1.0))
    trace.record([0, 1], [1, 5], [0, 2], [0, 3], [1, 6], (1.0, 1.0))
    part = trace.part(1)
    assert (part.rows, part.steps, part.committed.tolist(), part.seconds_model) == (1, 1, [[5]], 1.0)
    trace.record([1], [4], [0], [0], [6])
    assert part.committed.tolist() == [[5], [4]]
    trace.restart(1)
    trace.record([1], [9], [0], [0], [9])
    assert part.committed.tolist() == [[5], [4]]
    assert trace.part(1).committed.tolist() == [[9]]
    assert trace.committed.tolist() == [[1, 0], [1, 0], [0, 0], [0, 9]]
