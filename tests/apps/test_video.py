"""``scd video``: what it writes, what it says of footage, what it prints, and how it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageSequence
from typer.testing import CliRunner

import coupled_decoding as cd
from coupled_decoding.apps.cli import app
from coupled_decoding.apps.sheets import preview
from coupled_decoding.apps.sheets.films import CONTEXT, DRAWN, Reel, film, strips
from coupled_decoding.apps.sheets.pictures import LARGEST_SIDE, MARGIN
from coupled_decoding.media.footage import examples
from tests.apps.helpers import names
from tests.models.families.test_cosmos import checkpoints, small_clips

__all__ = ["checkpoints", "small_clips"]  # fixtures

PER_FRAME = 4
"""Tokens of a drawn frame of the tiny model."""


@pytest.fixture
def scd(run: Any, tiny_doom: Path) -> Any:
    """Runs ``scd video`` with the tiny model in an empty folder; ``bad=True`` where it must refuse."""
    return partial(run, "video", model=tiny_doom)


def pictures(count: int, size: tuple[int, int] = (16, 16)) -> list[Image.Image]:
    return [Image.new("RGB", size, (40 * number, 200 - 20 * number, 99)) for number in range(count)]


def write_gif(path: str, frames: Sequence[Image.Image], duration: int = 60) -> None:
    """At about the rate of the model, as near as a GIF comes to it."""
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration)


def notes(result: Any) -> list[str]:
    return [line.removeprefix("scd: note: ") for line in result.stderr.splitlines()]


class TestFiles:
    def test_gif(self, scd: Any, here: Path) -> None:
        """Context and new frames at the model's rate, and one line about what it took."""
        result = scd("maze", "--num-frames", 4, "--seed", 7, "-o", "deep/out.gif")
        file, summary = result.stdout.splitlines()
        assert file == "deep/out.gif"
        assert re.fullmatch(r"SCD-gumbel, window 64: NFE (\S+) for 16 tokens, (\S+)x fewer forwards than AR, \S+ s",
                            summary)
        assert names(here) == {"deep", "deep/out.gif"}
        with Image.open("deep/out.gif") as picture:
            assert picture.n_frames == 9 + 4
            seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(picture)) / 1000
        assert seconds == pytest.approx(13 / 17.5, abs=0.01)

    def test_mp4(self, scd: Any, here: Path) -> None:
        av = pytest.importorskip("av")
        scd("maze", "--num-frames", 4, "--seed", 7, "-o", "out.mp4")
        assert names(here) == {"out.mp4"}
        with av.open("out.mp4") as container:
            assert float(container.streams.video[0].average_rate) == 17.5
            assert len(list(container.decode(video=0))) == 13
            said = json.loads(container.metadata["comment"])
        assert said.items() >= {"seed": "7", "context": "maze", "method": "SCD-gumbel"}.items()

    def test_the_comment_reproduces_the_clip(self, scd: Any) -> None:
        write_gif("own.gif", pictures(8))
        scd("own.gif", "--start", 2, "--context-frames", 5, "--num-frames", 3, "--seed", 7, "--method", "sjd",
            "--window", 5, "--first-guess", "previous-frame", "--temperature", 0.9, "-o", "one.gif")
        with Image.open("one.gif") as picture:
            said = json.loads(picture.info["comment"])
        assert said.items() >= {"frames": "8", "context_frames": "5", "start": "2", "noise": cd.NOISE_VERSION}.items()
        scd(said["context"], "--start", said["start"], "--context-frames", said["context_frames"], "--num-frames",
            int(said["frames"]) - int(said["context_frames"]), "--seed", said["seed"], "--method", "sjd", "--window",
            said["window"], "--first-guess", said["first_guess"], "--temperature", said["temperature"], "-o", "two.gif")
        assert Path("one.gif").read_bytes() == Path("two.gif").read_bytes()

    def test_several_clips_have_seeds_that_count_up(self, scd: Any) -> None:
        document = json.loads(scd("maze", "-n", 3, "--num-frames", 2, "--seed", 7, "--json").stdout)
        assert document["file"] == "clip.gif"
        assert document["seeds"] == [7, 8, 9]
        assert len(document["nfe"]) == 3
        with Image.open("clip.gif") as picture:
            assert json.loads(json.loads(picture.info["comment"])["seeds"]) == [7, 8, 9]
            assert picture.width > 2 * 256
            assert picture.height > 2 * 256

    def test_drawn_seed_is_printed_and_gives_the_clip_again(self, scd: Any) -> None:
        first = scd("maze", "--num-frames", 2, "-o", "one.gif").stdout
        seed = re.search(r"^seed (\d+), drawn", first, re.MULTILINE).group(1)
        assert "drawn" not in scd("maze", "--num-frames", 2, "-o", "two.gif", "--seed", seed).stdout
        assert Path("one.gif").read_bytes() == Path("two.gif").read_bytes()

    def test_json_is_the_only_thing_on_standard_output(self, scd: Any, tiny_doom: Path) -> None:
        write_gif("own.gif", pictures(3, (40, 20)))
        document = json.loads(scd("own.gif", "--num-frames", 2, "--seed", 7, "--json").stdout)
        expected = {
            "file": "clip.gif", "preview": None, "context": "own.gif", "start": 0, "context_frames": 3, "frames": 5,
            "frames_per_second": 17.5, "prompt": None, "seeds": [7], "model": tiny_doom.name, "dtype": "float32",
            "method": {"name": "SCD-gumbel", "window": 64, "first_guess": "uniform", "coupling": "gumbel",
                       "predict": False, "branches": 0},
            "tokens_each": 2 * PER_FRAME,
        }
        assert document.items() >= expected.items()
        assert document["speedup_in_forwards"] == pytest.approx(2 * PER_FRAME / sum(document["nfe"]))


class TestFilm:
    """Frames of films, pixel by pixel."""

    @pytest.mark.parametrize(("size", "times"), [((16, 16), 16), ((64, 40), 4), ((300, 200), 1)])
    def test_marks_stand_beside_the_frame(self, size: tuple[int, int], times: int) -> None:
        """A frame is enlarged by a whole number and untouched; its edge says whether it was given or drawn."""
        noise = np.random.default_rng(0).integers(0, 256, (3, size[1], size[0], 3), np.uint8)
        clip = [Image.fromarray(one) for one in noise]
        for number, sheet in enumerate(film([("", [Reel(clip, "seed 7")])], 2)):
            place = (MARGIN, MARGIN, MARGIN + times * size[0], MARGIN + times * size[1])
            expected = clip[number].resize((times * size[0], times * size[1]), Image.Resampling.NEAREST)
            assert sheet.crop(place).tobytes() == expected.tobytes()
            colour = ImageColor.getrgb((CONTEXT if number < 2 else DRAWN)[1])
            for x, y in [(place[0] - 1, place[1] - 1), (place[2], place[3]), (place[0] - 4, place[3] + 3)]:
                assert sheet.getpixel((x, y)) == colour
            assert sheet.getpixel((place[0] - 5, place[1] - 5)) == (255, 255, 255)

    def test_large_frames_are_reduced_only_side_by_side(self) -> None:
        clip = pictures(1, (1024, 640))
        alone = next(film([("", [Reel(clip, "")])], 1))
        two = next(film([("", [Reel(clip, ""), Reel(clip, "")])], 1))
        assert alone.width == 1024 + 2 * MARGIN
        assert 2 * LARGEST_SIDE < two.width < 2 * 1024

    def test_all_sheets_of_a_film_have_one_size(self) -> None:
        rows = [("seed 7", [Reel(pictures(3), "a"), Reel(pictures(3), "b")]), ("seed 8", [Reel(pictures(3), "c")] * 2)]
        assert len({sheet.size for sheet in film(rows, 1, [("AR", "NFE 3"), ("SJD", "NFE 2")])}) == 1

    def test_a_strip_shows_all_frames_in_lines(self) -> None:
        one, two = (strips([("seed 7", pictures(count))], 9) for count in (11, 12))
        assert one.width == two.width
        assert one.height < two.height


class TestFootage:
    def kinds(self) -> dict[str, Callable[[], str]]:
        def folder() -> str:
            Path("frames").mkdir()
            for number, frame in enumerate(pictures(10), 1):
                frame.save(f"frames/{number}.png")
            return "frames"

        def picture() -> str:
            pictures(1)[0].save("one.png")
            return "one.png"

        def webp() -> str:
            write_gif("clip.webp", pictures(10))
            return "clip.webp"

        return {"folder": folder, "picture": picture, "webp": webp}

    @pytest.mark.parametrize(("kind", "frames"), [("folder", 9), ("picture", 1), ("webp", 9)])
    def test_every_kind_is_context(self, scd: Any, kind: str, frames: int) -> None:
        result = scd(self.kinds()[kind](), "--num-frames", 2, "--seed", 0, "--json")
        document = json.loads(result.stdout)
        assert (document["context_frames"], document["frames"]) == (frames, frames + 2)
        assert notes(result) == ([] if frames == 9 else ["one.png has 1 frame from frame 0 on: 1 and not 9 are the "
                                                         "context"])

    def test_a_video_is_context(self, scd: Any) -> None:
        """Its rate and size are said, and a video of one frame is enough."""
        pytest.importorskip("av")
        from coupled_decoding.media.films import save_film

        for count in (1, 12):
            save_film(iter(pictures(count, (128, 72))), count, Path(f"{count}.mp4"), 30, {})
        result = scd("12.mp4", "--num-frames", 2, "--seed", 0)
        assert notes(result) == ["128x72 frames are cut to 72x72 and scaled to 16x16",
                                 "12.mp4 has 30 frames per second: the model takes them for 17.5 per second"]
        assert json.loads(scd("1.mp4", "--num-frames", 2, "--json").stdout)["context_frames"] == 1

    @pytest.mark.parametrize(("size", "words"), [
        ((16, 16), None),
        ((40, 40), "40x40 frames are scaled to 16x16"),
        ((40, 20), "40x20 frames are cut to 20x20 and scaled to 16x16"),
        ((21, 1000), "21x1000 frames are cut to 21x21 and scaled to 16x16"),
        ((1, 1), "1x1 frames are scaled to 16x16"),
    ])
    def test_what_becomes_of_a_size_is_said(self, scd: Any, size: tuple[int, int], words: str | None) -> None:
        write_gif("own.gif", pictures(9, size))
        assert notes(scd("own.gif", "--num-frames", 1)) == ([words] if words else [])

    @pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
    def test_modes(self, scd: Any, mode: str) -> None:
        whole = np.full((16, 16), 40_000, np.uint16)
        picture = Image.fromarray(whole) if mode == "I;16" else pictures(1)[0].convert(mode)
        picture.save("one.png")
        scd("one.png", "--num-frames", 1)

    def test_fewer_frames_than_asked_for_are_said(self, scd: Any) -> None:
        write_gif("own.gif", pictures(5))
        result = scd("own.gif", "--start", 2, "--context-frames", 7, "--num-frames", 1)
        assert notes(result) == ["own.gif has 3 frames from frame 2 on: 3 and not 7 are the context"]
        assert notes(scd("own.gif", "--context-frames", 5, "--num-frames", 1)) == []


class TestCompare:
    ARGUMENTS = ("maze", "--compare", "--num-frames", 3, "-n", 2, "--seed", 7, "--window", 5)

    def test_table_and_film(self, scd: Any, here: Path) -> None:
        head, _rule, *rows, note, file = scd(*self.ARGUMENTS, "-o", "out.gif").stdout.splitlines()
        assert head.split() == ["method", "NFE", "AR/NFE", "seconds", "AR/seconds"]
        assert [row.split()[0] for row in rows] == ["AR", "SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"]
        assert rows[0].split()[1:3] == [f"{3 * PER_FRAME}.0", "1.00x"]
        assert note == "AR and SeedExact drew the same clips, token for token."
        assert file == "out.gif"
        assert names(here) == {"out.gif"}
        with Image.open("out.gif") as picture:
            assert picture.n_frames == 12
            assert picture.width > 5 * 256
            assert picture.height > 2 * 256
            said = json.loads(picture.info["comment"])
        assert json.loads(said["seeds"]) == [7, 8]
        assert "method" not in said

    def test_json(self, scd: Any) -> None:
        document = json.loads(scd(*self.ARGUMENTS, "--json").stdout)
        assert document["same_clips_by_ar_and_seed_exact"] == 2
        assert [one["method"]["window"] for one in document["methods"]] == [1, 5, 5, 5, 5]
        ar = document["methods"][0]
        for one in document["methods"]:
            assert one["tokens_each"] == 3 * PER_FRAME
            assert one["speedup_in_forwards"] == pytest.approx(ar["nfe_mean"] / one["nfe_mean"])
            assert one["speedup_in_seconds"] == pytest.approx(ar["seconds"] / one["seconds"])

    def test_clips_are_those_that_each_method_draws_alone(self, scd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: list[Any] = []

        def look(rows: Any, context: int, heads: Any) -> Any:
            shown.append((rows, heads))
            return iter([Image.new("RGB", (8, 8))])

        monkeypatch.setattr("coupled_decoding.apps.sheets.films.film", look)
        scd(*self.ARGUMENTS)
        rows, heads = shown[0]
        assert [title for title, _ in rows] == ["seed 7", "seed 8"]
        for column, options in [(1, ["--method", "sjd"]), (2, ["--method", "scd-maximal"])]:
            scd(*[one for one in self.ARGUMENTS if one != "--compare"], *options)
            alone = [reel for _, row in shown[-1][0] for reel in row]
            for (_, row), reel in zip(rows, alone, strict=True):
                assert [frame.tobytes() for frame in row[column].frames] == [frame.tobytes() for frame in reel.frames]
        assert [name for name, _ in heads] == ["AR", "SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"]


class TestPreview:
    def test_it_grows_with_every_frame_and_ends_whole(
        self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two clips by one method; every state of the file is a whole picture."""
        counts = []

        def look(clips: Sequence[tuple[str, Sequence[Image.Image]]], context: int) -> Image.Image:
            if counts:
                Image.open("new/so-far.png").load()
            counts.append([len(frames) for _, frames in clips])
            return strips(clips, context)

        monkeypatch.setattr(preview, "EVERY", 0.0)
        monkeypatch.setattr(preview, "SHARE", 1e9)
        monkeypatch.setattr(preview, "strips", look)
        result = scd("maze", "-n", 2, "--method", "ar", "--num-frames", 3, "--preview", "new/so-far.png")
        assert counts == [[9, 9], [10, 10], [11, 11], [12, 12], [12, 12]]
        assert names(here) == {"clip.gif", "new", "new/so-far.png"}
        assert result.stdout.splitlines()[:2] == ["clip.gif", "new/so-far.png"]

    def test_it_is_seldom_and_only_for_further_frames(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At most every two seconds, and at most a tenth of the time."""
        clock, cost, shown = [0.0], [0.1], []
        monkeypatch.setattr(preview.time, "monotonic", lambda: clock[0])
        one = preview.Preview(Path("a.png"), [""], 1)

        def write(clips: list[int]) -> None:
            shown.append((clock[0], *clips))
            clock[0] += cost[0]

        monkeypatch.setattr(one, "write", write)
        for now, whole in [(0, 1), (1, 2), (2.0, 2), (3, 2), (4, 2), (5.5, 3), (6, 4), (50, 4), (51, 5), (150, 6)]:
            clock[0] = now
            cost[0] = 0.1 if now < 50 else 5.0
            one(SimpleNamespace(whole=[whole], frames=[whole]))
        assert shown == [(0, 1), (3, 2), (5.5, 3), (50, 4), (150, 6)]


class TestBadInput:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["nonsense"], "'nonsense' is neither a file nor a folder, nor one of the built-in examples: arena, corridor"),
        ([""], "nor one of the built-in examples"),
        (["empty"], "the folder 'empty' holds no pictures"),
        (["notes.txt"], "'notes.txt' is no picture"),
        (["own.gif", "--start", 5], "'own.gif' has no frame 5, counted from 0"),
        (["damaged.gif"], "'damaged.gif' is damaged"),
        (["own.gif", "--start", -1], "'--start'.*: -1 is given"),
        (["own.gif", "--context-frames", 0], "'--context-frames'.*: 0 is given"),
        (["own.gif", "--num-frames", 0], "'--num-frames'.*: 0 is given"),
        (["own.gif", "-n", 0], "'-n'.*: 0 is given"),
        (["own.gif", "--num-frames", 2000], "5 frames of context and 2000 to draw make 2005 frames: in doom a context"),
        (["own.gif", "--prompt", "a door"], "this family reads no text"),
        (["own.gif", "--prompt", " "], "prompt 1 is empty"),
        (["own.gif", "-o", "new/out.avi"], "'new/out.avi' ends neither in .mp4 nor in .gif"),
        (["own.gif", "-o", "empty"], "ends neither in .mp4"),
        (["own.gif", "-o", "taken.gif"], "'taken.gif' is a folder: no file can be written in its place"),
        (["own.gif", "-o", "./own.gif"], "'own.gif' is the context, and would be written over"),
        (["own.gif", "-o", "notes.txt/out.gif"], "'notes.txt' is a file"),
        (["own.gif", "--preview", "so-far.jpg"], "'so-far.jpg' does not end in .png"),
        (["own.gif", "--preview", "notes.txt/a.png"], "'notes.txt' is a file"),
        (["own.gif", "--compare", "--method", "sjd"], "--method sjd says nothing about --compare"),
        (["own.gif", "--method", "ar", "--window", 3], "window means nothing to ar"),
        (["own.gif", "--first-guess", "foo"], "'foo' is not one of 'uniform'"),
        (["own.gif", "--top-p", 0], "'--top-p'.*: 0.0 is given"),
        (["own.gif", "--device", "abacus"], "abacus"),
        (["own.gif", "--seed", 2**63], "seed is 9223372036854775808"),
        ([], "Missing argument"),
    ])
    def test_is_refused_in_one_sentence(self, scd: Any, here: Path, arguments: list[object], said: str) -> None:
        """And nothing is left behind."""
        write_gif("own.gif", pictures(5))
        Path("damaged.gif").write_bytes(Path("own.gif").read_bytes()[:300])
        Path("notes.txt").write_text("hello")
        for folder in ("empty", "taken.gif"):
            Path(folder).mkdir()
        before = names(here)
        assert re.search(said, scd("-o", "new/out.gif", *arguments, bad=True).stderr)
        assert names(here) == before

    def test_a_picture_model(self, scd: Any, here: Path, tiny_emoji: Path) -> None:
        stderr = scd("maze", model=tiny_emoji, bad=True).stderr
        assert "is a picture model (emoji), and this command continues clips: use scd generate PROMPT" in stderr
        assert names(here) == set()

    def test_a_video_model_where_pictures_are_drawn(self, run: Any, here: Path, tiny_doom: Path) -> None:
        for verb in ("generate", "compare"):
            stderr = run(verb, "a cat", model=tiny_doom, bad=True).stderr
            assert f"use scd video CONTEXT --model {tiny_doom}" in stderr

    def test_without_the_extra(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda name: None)
        Path("film.mp4").write_bytes(b"")
        for arguments in (["maze", "-o", "out.mp4"], ["film.mp4"]):
            assert "needs av: pip install 'coupled-decoding[video]'" in scd(*arguments, bad=True).stderr
        assert names(here) == {"film.mp4"}

    def test_a_full_disk_leaves_nothing(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fill(image: Image.Image, file: Any, **how: Any) -> None:
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", fill)
        assert "cannot write 'out.gif': No space left on device" in scd("maze", "--num-frames", 1, "-o", "out.gif",
                                                                        bad=True).stderr
        assert "cannot write 'so-far.png': No space left" in scd("maze", "--preview", "so-far.png", bad=True).stderr
        assert names(here) == set()

    def test_interrupted(self, tiny_doom: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("coupled_decoding.apps.progress.DecodingBar.__call__", stop)
        done = CliRunner().invoke(app, ["video", "maze", "--model", str(tiny_doom), "-o", "new/out.gif"])
        assert done.exit_code == 130
        assert done.stderr.endswith("\nscd: interrupted, no file is half-written\n")
        assert names(here) == set()


class TestCosmos:
    """A family whose frames need programs, at a tiny size."""

    def test_programs_run_only_where_they_are_allowed(self, run: Any, here: Path, checkpoints: Path) -> None:
        folder = checkpoints / "4b/Cosmos-4b"
        write_gif("own.gif", pictures(9, (96, 64)), duration=40)
        stderr = run("video", "own.gif", model=folder, bad=True).stderr
        assert "TorchScript files, which are programs and run with your rights: give --allow-torchscript" in stderr
        result = run("video", "own.gif", "--allow-torchscript", "--num-frames", 8, "--seed", 1, "--json", model=folder)
        document = json.loads(result.stdout)
        assert (document["context_frames"], document["frames"], document["frames_per_second"]) == (9, 17, 25.0)
        assert notes(result) == ["96x64 frames are scaled to 48x32"]

    def test_a_context_ends_where_the_family_lets_it(self, run: Any, here: Path, checkpoints: Path) -> None:
        """Of five frames the first; a number asked for and there is refused; and a text is read."""
        write_gif("own.gif", pictures(5, (48, 32)), duration=40)
        go_on = partial(run, "video", "own.gif", "--allow-torchscript", "--num-frames", 8)
        result = go_on(model=checkpoints / "4b/Cosmos-4b")
        assert notes(result) == ["own.gif has 5 frames from frame 0 on: 1 and not 9 are the context"]
        stderr = go_on("--context-frames", 5, model=checkpoints / "4b/Cosmos-4b", bad=True).stderr
        assert "5 frames: in cosmos-1 a context or a clip ends after 1, 9, 17" in stderr
        document = json.loads(go_on("--prompt", "a cat", "--json", model=checkpoints / "5b/Cosmos-5b").stdout)
        assert document["prompt"] == "a cat"


def test_help_names_every_example() -> None:
    done = CliRunner().invoke(app, ["video", "--help"])
    assert done.exit_code == 0
    assert f"Built-in examples: {', '.join(examples())}." in done.stdout
