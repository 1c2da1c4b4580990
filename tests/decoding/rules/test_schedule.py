"""Turns that are fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coupled_decoding import Layout
from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.rules.schedule import Schedule


def pairs(layout: BatchLayout, start: Sequence[int]) -> Tensor:
    """Two positions per turn, from where each row stands."""
    index = torch.arange(layout.forced.shape[1]).expand(len(start), -1) - torch.tensor(start).unsqueeze(1)
    return torch.where(index < 0, -1, index // 2)


def test_a_window_ends_with_the_last_position_whose_turn_has_come() -> None:
    layout, schedule = BatchLayout.stack([Layout.free(5, 3)] * 2, [5, 5], torch.device("cpu")), Schedule(pairs)
    schedule.begin(layout, [0, 1], [0, 2])
    assert [schedule.end(0, visit) for visit in range(4)] == [2, 4, 5, 5]
    assert [schedule.end(1, visit) for visit in range(3)] == [4, 5, 5]
    turns = schedule.turn_at(torch.tensor([1, 0]), torch.tensor([[2, 4], [0, 9]]))
    assert turns.tolist() == [[0, 1], [0, 2]]  # past the end: the last


def test_a_row_is_planned_anew_and_longer_rows_make_room() -> None:
    layout, schedule = BatchLayout.stack([Layout.free(3, 3)] * 2, [3, 3], torch.device("cpu")), Schedule(pairs)
    schedule.begin(layout, [0, 1], [0, 0])
    layout.put([1], [Layout.free(6, 3)], [6])
    schedule.begin(layout, [1], [0])
    assert [schedule.end(1, visit) for visit in range(3)] == [2, 4, 6]
    assert [schedule.end(0, visit) for visit in range(2)] == [2, 3]
    assert schedule.turn_at(torch.tensor([1, 0]), torch.tensor([[5], [2]])).tolist() == [[2], [1]]


def test_nothing_left_to_decide() -> None:
    """What is decided already is within reach at once."""
    layout, schedule = BatchLayout.stack([Layout.free(2, 3)], [2], torch.device("cpu")), Schedule(pairs)
    schedule.begin(layout, [0], [2])
    assert schedule.end(0, 0) == 2
