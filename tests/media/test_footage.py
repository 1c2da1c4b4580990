"""Reading first frames: every kind of file gives the frames that went into it, and damage is said in one sentence."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import coupled_decoding as cd
from coupled_decoding.media.films import save_film
from coupled_decoding.media.footage import SUFFIXES, examples, find_footage, read_footage

SIZE = (48, 32)
LEVELS = (30, 60, 90, 120, 150, 180)
"""Grey levels of the frames of a clip."""


def shades(levels: Sequence[int] = LEVELS) -> list[Image.Image]:
    return [Image.new("RGB", SIZE, (level, level, level)) for level in levels]


def animation(path: Path, duration: int = 100) -> Path:
    first, *rest = shades()
    first.save(path, save_all=True, append_images=rest, duration=duration, **({"lossless": True}
                                                                              if path.suffix == ".webp" else {}))
    return path


def video(path: Path, frames: Sequence[Image.Image], rate: int = 30) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", Fraction(rate), options={"crf": "1"})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


def folder_of_pictures(path: Path) -> Path:
    """Numbers without leading zeros, several kinds, and what a folder holds besides."""
    path.mkdir()
    names = ["frame2.png", "frame9.JPG", "Frame10.png", "frame11.bmp", "frame100.webp", "frame101.gif"]
    for name, frame in zip(names, shades(), strict=True):
        frame.save(path / name, quality=95)
    (path / "._frame1.png").write_bytes(b"not a picture")
    (path / "frame1.txt").write_text("not a picture")
    (path / "frame1.png").mkdir()
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "gif": lambda path: animation(path / "clip.gif"),
    "webp": lambda path: animation(path / "clip.webp"),
    "apng": lambda path: animation(path / "clip.png"),
    "no suffix": lambda path: animation(path / "clip.gif").rename(path / "clip"),
    "mp4": lambda path: video(path / "clip.mp4", shades()),
    "mkv": lambda path: video(path / "clip.mkv", shades()),
    "folder": lambda path: folder_of_pictures(path / "clip"),
}


def as_it_is(frame: Image.Image) -> Image.Image:
    return frame.convert("RGB")


def levels_of(frames: Sequence[Image.Image]) -> list[float]:
    return [float(np.asarray(frame, dtype=float).mean()) for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_as_they_went_in(tmp_path: Path, kind: str) -> None:
    """All frames, some in the middle, and the last ones where fewer are left than asked for."""
    place = KINDS[kind](tmp_path)
    for start, count in [(0, 6), (2, 3), (4, 9), (0, 1)]:
        footage = read_footage(place, start, count, as_it_is)
        assert levels_of(footage.frames) == pytest.approx(LEVELS[start : start + count], abs=3)
        assert footage.sizes == [SIZE]
        rate = footage.frames_per_second
        assert rate is None if kind == "folder" else rate == pytest.approx(30 if kind in ("mp4", "mkv") else 10)
    with pytest.raises(ValueError, match=r"clip\S*' has no frame 6, counted from 0"):
        read_footage(place, 6, 1, as_it_is)


def test_a_picture_is_one_frame_and_has_no_time(tmp_path: Path) -> None:
    """A still, and a photograph in which a camera has hidden a second picture."""
    shades()[0].save(tmp_path / "one.gif", duration=100)
    first, second, *_ = shades()
    first.save(tmp_path / "photograph.mpo", format="MPO", save_all=True, append_images=[second])
    for name in ("one.gif", "photograph.mpo"):
        footage = read_footage(tmp_path / name, 0, 9, as_it_is)
        assert levels_of(footage.frames) == pytest.approx(LEVELS[:1], abs=1)
        assert footage.frames_per_second is None


def test_a_gif_that_says_no_times_has_none(tmp_path: Path) -> None:
    assert read_footage(animation(tmp_path / "clip.gif", duration=0), 0, 9, as_it_is).frames_per_second is None


def test_all_sizes_in_a_folder_are_told_once(tmp_path: Path) -> None:
    for number, size in enumerate([(8, 8), (16, 8), (8, 8)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    assert read_footage(tmp_path, 0, 9, as_it_is).sizes == [(8, 8), (16, 8)]


def thirds(size: tuple[int, int]) -> Image.Image:
    """Red, green and blue along the longer side."""
    width, height = size
    colours = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)]], np.uint8)
    if height > width:
        colours = colours.transpose(1, 0, 2)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)


@pytest.mark.parametrize("size", [(96, 32), (32, 96), (1920, 640)])
def test_the_middle_of_landscape_and_portrait_is_kept(tiny_doom: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    model = cd.from_pretrained(tiny_doom).model
    thirds(size).save(tmp_path / "one.png")
    footage = read_footage(tmp_path / "one.png", 0, 1, model.fitted)
    assert footage.sizes == [size]
    assert footage.frames[0].size == model.size
    assert np.abs(np.asarray(footage.frames[0], int) - [0, 255, 0]).max() < 20  # the filter looks over the edge


MODES: dict[str, tuple[Image.Image, tuple[int, int, int]]] = {
    "grey": (Image.new("L", SIZE, 200), (200, 200, 200)),
    "black and white": (Image.new("1", SIZE, 1), (255, 255, 255)),
    "16 bits": (Image.fromarray(np.full(SIZE[::-1], 200 * 256, np.uint16)), (200, 200, 200)),
    "half transparent": (Image.new("RGBA", SIZE, (255, 0, 0, 0)), (255, 255, 255)),
    "grey with alpha": (Image.new("LA", SIZE, (0, 0)), (255, 255, 255)),
    "palette": (Image.new("RGB", SIZE, (10, 200, 30)).quantize(4), (10, 200, 30)),
    "palette with alpha": (Image.new("RGBA", SIZE, (10, 200, 30, 255)).quantize(4), (10, 200, 30)),
}


@pytest.mark.parametrize(("picture", "colour"), MODES.values(), ids=MODES.keys())
def test_every_mode_becomes_colours_over_white(
    tiny_doom: Path, tmp_path: Path, picture: Image.Image, colour: tuple[int, int, int]
) -> None:
    picture.save(tmp_path / "one.png")
    frame = read_footage(tmp_path / "one.png", 0, 1, cd.from_pretrained(tiny_doom).model.fitted).frames[0]
    assert frame.mode == "RGB"
    assert frame.getcolors() == [(frame.width * frame.height, colour)]


def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    thirds((96, 32)).save(tmp_path / "one.png", exif=exif)
    frame = read_footage(tmp_path / "one.png", 0, 1, as_it_is).frames[0]
    assert frame.size == (32, 96)
    assert frame.getpixel((16, 5)) == (255, 0, 0)


def test_a_video_held_upright_is_turned(tmp_path: Path) -> None:
    """The matrix in an MP4 says that its frames lie on their side."""
    path = video(tmp_path / "clip.mp4", [thirds((96, 32))] * 2)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", content[matrix : matrix + 36])[:2] == (65536, 0)
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 32 * 65536, 0, 1 << 30)
    path.write_bytes(content)
    footage = read_footage(path, 0, 2, as_it_is)
    assert footage.sizes == [(32, 96)]
    red, green, blue = footage.frames[1].getpixel((16, 5))
    assert red > 200 > 60 > max(green, blue)


def frames_or_words(place: Path) -> int | str:
    """How many frames are read, or what is said instead."""
    try:
        return len(read_footage(place, 0, 6, as_it_is).frames)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_damage_is_named_or_does_not_matter(tmp_path: Path, kind: str) -> None:
    """Files cut short anywhere, and files with bytes changed, give frames or one sentence, never another error."""
    whole = KINDS[kind](tmp_path).read_bytes()
    place, random_bytes, outcomes = tmp_path / "changed", random.Random(0), []
    for trial in range(60):
        content = bytearray(whole)
        if trial % 2:
            content = content[: len(whole) * trial // 60]
        else:
            for _ in range(5):
                content[random_bytes.randrange(len(whole))] = random_bytes.randrange(256)
        place.write_bytes(content)
        outcomes.append(frames_or_words(place))
    words = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert words
    assert all(repr(str(place)) in said and "\n" not in said for said in words)
    assert all(outcome for outcome in outcomes)


def test_a_damaged_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    place = folder_of_pictures(tmp_path / "clip")
    (place / "frame11.bmp").write_bytes((place / "frame11.bmp").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"frame11.bmp' is damaged: "):
        read_footage(place, 0, 6, as_it_is)
    assert len(read_footage(place, 0, 3, as_it_is).frames) == 3


def with_sound(path: Path) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def branded(path: Path) -> Path:
    """A video that calls itself what phones call photographs."""
    return written(path, video(path, shades()).read_bytes().replace(b"ftypisom", b"ftypheic", 1))


def recoded(path: Path) -> Path:
    return written(path, video(path, shades()).read_bytes().replace(b"avc1", b"none"))


USELESS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: written(path / "a.mp4", b""), "a.mp4' is no picture and no video that can be read here"),
    "text": (lambda path: written(path / "a.txt", "hello\n" * 99), "a.txt' is no picture and no video"),
    "list of files": (lambda path: written(path / "a.m3u8", "#EXTM3U\n#EXTINF:1,\nb.ts\n"), "no picture and no video"),
    "script": (lambda path: written(path / "a.ffconcat", "ffconcat version 1.0\nfile /etc/hostname\n"), "no picture"),
    "sound": (lambda path: with_sound(path / "a.m4a"), "a.m4a' holds no video"),
    "unknown coding": (lambda path: recoded(path / "a.mp4"), "a.mp4' holds a video in a coding that is not known here"),
    "photograph": (lambda path: branded(path / "a.mp4"), "a.mp4' is a HEIF or AVIF picture"),
    "empty folder": (lambda path: path, f"holds no pictures \\({', '.join(SUFFIXES)}\\)"),
}


@pytest.mark.parametrize(("make", "words"), USELESS.values(), ids=USELESS.keys())
def test_what_holds_no_frames_is_said(tmp_path: Path, make: Any, words: str) -> None:
    pytest.importorskip("av")
    with pytest.raises(ValueError, match=words):
        read_footage(make(tmp_path), 0, 9, as_it_is)


def test_tags_in_any_letters_do_not_matter(tmp_path: Path) -> None:
    """A comment that is not UTF-8, as older programs write it."""
    pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    save_film(iter(shades()), len(LEVELS), path, 30, {"title": "Caffe"})
    content = path.read_bytes()
    assert b"Caffe" in content
    path.write_bytes(content.replace(b"Caffe", b"Caff\xe9"))
    assert len(read_footage(path, 0, 9, as_it_is).frames) == len(LEVELS)


def test_without_the_extra_a_video_names_it_and_an_animation_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = KINDS["mp4"](tmp_path)
    monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"a video needs av: pip install 'coupled-decoding\[video\]'"):
        read_footage(film, 0, 9, as_it_is)
    assert len(read_footage(KINDS["gif"](tmp_path), 0, 9, as_it_is).frames) == 6


def test_examples_are_clips_of_the_shipped_model() -> None:
    """Nine frames of 64x64 pixels at its rate, a few tens of kilobytes in all."""
    found = examples()
    assert list(found) == ["arena", "corridor", "cover", "field", "maze", "rooms"]
    for name, file in found.items():
        footage = read_footage(find_footage(name), 0, 99, as_it_is)
        assert (len(footage.frames), footage.sizes) == (9, [(64, 64)])
        assert footage.frames_per_second == pytest.approx(17.5, abs=0.1)
        assert find_footage(name) == file
    assert sum(file.stat().st_size for file in found.values()) < 100_000


def test_a_name_that_means_nothing_lists_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an example goes before a folder of its name, which can be reached by its path."""
    with pytest.raises(FileNotFoundError, match="'nonsense' is neither a file nor a folder, .*: arena, corridor, "):
        find_footage("nonsense")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maze").mkdir()
    assert find_footage("maze").is_file()
    assert find_footage("./maze").is_dir()
