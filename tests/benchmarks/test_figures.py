"""Kept figures of the documents: their names are still those that the scripts look for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import forward, nfe, roofline, video_nfe

FIGURES = Path(__file__).parents[2] / "docs/figures"
OF = ("clips", "clips_of", "model")
"""What a name says besides the case."""


def test_names_of_forwards() -> None:
    kept = json.loads((FIGURES / "nfe.json").read_text())
    assert {*kept} == {nfe.key(method, scale) for method, scale in nfe.cases(64)}


def test_names_of_forwards_of_clips() -> None:
    known = {video_nfe.name_of(case, {}) for case in video_nfe.cases()}
    for name in json.loads((FIGURES / "video_nfe.json").read_text()):
        case = {key: value for key, value in json.loads(name).items() if key not in OF}
        assert json.dumps(case, sort_keys=True) in known


class TestRoofline:
    def test_acceptance_is_that_of_the_most_pictures(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the published method without guidance, nothing cut; the same window of fewer pictures does not count."""
        monkeypatch.setattr(roofline, "FIGURES", tmp_path)
        plain = {"method": "SCD-gumbel", "window": 8, "first_guess": "uniform"}
        cases = {3.0: plain | {"pictures": 100}, 9.0: plain | {"pictures": 2}, 4.0: plain | {"window": 16},
                 5.0: plain | {"window": 4, "guidance": 3.0}, 6.0: plain | {"window": 4, "branches": 4},
                 7.0: plain | {"window": 4, "top_p": 0.8}, 8.0: plain | {"window": 4, "method": "SJD"}}
        (tmp_path / "drafts.json").write_text(json.dumps(
            {json.dumps(case): {"ratio": ratio} for ratio, case in cases.items()}))
        assert roofline.fewer_forwards("nfe", "drafts") == {8: 3.0, 16: 4.0}

    def test_page(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every table whole; the sizes are those that the models' names say."""
        pytest.importorskip("matplotlib")
        assert [round(size.weights / 1e9, 1) for size in roofline.SIZES] == [0.0, 1.0, 6.1, 6.5, 7.1, 3.8]
        (tmp_path / "nfe.json").write_text((FIGURES / "nfe.json").read_text())
        monkeypatch.setattr(roofline, "FIGURES", tmp_path)
        monkeypatch.setattr(roofline, "IMAGES", tmp_path)
        monkeypatch.setattr(roofline, "bandwidth", lambda repeat: 1e9)
        monkeypatch.setattr(roofline, "peak", lambda repeat: 1e10)
        roofline.main(["--layers", "1", "--most", "2", "--repeat", "1"])
        tables = [block.splitlines() for block in (tmp_path / "roofline.md").read_text().split("\n\n")
                  if block.startswith("|")]
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
        *_, plain, ours = forward.allowed(seconds, {forward.GENERATE: [100, 100], "ours": [40, 60]})
        assert plain == f"| {forward.GENERATE} | 100.0 | 30.0 | 10.0 |"
        assert ours == "| ours | 50.0 | 30.0 | 20.0 |"
