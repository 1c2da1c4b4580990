"""Tokens by generated index: ids and codes, and the shift by one that only the board knows of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coupled_decoding import Layout
from coupled_decoding.decoding.board import Board
from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.rules.window import Window

CODES = torch.tensor([3, 4, 7])
LAYOUT = Layout.grid(2, 2, CODES, row_end=9)  # codes at 0, 1, 3, 4; forced at 2, 5
ROWS = torch.tensor([0, 1])


def board() -> Board:
    made = Board(BatchLayout(LAYOUT, 2, torch.device("cpu")), 10, 3)
    made.open([0, 1], torch.tensor([1, 4]), [LAYOUT, LAYOUT], [6, 4])
    return made


def window_at(first: int, drafts: Tensor, of: Board) -> Window:
    index = first + torch.arange(drafts.shape[1]).expand(2, -1)
    return Window(
        rows=ROWS, seeds=ROWS, visit=ROWS, index=index, size=torch.tensor([3, 2]),
        forced=of.forced[ROWS.unsqueeze(1), index], drafts=drafts, noise=torch.ones(2, drafts.shape[1], 3),
    )


def test_what_is_before_an_index_and_at_it() -> None:
    """The last prompt token stands before index 0; a place without a token reads as the first code."""
    one = board()
    index = torch.tensor([[0, 1, 3], [0, 1, 3]])
    assert one.before(ROWS, index).tolist() == [[1, 3, 9], [4, 3, 9]]
    assert one.code_before(ROWS, torch.tensor([0, 0])).tolist() == [-1, 1]  # 1 is no code, 4 is the second
    assert one.at(ROWS, torch.tensor([2, 2])).tolist() == [-1, -1]  # forced, and no code
    one.put(ROWS, torch.tensor([1, 1]), torch.tensor([2, 1]), torch.tensor([True, False]))
    assert one.at(ROWS, torch.tensor([1, 1])).tolist() == [2, -1]
    assert one.neighbour(ROWS, torch.tensor([1, -1])).tolist() == [2, -1]
    assert one.codes_in(ROWS)[:, :3].tolist() == [[-1, 2, -1], [-1, -1, -1]]
    assert one.sequence().tolist() == [[-1, 7, 9, -1, -1, 9], [-1, -1, 9, -1, -1, -1]]


def test_forced_tokens_end_with_the_row() -> None:
    assert board().forced.tolist() == [[False, False, True, False, False, True, *[False] * 3],
                                       [False, False, True, *[False] * 6]]


def test_committing_writes_the_token_and_the_drafts_behind_it() -> None:
    """Forced tokens stay, nothing is written past the window, and the counts are those of each row."""
    one = board()
    drafts = torch.tensor([[0, 1, 2], [1, 1, 1]])
    window = window_at(0, drafts, one)
    one.put(ROWS.unsqueeze(1), window.index, drafts, ~window.forced)
    target = torch.full((2, 3, 3), 1 / 3)
    target[1, 1] = torch.nan
    counts = one.commit(window, target, torch.tensor([[2, 2, 2], [2, 2, 2]]), torch.tensor([0, 1]),
                        torch.tensor([1, 0]), torch.tensor([3, 2]))
    assert counts._asdict() == {
        "committed": [1, 2], "changed": [1, 0], "pending": [1, 0], "broken": [0, 1], "read": [3, 2]}
    assert one.sequence()[:, :4].tolist() == [[4, 7, 9, -1], [4, 3, 9, -1]]
    one.drop(0, 1)
    assert one.row(0, 3).tolist() == [4, -1, -1]


def test_a_row_that_begins_again_holds_nothing_of_the_one_before() -> None:
    """Longer ones make room; the other row stays."""
    one, longer = board(), Layout.grid(3, 2, CODES, row_end=9)
    one.give(0, torch.tensor([3, 4, 9]))
    one.give(1, torch.tensor([7]))
    one.open([0], torch.tensor([2]), [longer], [9])
    assert one.sequence().tolist() == [[-1, -1, 9, -1, -1, 9, -1, -1, 9], [7, -1, 9, -1, -1, -1, -1, -1, -1]]
    assert one.before(ROWS, torch.tensor([[0], [0]])).tolist() == [[2], [4]]
    assert one.room == 12


def test_given_tokens_must_be_legal() -> None:
    with pytest.raises(ValueError, match="given token 8 at index 2 of row 1 is not legal there"):
        board().give(1, torch.tensor([3, 3, 8]))
