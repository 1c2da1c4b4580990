"""Writing clips: what is in the file is what went in, at its rate, and a file is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coupled_decoding.media.films import check_film, save_film
from coupled_decoding.media.footage import read_footage

RATE, COUNT = 17.5, 9
METADATA = {"prompt": "ein Herz ❤", "seed": "7", "more": "x" * 600}


def frames(size: tuple[int, int] = (61, 35)) -> list[Image.Image]:
    """One half of a frame is of a colour, which changes; the other is grey."""
    made = []
    for number in range(COUNT):
        frame = Image.new("RGB", size, (90, 90, 90))
        frame.paste((20 * number, 220 - 20 * number, 40), (0, 0, size[0] // 2 - 1, size[1]))
        made.append(frame)
    return made


def assert_alike(ours: list[Image.Image], given: list[Image.Image], tolerance: int) -> None:
    """Away from the border between colours, where both formats may mix them."""
    for one, other in zip(ours, given, strict=True):
        middle = other.width // 2
        error = np.abs(np.asarray(one, int) - np.asarray(other.crop((0, 0, *one.size)), int))
        error[:, middle - 4 : middle + 4] = 0
        assert error.max() <= tolerance


def test_gif(tmp_path: Path) -> None:
    """Frames, times that add up to the rate though each is rounded, and the comment."""
    save_film(iter(frames()), COUNT, tmp_path / "clip.gif", RATE, METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]
    with Image.open(tmp_path / "clip.gif") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (COUNT, 0)
        assert json.loads(picture.info["comment"]) == METADATA
    footage = read_footage(tmp_path / "clip.gif", 0, 99, lambda frame: frame.convert("RGB"))
    assert footage.frames_per_second == pytest.approx(RATE, rel=0.01)
    assert_alike(footage.frames, frames(), 0)


@pytest.mark.parametrize("size", [(61, 35), (64, 48)])
def test_mp4(tmp_path: Path, size: tuple[int, int]) -> None:
    """Frames in their colours, sides made even, the rate and the comment; in the form that players read."""
    av = pytest.importorskip("av")
    save_film(iter(frames(size)), COUNT, tmp_path / "clip.mp4", RATE, METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert json.loads(container.metadata["comment"]) == METADATA
    footage = read_footage(tmp_path / "clip.mp4", 0, 99, lambda frame: frame)
    assert footage.frames_per_second == pytest.approx(RATE)
    assert footage.sizes == [(size[0] - size[0] % 2, size[1] - size[1] % 2)]
    assert_alike(footage.frames, frames(size), 8)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    """In an empty folder nothing, and an older clip as it was."""
    if suffix == ".mp4":
        pytest.importorskip("av")

    def failing() -> Iterator[Image.Image]:
        yield from frames()[:4]
        raise OSError(28, "No space left on device")

    path = tmp_path / f"clip{suffix}"
    for before in (None, b"an older clip"):
        if before:
            path.write_bytes(before)
        with pytest.raises(OSError, match="No space left"):
            save_film(failing(), COUNT, path, RATE, METADATA)
        assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == ({path.name: before} if before else {})


def test_what_cannot_be_written_is_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clip.avi", "clip", ".gif/clip.png"):
        with pytest.raises(ValueError, match=r"ends neither in .mp4 nor in .gif"):
            check_film(Path(name))
    monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda name: None)
    check_film(Path("CLIP.GIF"))
    with pytest.raises(ModuleNotFoundError, match=r"writing 'clip.MP4' needs av: .*coupled-decoding\[video\]"):
        check_film(Path("clip.MP4"))
