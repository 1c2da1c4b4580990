"""``scd bench``: what it writes, that it goes on, and how it refuses."""

from __future__ import annotations

import csv
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coupled_decoding.apps.cli import app
from coupled_decoding.evaluation.bench import running
from tests.apps.helpers import names

TOKENS = 16
"""Of a picture of the tiny model."""
TABLES = {"runs.json", "results.json", "results.csv", "report.md"}
SMALL = ("--method", "ar", "--method", "scd-gumbel", "--window", 4, "--repeat", 1)


@pytest.fixture
def scd(run: Any, tiny_emoji: Path) -> Any:
    """Runs ``scd bench`` with the tiny model in an empty folder; ``bad=True`` where it must refuse."""
    Path("prompts.txt").write_text("a cat\n\n  a red heart  \n", encoding="utf-8")
    return partial(run, "bench", "--prompts", "prompts.txt", model=tiny_emoji)


def lines_of(folder: str = "bench") -> list[dict[str, str]]:
    with (Path(folder) / "results.csv").open() as file:
        return list(csv.DictReader(file))


class TestPictures:
    def test_files_and_table(self, scd: Any, here: Path) -> None:
        """Everything crossed, transformers' generate beside; every plot there is something for."""
        pytest.importorskip("matplotlib")
        result = scd("--method", "ar", "--method", "sjd", "--method", "seed-exact:predict", "--window", 2, "--window",
                     4, "--guidance", 1, "--guidance", 3, "--branches", 3, "--generate", "--repeat", 1,
                     "-o", "deep/out")
        plots = {f"{name}.png" for name in
                 ("nfe-changed", "trajectory", "places", "guidance", "window", "committed")}
        assert names(here) == {"prompts.txt", "deep", "deep/out", *(f"deep/out/{file}" for file in TABLES | plots)}
        lines = lines_of("deep/out")
        assert len(lines) == 2 * (2 + 1 + 2 + 2)
        assert [line["method"] for line in lines[:3]] == ["generate, dynamic cache", "generate, static cache", "AR"]
        assert all(float(line["nfe"]) == TOKENS for line in lines[:3])
        assert {line["items"] for line in lines} == {"2"}
        assert all(float(line["times_faster"]) > 0 and float(line["seconds"]) > 0 for line in lines)
        *table, report, _csv, _json = [line for line in result.stdout.splitlines() if not line.endswith(".png")]
        assert len(table) == 2 + len(lines)
        assert report == "deep/out/report.md"
        text = Path(report).read_text()
        assert "\n".join(table) in text
        assert all(f"]({plot})" in text for plot in plots)
        document = json.loads(Path("deep/out/results.json").read_text())
        assert document.items() >= {"model": "tiny-emoji", "dtype": "float32", "drawn": "picture"}.items()
        assert {"processor", "cores", "threads", "torch", "transformers"} <= document.keys()
        assert document["items"] == [["a cat", 0], ["a red heart", 1]]
        assert len(document["cases"][0]["accepted"]) == TOKENS

    def test_goes_on_where_it_was(self, scd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cut off after some draws; then the rest, with the results of a run in one go; then nothing."""
        count, drawn = running._count_batch, []

        def interrupted(*arguments: Any) -> Any:
            if len(drawn) == 3:
                raise KeyboardInterrupt
            drawn.append(arguments)
            return count(*arguments)

        monkeypatch.setattr(running, "_count_batch", interrupted)
        arguments = (*SMALL[:-1], 0, "-o")
        result = CliRunner().invoke(app, [*map(str, (
            "bench", "--prompts", "prompts.txt", "--model", scd.keywords["model"], *arguments, "out"))])
        assert result.exit_code == 130
        assert names(Path("out")) == {"runs.json"}
        monkeypatch.setattr(running, "_count_batch", lambda *most: drawn.append(most) or count(*most))
        scd(*arguments, "out")
        assert len(drawn) == 4
        scd(*arguments, "whole")
        assert Path("out/results.csv").read_text() == Path("whole/results.csv").read_text()
        again = Path("out/report.md").read_text()
        drawn.clear()
        scd(*arguments, "out")
        assert drawn == []
        assert Path("out/report.md").read_text() == again

    def test_options_reach_the_cases(self, scd: Any) -> None:
        scd("--method", "sjd", "--window", 3, "--first-guess", "above", "--temperature", 0.5, "--temperature", 0,
            "--batch", 2, "--dtype", "float64", "--seed", 9, "--repeat", 0)
        lines = lines_of()
        assert [(line["first_guess"], line["temperature"], line["batch"]) for line in lines] == [
            ("above", "0.5", "2"), ("above", "0.0", "2")]
        assert all(line["seconds"] == "" for line in lines)
        document = json.loads(Path("bench/results.json").read_text())
        assert (document["dtype"], document["seed"]) == ("float64", 9)

    def test_without_matplotlib_there_are_no_plots(self, scd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda name: None)
        result = scd(*SMALL)
        assert re.fullmatch(r"scd: note: drawing plots needs matplotlib: pip install 'coupled-decoding\[plot\]'; .*\n",
                            result.stderr)
        assert names(Path("bench")) == TABLES


def test_clips(run: Any, tiny_doom: Path) -> None:
    """Contexts of footage and of built-in examples; no guidance anywhere."""
    run("bench", "--context", "maze", "--context", "arena", "--context-frames", 2, "--num-frames", 2, *SMALL,
        "--first-guess", "previous-frame", model=tiny_doom)
    lines = lines_of()
    assert [line["method"] for line in lines] == ["AR", "SCD-gumbel"]
    assert lines[0]["nfe"] == "8"
    assert {line["guidance"] for line in lines} == {""}
    assert "per clip" in Path("bench/report.md").read_text()


class TestBadInput:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["--method", "foo"], "there is no method 'foo': give one of ar, sjd"),
        (["--method", "sjd:colour=red"], "fixes 'colour'"),
        (["--method", "ar:window=3"], "fixes 'window': ar has no options"),
        (["--window", 0], "'--window'.*: 0 is given: expected a number of at least 1"),
        (["--window", 4, "--window", -1], "-1 is given"),
        (["--first-guess", "foo"], "'foo' is not one of"),
        (["--first-guess", "previous-frame"], "says nothing about pictures"),
        (["--branches", -1], "-1 is given"),
        (["--guidance", "nan"], "nan is given"),
        (["--temperature", -1], "-1.0 is given"),
        (["--batch", 0], "'--batch'.*: 0 is given"),
        (["--repeat", -1], "'--repeat'.*: -1 is given"),
        (["--num-frames", 3], "--num-frames says nothing about 'tiny-emoji', which draws pictures"),
        (["--context", "maze"], "--context says nothing"),
        (["--prompts", "none.txt"], "cannot read the prompts in 'none.txt': No such file"),
        (["--prompts", "empty.txt"], "'empty.txt' holds no prompts"),
        (["--prompts", "binary.txt"], "it is not text in UTF-8"),
        (["--prompts", "long.txt", *SMALL], "tokens: the model reads"),
        (["-o", "empty.txt"], "'empty.txt' is a file"),
    ])
    def test_pictures(self, scd: Any, here: Path, arguments: list[object], said: str) -> None:
        Path("empty.txt").write_text("\n \n")
        Path("binary.txt").write_bytes(b"\xff\xfe\x00")
        Path("long.txt").write_text("a long prompt" * 9)
        before = names(here)
        assert re.search(said, scd(*arguments, bad=True).stderr)
        assert names(here) == before

    @pytest.mark.parametrize(("arguments", "said"), [
        (["--guidance", 3], "--guidance says nothing about 'tiny-doom', which continues clips"),
        (["--generate"], "--generate says nothing"),
        (["--context", "nowhere"], "'nowhere' is neither a file nor a folder"),
        (["--num-frames", 100000], "make 100009 frames"),
    ])
    def test_clips(self, run: Any, here: Path, tiny_doom: Path, arguments: list[object], said: str) -> None:
        assert said in run("bench", *arguments, model=tiny_doom, bad=True).stderr
        assert names(here) == set()

    def test_results_of_something_else(self, scd: Any) -> None:
        Path("bench").mkdir()
        for content in ("[]", "not JSON"):
            Path("bench/runs.json").write_text(content)
            assert "move it away" in scd(*SMALL, bad=True).stderr
            assert Path("bench/runs.json").read_text() == content


def test_help_shows_examples() -> None:
    said = CliRunner().invoke(app, ["bench", "--help"]).stdout
    assert "\n    scd bench\n" in said
    assert "seed-exact:window=32,branches=32,predict" in said
