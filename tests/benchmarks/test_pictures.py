"""The benchmarks of pictures from end to end, on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import entropy, nfe, pages, promise
from coupled_decoding.evaluation.bench import running
from tests.benchmarks.helpers import tables_of


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pages are written."""
    monkeypatch.setattr(pages, "FIGURES", tmp_path)
    return tmp_path


def rows_of(page: Path) -> list[list[str]]:
    """The cells of the one table of a page, without its head."""
    (table,) = tables_of(page.read_text().rstrip())
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_forwards_of_every_case(tiny_emoji: Path, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line per case, and a second run, in other batches, measures nothing."""
    arguments = ["--pictures", "3", "--window", "4", "--model", str(tiny_emoji)]
    nfe.main(arguments)
    page, cases = (figures / "nfe.md").read_text(), nfe.cases(4)
    assert pages.weights_in_words(pages.weights_of(str(tiny_emoji))) in page
    rows = rows_of(figures / "nfe.md")
    assert [row[:4] for row in rows] == [
        [f"{case.guidance:g}", case.decoder.name, "4", case.options["first_guess"]] for case in cases]
    kept = json.loads((figures / "nfe.json").read_text())["results"]
    assert [f"{result['nfe']:.1f}" for result in kept.values()] == [row[4].split(" ")[0] for row in rows]
    monkeypatch.setattr(running, "summarise", lambda *_: pytest.fail("a case was measured again"))
    nfe.main([*arguments, "--batch", "2"])
    assert (figures / "nfe.md").read_text() == page


def test_other_seeds_are_other_results(tiny_emoji: Path, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nfe.cases(4)[:1]
    monkeypatch.setattr(nfe, "cases", lambda window, batch: first)
    for seed in ("0", "5"):
        nfe.main(["--pictures", "1", "--window", "4", "--seed", seed, "--model", str(tiny_emoji)])
    assert len(json.loads((figures / "nfe.json").read_text())["results"]) == 2


def test_forwards_by_entropy(tiny_emoji: Path, figures: Path) -> None:
    """A line for each method, pictures of more entropy further to the right."""
    entropy.main(["--pictures", "8", "--batch", "4", "--window", "4", "--model", str(tiny_emoji)])
    rows = rows_of(figures / "entropy.md")
    assert [row[0] for row in rows] == ["SJD", "SCD-maximal"]
    for _, *quarters in rows:
        nats = [float(cell.split(",")[0]) for cell in quarters]
        assert nats == sorted(nats)
        assert len(nats) == 4


def test_the_promise_holds_in_double_precision(tiny_emoji: Path, figures: Path) -> None:
    promise.main(["--pictures", "2", "--alone", "1", "--model", str(tiny_emoji)])
    rows = rows_of(figures / "promise.md")
    assert [row[0] for row in rows] == ["float64", "float32", "bfloat16"]
    assert rows[0][1:] == ["0 of 2 differ", "0 of 2 differ", "0 of 1 differ"]
