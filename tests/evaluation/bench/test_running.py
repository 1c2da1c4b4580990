"""A benchmark from end to end on scripted work: the order, what is kept, what is measured again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import coupled_decoding as cd
from coupled_decoding.evaluation.bench import rounds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Drawn, Summary, Unchanged, accepted, committed_per_step, drawn_of
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import as_csv
from coupled_decoding.evaluation.bench.running import draws, run
from coupled_decoding.evaluation.bench.work import batches
from tests.evaluation.bench.helpers import ScriptedWork

AR, TWO, FOUR = (Case(method, cd.Sampling()) for method in (cd.AR(), cd.SCD(2), cd.SCD(4)))
OF = {"model": "x"}


class TestRounds:
    def test_cases_take_turns(self, tmp_path: Path) -> None:
        """Each case warmed up once; then all on one batch of items, batch by batch, and all of it again."""
        work = ScriptedWork(2)
        measured = rounds.measure(work, [AR, TWO], Kept(tmp_path / "runs.json"), OF, repeat=2)
        turn = ["AR", "SCD-gumbel, window 2"]
        assert work.calls == [
            *((f"warm {title}", 0) for title in turn),
            *((title, item) for _ in range(2) for item in range(2) for title in turn),
        ]
        assert [[len(of_batch) for of_batch in timings.batches] for timings in measured] == [[2, 2], [2, 2]]
        assert [timings.batches[0][0].nfe for timings in measured] == [[6], [4]]
        assert all(one.seconds > 0 for timings in measured for of_batch in timings.batches for one in of_batch)

    def test_a_round_that_was_cut_off_is_measured_as_a_whole(self, tmp_path: Path) -> None:
        work, path = ScriptedWork(2), tmp_path / "runs.json"
        work.stops = lambda case, items: case is TWO and items[0] == 1
        with pytest.raises(KeyboardInterrupt):
            rounds.measure(work, [AR, TWO], Kept(path), OF)
        work.stops = lambda case, items: False
        work.calls.clear()
        rounds.measure(work, [AR, TWO], Kept(path), OF)
        assert [call for call in work.calls if "warm" not in call[0]] == [("AR", 1), ("SCD-gumbel, window 2", 1)]
        work.calls.clear()
        rounds.measure(work, [AR, TWO], Kept(path), OF)
        assert work.calls == []

    @pytest.mark.parametrize(("cases", "of"), [([AR, FOUR], OF), ([AR, TWO], {"model": "y"})])
    def test_other_rounds_do_not_count(self, tmp_path: Path, cases: list[Case], of: dict[str, str]) -> None:
        """Seconds compare with those of the same cases only, of the same model."""
        work = ScriptedWork(1)
        rounds.measure(work, [AR, TWO], Kept(tmp_path / "runs.json"), OF)
        work.calls.clear()
        rounds.measure(work, cases, Kept(tmp_path / "runs.json"), of)
        assert len(work.calls) == 4


class TestRun:
    CASES = (AR, TWO, Case(cd.AR(), cd.Sampling(), batch=2))

    @pytest.mark.parametrize("done", [0, 4, 7])
    def test_a_run_that_was_cut_off_goes_on(self, tmp_path: Path, done: int) -> None:
        """After any number of draws the rest of them gives the same figures, and a finished run draws nothing again."""
        whole = run(ScriptedWork(3), self.CASES, Kept(tmp_path / "whole.json"), OF, repeat=0)
        path, cut = tmp_path / "cut.json", ScriptedWork(3)
        cut.stops = lambda case, items: len(cut.calls) == done
        with pytest.raises(KeyboardInterrupt):
            run(cut, self.CASES, Kept(path), OF, repeat=0)
        rest = ScriptedWork(3)
        assert as_csv(run(rest, self.CASES, Kept(path), OF, repeat=0)) == as_csv(whole)
        assert len(rest.calls) == draws(rest, self.CASES, 0) - done
        timed = as_csv(run(rest, self.CASES, Kept(path), OF, repeat=1))
        finished = ScriptedWork(3)
        assert as_csv(run(finished, self.CASES, Kept(path), OF, repeat=1)) == timed
        assert finished.calls == []

    def test_forwards_of_before_are_not_counted_again(self, tmp_path: Path) -> None:
        """With a further case, its own forwards are counted, and the seconds of all are taken."""
        work, kept = ScriptedWork(1), Kept(tmp_path / "runs.json")
        run(work, [AR, TWO], kept, OF, repeat=1)
        work.calls.clear()
        run(work, [AR, TWO, FOUR], kept, OF, repeat=1)
        assert [title for title, _ in work.calls if "listened" in title] == ["SCD-gumbel, window 4, listened to"]
        assert len(work.calls) == 1 + 3 + 3

    def test_every_draw_is_told(self, tmp_path: Path) -> None:
        for _ in range(2):
            told: list[int] = []
            work = ScriptedWork(3)
            run(work, self.CASES, Kept(tmp_path / "runs.json"), OF, repeat=2, done=lambda told=told: told.append(1))
            assert len(told) == draws(work, self.CASES, 2) == (3 + 3 + 2) * 3

    def test_each_batch_size_has_its_own_base(self, tmp_path: Path) -> None:
        cases = [TWO, *self.CASES[::2]]
        figures = run(ScriptedWork(3), cases, Kept(tmp_path / "runs.json"), OF, repeat=1)
        assert [one.items for one in figures] == [3, 3, 3]
        assert figures[1].flat["times_faster"] == figures[2].flat["times_faster"] == 1
        assert figures[0].flat["times_faster"] > 0
        alone = run(ScriptedWork(3), [TWO], Kept(tmp_path / "runs.json"), OF, repeat=1)
        assert alone[0].flat["times_faster"] is None
        assert alone[0].flat["seconds"] > 0


def test_batches_cover_all_items() -> None:
    assert batches(ScriptedWork(5), Case(cd.AR(), cd.Sampling(), batch=2)) == [range(2), range(2, 4), range(4, 5)]


class TestCounts:
    """Of two items by hand: [3, 1, 2] and [1, 1, 1, 1, 1, 1] tokens committed."""

    ROWS = (Drawn([3, 1, 2], 12, 1.5, 2), Drawn.plain(6))

    def test_means(self) -> None:
        assert asdict(Summary.of(self.ROWS, 6)) == pytest.approx({
            "nfe": 4.5, "nfe_error": 1.5, "ratio": 6 / 4.5, "single": 7 / 9, "changed": 0.75, "fed": 9,
        })
        assert Summary.of(self.ROWS[:1], 6).nfe_error == 0

    def test_accepted_drafts_come_before_one_more_token(self) -> None:
        assert accepted(self.ROWS, 6) == [0.5, 0.5, 0, 0, 0.5, 0]

    def test_histogram(self) -> None:
        assert committed_per_step(self.ROWS) == {1: 7, 2: 1, 3: 1}

    def test_rows_of_a_trace(self) -> None:
        """A row that is finished earlier takes part in fewer forwards."""
        trace = cd.Trace(2)
        trace.record([0, 1], [2, 1], [1, 2], [4, 4], [5, 5])
        trace.record([1], [1], [0], [0], [3])
        assert drawn_of([trace]) == [Drawn([2], 5, 0.25, 1), Drawn([1, 1], 8, 0.5, 1)]

    def test_unchanged_drafts_by_place(self) -> None:
        """Two given tokens, then four places: drafts count where they stood open before and after a step."""
        def step(number: int, committed: int, drafts: list[int]) -> cd.Step:
            return cd.Step(number, [committed], [6], number, torch.tensor([drafts]))

        unchanged = Unchanged(4)
        unchanged(step(1, 3, [7, 7, 1, 2, 3, -1]))
        unchanged(step(2, 4, [7, 7, 1, 2, 4, 5]))
        unchanged(step(3, 5, [7, 7, 1, 2, 4, 5]))
        unchanged(step(1, 3, [7, 7, 1, 9, 9, 9]))  # another draw: nothing stood before it
        assert unchanged.of.tolist() == [0, 0, 1, 1]
        assert unchanged.held.tolist() == [0, 0, 0, 1]
