"""What is kept of distributions of positions that have left the window."""

from __future__ import annotations

import pytest
import torch

from coupled_decoding.decoding.rules import memory
from coupled_decoding.decoding.rules.memory import Memory

ROWS, INDEX = torch.tensor([0, 1]), torch.tensor([2, 0])
TARGET = torch.tensor([[0.5, 0.0, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]])


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Two codes of each distribution."""
    monkeypatch.setattr(memory, "KEPT", 2)
    made = Memory(2, 3, 4, torch.device("cpu"))
    made.remember(ROWS, INDEX, TARGET)
    return made


def test_the_likeliest_codes_are_kept_with_a_sum_of_one(kept: Memory) -> None:
    codes, shares = kept.at(ROWS, INDEX)
    assert codes.tolist() == [[0, 2], [3, 2]]
    torch.testing.assert_close(shares, torch.tensor([[0.625, 0.375], [4 / 7, 3 / 7]]))
    torch.testing.assert_close(kept.recall(ROWS, INDEX, 4)[0], torch.tensor([0.625, 0, 0.375, 0]))


def test_nothing_is_known_elsewhere(kept: Memory) -> None:
    """Of other positions, of none, of a row that was forgotten."""
    assert not kept.recall(ROWS, torch.tensor([1, -1]), 4).any()
    kept.forget([0])
    assert not kept.recall(ROWS, INDEX, 4)[0].any()
    assert kept.recall(ROWS, INDEX, 4)[1].any()


def test_more_room_changes_nothing(kept: Memory) -> None:
    before = kept.recall(ROWS, INDEX, 4)
    kept.reserve(9)
    assert torch.equal(kept.recall(ROWS, INDEX, 4), before)
    assert not kept.recall(ROWS, torch.tensor([8, 8]), 4).any()
