"""The committed figures: every table is made again of the results that are kept, without measuring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import coupled_decoding as cd
from benchmarks import drafts, forward, nfe, pages, roofline, seconds, timed, video_nfe, video_seconds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import VERSION
from tests.benchmarks.helpers import FIGURES, committed, kept_of, tables_of


class TestTables:
    def test_forwards(self) -> None:
        page = nfe.report(kept_of("nfe", nfe.cases(64), 100), 256, "")
        assert tables_of(page.rstrip()) == committed("nfe")

    def test_drafts(self) -> None:
        items = {"picture": 100, "clip": 20}
        results = {one: kept_of("drafts", one.cases(), items[one.drawn]) for one in drafts.EXPERIMENTS}
        assert tables_of(drafts.report(results, "").rstrip()) == committed("drafts")

    def test_forwards_of_clips(self) -> None:
        cases = [*dict.fromkeys(video_nfe.cases())]
        measured = kept_of("video_nfe", [Case(*case) for case in cases], 20)
        page = video_nfe.report(dict(zip(cases, measured, strict=True)), "")
        assert tables_of(page.rstrip()) == committed("video_nfe")

    @pytest.mark.parametrize(("name", "bases"), [("seconds", seconds.BASES), ("video_seconds", video_seconds.BASES)])
    def test_seconds(self, name: str, bases: dict[str, str]) -> None:
        """The whole page: the file knows the machine and the weights."""
        page = timed.report(timed.Results.read(FIGURES / f"{name}.json"), bases)
        assert page == (FIGURES / f"{name}.md").read_text()

    def test_what_is_left_of_forwards(self) -> None:
        kept = json.loads((FIGURES / "nfe.json").read_text())["results"]
        clips = json.loads((FIGURES / "video_nfe.json").read_text())["results"]
        weights = {"emoji": json.loads([*kept][-1])["model"], "doom": json.loads([*clips][-1])["model"]}
        page = "\n\n".join([*roofline.bounds(), *roofline.speedups(weights)])
        assert tables_of(page) == committed("roofline")[:-1]

    def test_what_a_step_may_take(self) -> None:
        results = timed.Results.read(FIGURES / "seconds.json")
        assert forward.allowed(results.seconds, results.nfe) == committed("forward")[-1]


def test_every_page_says_on_which_weights_it_was_measured() -> None:
    for path in FIGURES.rglob("*.md"):
        assert "eights: " in path.read_text(), path.name


class TestRoofline:
    def test_acceptance_is_that_of_the_most_pictures(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the published method without guidance, nothing cut; the same window of fewer pictures does not count."""
        monkeypatch.setattr(pages, "FIGURES", tmp_path)
        plain = {**Case(cd.SCD(8), cd.Sampling(), 1.0).described, "model": "x"}
        cases = {3.0: plain | {"pictures": 100}, 9.0: plain | {"pictures": 2}, 4.0: plain | {"window": 16},
                 5.0: plain | {"window": 4, "guidance": 3.0}, 6.0: plain | {"window": 4, "branches": 4},
                 7.0: plain | {"window": 4, "top_p": 0.8}, 8.0: plain | {"window": 4, "method": "SJD"},
                 2.0: plain | {"window": 4, "model": "y"}}
        results = {json.dumps({"pictures": 1, **case}): {"ratio": ratio} for ratio, case in cases.items()}
        (tmp_path / "drafts.json").write_text(json.dumps({"version": VERSION, "results": results}))
        assert roofline.fewer_forwards("x", "nfe", "drafts") == {8: 3.0, 16: 4.0}

    def test_page(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every table whole; the sizes are those that the models' names say."""
        pytest.importorskip("matplotlib")
        assert [round(size.weights / 1e9, 1) for size in roofline.SIZES] == [0.0, 1.0, 6.1, 6.5, 7.1, 3.8]
        kept = json.loads((FIGURES / "nfe.json").read_text())
        model = json.loads([*kept["results"]][-1])["model"]
        (tmp_path / "nfe.json").write_text(json.dumps(kept))
        monkeypatch.setattr(pages, "weights_of", lambda *models: dict.fromkeys(models, model))
        monkeypatch.setattr(pages, "FIGURES", tmp_path)
        monkeypatch.setattr(pages, "IMAGES", tmp_path)
        monkeypatch.setattr(roofline, "bandwidth", lambda repeat: 1e9)
        monkeypatch.setattr(roofline, "peak", lambda repeat: 1e10)
        roofline.main(["--layers", "1", "--most", "2", "--repeat", "1"])
        tables = [block.splitlines() for block in tables_of((tmp_path / "roofline.md").read_text())]
        rows = len(roofline.SIZES) * len(roofline.DEVICES)
        assert [len(table) - 2 for table in tables] == [rows, rows, 4]
        assert all(len({line.count("|") for line in table}) == 1 for table in tables)
        assert (tmp_path / "roofline.png").stat().st_size > 1000


def test_this_machine_moves_and_computes() -> None:
    assert roofline.bandwidth(1, numbers=2**16) > 0
    assert roofline.peak(1, width=32) > 0


class TestForward:
    def test_parts_take_time(self) -> None:
        assert forward.attention(2, repeat=1) > 0
        assert forward.products(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3)), 2, repeat=1) > 0

    def test_what_a_step_may_take(self) -> None:
        """A method in half as many steps may take twice as long for each."""
        seconds = {forward.GENERATE: [3.0, 3.0], "ours": [2.0, 1.0]}
        *_, plain, ours = forward.allowed(seconds, {forward.GENERATE: [100, 100], "ours": [40, 60]}).splitlines()
        assert plain == f"| {forward.GENERATE} | 100.0 | 30.0 | 10.0 |"
        assert ours == "| ours | 50.0 | 30.0 | 20.0 |"
