"""Windows move with what was committed, and give what enters noise, a first guess and its label, once."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coupled_decoding import SCD, Layout, SeedExact
from coupled_decoding.decoding.board import Board
from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.ledger import Counts, Ledger
from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.decoding.step import Outcome
from coupled_decoding.decoding.windows import Windows

CODES, LENGTH, SEEDS = 5, 20, [11, 12, 13]
LAYOUT = Layout.grid(4, 4, CODES, row_end=9)


class Bench:
    """Three rows and all that makes their windows."""

    def __init__(self, method: SCD | SeedExact, rows: list[int]) -> None:
        self.board = Board(BatchLayout(LAYOUT, 3, torch.device("cpu")), 10, 8)
        self.ledger = Ledger(3)
        self.windows = Windows(self.board, self.ledger, method.rules(), None)
        self.open(rows)

    def open(self, rows: list[int]) -> None:
        self.board.open(rows, torch.zeros(len(rows), dtype=torch.long), [LAYOUT] * len(rows), [LENGTH] * len(rows))
        self.windows.seed(rows, [SEEDS[row] for row in rows])
        self.ledger.restart(rows, [LENGTH] * len(rows), [0] * len(rows))

    def commit(self, window: Window, committed: list[int]) -> Outcome:
        """What a step comes to that commits so many tokens, and whose drafts all stay."""
        nothing = [0] * len(committed)
        self.ledger.advance(Counts(committed, nothing, nothing, nothing, nothing))
        accepted = torch.tensor(committed) - 1
        labels = window.learned.labels if window.learned.labels is not None else window.noise
        return Outcome(window, labels, window.drafts, labels, accepted, accepted, window.size, 0.0)

    def check(self, window: Window) -> None:
        """Every position has its own noise, and as its draft what that draws from its label."""
        for number, row in enumerate(window.rows.tolist()):
            for offset in range(int(window.size[number])):
                index = self.ledger.start[row] + offset
                assert int(window.index[number, offset]) == index
                noise = exponentials(torch.tensor([SEEDS[row]]), torch.tensor([index]), torch.arange(CODES))[0]
                assert torch.equal(window.noise[number, offset], noise)
                assert bool(window.forced[number, offset]) == (LAYOUT.forced[index] >= 0)
                if window.learned.labels is not None:
                    torch.testing.assert_close(window.labels[number, offset], torch.full((CODES,), 1 / CODES).double())
                if not window.forced[number, offset]:
                    assert int(window.drafts[number, offset]) == int(noise.argmin())


@given(data=st.data(), method=st.sampled_from([SCD(), SeedExact()]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_windows_of_any_width_slide_by_any_commits(data: st.DataObject, method: SCD | SeedExact) -> None:
    """Rows end and begin again on the way, others join."""
    bench = Bench(method, data.draw(st.sampled_from([[0], [0, 1], [0, 1, 2], [2]])))
    window = bench.windows.open(data.draw(st.integers(1, 8)))
    for _ in range(8):
        if window is None:
            assert bench.ledger.running == []
            return
        bench.check(window)
        sizes = window.size.tolist()
        outcome = bench.commit(window, [data.draw(st.integers(1, size)) for size in sizes])
        idle = [row for row in range(3) if row not in bench.ledger.running]
        if idle and data.draw(st.booleans()):
            bench.open([data.draw(st.sampled_from(idle))])
        window = bench.windows.slide(outcome, data.draw(st.integers(1, 8)))


def test_the_rows_are_the_same_tensor_as_long_as_they_are_the_same_rows() -> None:
    """Sessions compare them by identity; a row that begins again is the same row."""
    bench = Bench(SCD(), [0, 1])
    first = bench.windows.open(4)
    assert first is not None
    second = bench.windows.slide(bench.commit(first, [4, 1]), 4)
    assert second is not None
    assert second.rows is first.rows
    bench.ledger.end(0, 4)
    bench.open([0])
    third = bench.windows.slide(bench.commit(second, [1, 1]), 4)
    assert third is not None
    assert third.rows is first.rows
    bench.ledger.end(1, 2)
    fourth = bench.windows.slide(bench.commit(third, [1, 1]), 4)
    assert fourth is not None
    assert fourth.rows.tolist() == [0]


def test_nothing_is_kept_that_no_rule_asks_for() -> None:
    for method, labels, averages in (
        (SCD(), True, False), (SeedExact(), False, False), (SeedExact(predict=True), False, True),
        (SeedExact(branches=2), True, False),
    ):
        window = Bench(method, [0]).windows.open(4)
        assert window is not None
        assert (window.learned.labels is not None, window.learned.averages is not None) == (labels, averages)
