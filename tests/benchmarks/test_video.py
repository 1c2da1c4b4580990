"""The benchmarks of video from end to end, on a tiny random model and few held-out clips."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import coupled_decoding as cd
from benchmarks import video_nfe, video_quality, video_rows, video_seconds
from benchmarks.video_rows import HELD_OUT, TOKENIZER
from coupled_decoding.evaluation.bench import running
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.work import ClipWork
from coupled_decoding.evaluation.metrics.clips import psnr
from coupled_decoding.media.pixels import to_pixels
from data.held_out import CONTEXT, FRAMES, read_clips


def test_forwards_of_every_case(tiny_doom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AR takes one forward per token; a second run measures nothing; tables and plot are there."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_nfe, "FRAMES", CONTEXT + 3)
    monkeypatch.setattr(video_nfe, "WINDOWS", (2, 3))
    monkeypatch.setattr(video_nfe, "WINDOW_OF_GUESSES", 3)
    monkeypatch.setattr(video_nfe, "PUBLISHED", {"SJD": (2272.8, 1886.4)})
    arguments = ["--clips", "3", "--model", str(tiny_doom)]
    video_nfe.main(arguments)
    kept = json.loads(Path("docs/figures/video_nfe.json").read_text())["results"]
    rows = [json.loads(name) | result for name, result in kept.items()]
    tokens = 4 * 3
    assert [row["nfe"] for row in rows if row["method"] == "AR"] == [tokens, tokens]
    assert all(tokens / 3 <= row["nfe"] <= tokens for row in rows)
    assert Counter(row["top_p"] for row in rows) == {None: 1 + 2 * 4 + 5 * 4, 0.8: 1 + 2 * 4}
    assert any(row["nfe_error"] > 0 for row in rows)
    table = Path("docs/figures/video_nfe.md").read_text()
    assert "| SeedExact | " in table
    assert "| previous-frame-distribution | " in table
    assert "|  |" not in table
    assert Path("docs/images/video_nfe.png").stat().st_size > 1000
    monkeypatch.setattr(running, "summarise", lambda *_: pytest.fail("a case was measured again"))
    video_nfe.main(arguments)


def test_forwards_do_not_depend_on_the_batch(tiny_doom: Path) -> None:
    """Three clips in batches of two and one have the seeds that they have in one batch."""
    contexts = [clip[:CONTEXT] for clip in read_clips(most=3)]
    work = ClipWork(cd.from_pretrained(tiny_doom, dtype="float64"), contexts, CONTEXT + 6)
    for method in compared(4):
        apart, together = (running.summarise(work, Case(method, cd.Sampling(), batch=batch)) for batch in (2, 3))
        assert asdict(apart) == pytest.approx(asdict(together))


def test_seconds_of_every_method(tiny_doom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two clips, each alone; AR takes one forward per token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_seconds, "WINDOWS", (4,))
    monkeypatch.setattr(video_seconds, "FRAMES", CONTEXT + 6)
    video_seconds.main(["--clips", "2", "--model", str(tiny_doom)])
    measured = json.loads(Path("docs/figures/video_seconds.json").read_text())
    assert [len(seconds) for seconds in measured["seconds"].values()] == [2] * 5
    assert measured["nfe"]["AR"] == [4 * 6] * 2
    assert "| SCD-gumbel, window 4 | " in Path("docs/figures/video_seconds.md").read_text()


class Colours:
    """Four features of a frame in place of a network's."""

    def __call__(self, frames: Tensor) -> Tensor:
        return torch.cat([frames.mean((2, 3)), frames.std((1, 2, 3)).unsqueeze(1)], 1)


def test_rows_are_the_frames_after_the_context(tiny_doom: Path, tmp_path: Path) -> None:
    """The true ones as they are, those of the tokenizer near them, those of methods as the pipeline draws them.

    A second run finds tokens and features, and a different folder does not.
    """
    pipe, clips = cd.from_pretrained(tiny_doom), read_clips(most=3)
    rows = video_rows.make_rows(pipe, clips, 2, 4, Colours(), tmp_path / "a")
    assert [*rows] == [HELD_OUT, TOKENIZER, "AR", "AR, other seeds", "SJD", "SCD-maximal", "SCD-gumbel"]
    size, cpu = pipe.model.size, torch.device("cpu")
    torch.testing.assert_close(rows[HELD_OUT].pixels[2], to_pixels(clips[2][CONTEXT:], size, cpu))
    close = partial(torch.testing.assert_close, atol=1.01 / 255, rtol=0)  # arithmetic that a batch may round otherwise
    ar = pipe(clips[2][:CONTEXT], method=cd.AR(), seed=2)
    close(rows["AR"].pixels[2], to_pixels(ar.frames[0][CONTEXT:], size, cpu))
    coded = pipe.model.decode(pipe.model.encode([clips[0]]))[0]
    close(rows[TOKENIZER].pixels[0], to_pixels(coded[CONTEXT:], size, cpu))
    drawn = [row.pixels for name, row in rows.items() if name not in (HELD_OUT, TOKENIZER)]
    assert all(psnr(one, other).isfinite().any() for i, one in enumerate(drawn) for other in drawn[:i])
    features = rows["SJD"].features
    assert features.frames.shape == (3, FRAMES - CONTEXT, 4)
    assert features.differences.shape == (3, FRAMES - CONTEXT - 1, 4)
    torch.testing.assert_close(features.frames[1], Colours()(rows["SJD"].pixels[1]))
    again = video_rows.make_rows(pipe, clips, 2, 4, None, tmp_path / "a")  # type: ignore[arg-type]
    assert torch.equal(again["SCD-gumbel"].pixels, rows["SCD-gumbel"].pixels)
    assert torch.equal(again["SCD-gumbel"].features.differences, rows["SCD-gumbel"].features.differences)


def test_quality_tables(tiny_doom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row in every table, AR against AR beside; nothing is compared of AR with itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_quality, "Lite0", Colours)
    video_quality.main(["--clips", "6", "--batch", "6", "--window", "4", "--model", str(tiny_doom)])
    text = Path("docs/figures/video_quality.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len(table) for table in tables] == [2 + 6] * 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "on 2 principal components" in text
    for table in tables[1:]:
        row = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table[2:]}
        assert row["AR"][2:4] == ["", ""]
        assert " to " in row["AR, other seeds"][3]
