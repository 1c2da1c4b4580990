"""What goes in and what comes out: inputs that stay, prompts that are named, names that are free, metadata."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coupled_decoding.apps.prompts import read_prompts
from coupled_decoding.serving.session import TransformersSession
from tests.apps.helpers import names


@pytest.fixture
def scd(run: Any, tiny_emoji: Path) -> Any:
    """Runs a command on the tiny model in an empty folder; ``bad=True`` where it must refuse."""
    return partial(run, model=tiny_emoji)


@pytest.fixture
def no_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """No prompt is read in, so nothing is computed."""
    monkeypatch.setattr(TransformersSession, "__init__", lambda *_, **__: pytest.fail("a forward was taken"))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coupled_decoding.from_pretrained", lambda *_, **__: pytest.fail("weights were read"))


def frames(folder: str, kind: str) -> list[str]:
    """A folder of three frames."""
    Path(folder).mkdir()
    files = [f"{folder}/frame{number}.{kind}" for number in range(1, 4)]
    for file in files:
        Image.new("RGB", (16, 16), (99, 99, 99)).save(file)
    return files


class TestInputsStay:
    @pytest.mark.parametrize(("kind", "option"), [("gif", "-o"), ("png", "--preview")])
    @pytest.mark.parametrize("path", ["ctx/frame2.{}", "./ctx/../ctx/frame2.{}", "hard.{}", "soft.{}"])
    def test_frames_of_a_context(
        self, run: Any, here: Path, tiny_doom: Path, kind: str, option: str, path: str
    ) -> None:
        """By whatever name they are reached."""
        files = frames("ctx", kind)
        Path(f"hard.{kind}").hardlink_to(files[1])
        Path(f"soft.{kind}").symlink_to(files[1])
        before = {file: Path(file).read_bytes() for file in files}
        output = path.format(kind)
        said = run("video", "ctx/", option, output, model=tiny_doom, bad=True).stderr
        assert f"{str(Path(output))!r} is a frame of the context, and would be written over" in said
        assert {file: Path(file).read_bytes() for file in files} == before

    def test_a_further_file_beside_the_frames_is_written(self, run: Any, here: Path, tiny_doom: Path) -> None:
        before = frames("ctx", "gif")
        run("video", "ctx", "-o", "ctx/out.gif", "--num-frames", 1, model=tiny_doom)
        assert names(here) == {"ctx", *before, "ctx/out.gif"}

    def test_a_file_of_the_model(self, scd: Any, here: Path, tmp_path_factory: Any, tiny_emoji: Path) -> None:
        folder = tmp_path_factory.mktemp("own") / "model"
        shutil.copytree(tiny_emoji, folder)
        (folder / "card.png").write_bytes(b"a picture")
        said = scd("compare", "a cat", "-o", folder / "card.png", model=folder, bad=True).stderr
        assert "is a file of the model, and would be written over: give another file" in said
        assert (folder / "card.png").read_bytes() == b"a picture"

    @pytest.mark.parametrize("name", ["report.md", "results.csv", "window.png"])
    def test_prompts_of_a_benchmark(self, scd: Any, here: Path, name: str) -> None:
        Path("bench").mkdir()
        Path(f"bench/{name}").write_text("a cat\n")
        said = scd("bench", "--prompts", f"bench/{name}", bad=True).stderr
        assert f"'bench/{name}' is the file of prompts, and would be written over" in said
        assert Path(f"bench/{name}").read_text() == "a cat\n"

    def test_prompts_of_pictures(self, scd: Any, here: Path) -> None:
        Path("out").mkdir()
        Path("out/contact-sheet.png").write_text("a cat\na dog\n")
        said = scd("generate", "--prompts", "out/contact-sheet.png", bad=True).stderr
        assert "is the file of prompts" in said
        assert Path("out/contact-sheet.png").read_text() == "a cat\na dog\n"


class TestPrompts:
    LONG = "a long prompt " * 9

    @pytest.mark.parametrize("batch", [[], ["--batch", 2]])
    def test_the_line_is_named_before_anything_is_drawn(
        self, scd: Any, here: Path, no_forward: None, batch: list[object]
    ) -> None:
        Path("prompts.txt").write_text(f"a cat\n\na dog\na bird\n{self.LONG}\n")
        said = scd("generate", "--prompts", "prompts.txt", *batch, bad=True).stderr
        assert re.search(r"line 5 of 'prompts.txt': the prompt 'a long .*' has \d+ tokens: the model reads 34", said)
        assert names(here) == {"prompts.txt"}

    def test_other_verbs_name_it_too(self, scd: Any, here: Path, no_forward: None) -> None:
        Path("prompts.txt").write_text(f"a cat\n{self.LONG}\n")
        assert "line 2 of 'prompts.txt': the prompt" in scd("bench", "--prompts", "prompts.txt", bad=True).stderr
        assert "prompt 2: the prompt" in scd("compare", "a cat", self.LONG, bad=True).stderr
        assert "prompt 2: the prompt" in scd("generate", "a cat", self.LONG, bad=True).stderr
        assert names(here) == {"prompts.txt"}

    @pytest.mark.parametrize("mark", ["\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"])
    def test_lines_end_at_line_feeds_only(self, here: Path, mark: str) -> None:
        Path("prompts.txt").write_bytes(f"a cat{mark}on a mat\r\na dog\n".encode())
        assert [prompt.text for prompt in read_prompts(Path("prompts.txt"))] == [f"a cat{mark}on a mat", "a dog"]

    def test_a_form_feed_is_one_picture(self, scd: Any, here: Path) -> None:
        Path("prompts.txt").write_text("a cat\fon a mat\n")
        document = json.loads(scd("generate", "--prompts", "prompts.txt", "--json").stdout)
        assert document["prompts"] == ["a cat\fon a mat"]

    @pytest.mark.parametrize("verb", ["generate", "compare"])
    def test_a_size_is_refused_before_weights_are_read(
        self, scd: Any, here: Path, no_weights: None, verb: str
    ) -> None:
        said = scd(verb, "a cat", "--size", "256x16", bad=True).stderr
        assert "size is 256x16: emoji makes pictures of 16x16" in said
        assert names(here) == set()


class TestNames:
    def test_other_settings_have_another_name(self, scd: Any, here: Path) -> None:
        """A word says so; the earlier files stay, and the same settings have the same files again."""
        first = scd("generate", "a cat", "a dog", "--seed", 7)
        before = {file: Path(file).read_bytes() for file in first.stdout.splitlines()[:3]}
        for _ in range(2):
            again = scd("generate", "a cat", "a dog", "--seed", 7, "--guidance", 3)
            files = again.stdout.splitlines()[:3]
            assert files == ["out/a-cat-seed7-2.png", "out/a-dog-seed8-2.png", "out/contact-sheet-2.png"]
            assert "scd: note: 'out/a-cat-seed7.png' holds something else, and stays: this picture is " in again.stderr
            assert Image.open(files[0]).text["guidance_scale"] == "3.0"
        same = scd("generate", "a cat", "a dog", "--seed", 7)
        assert (same.stdout.splitlines()[:3], same.stderr) == (list(before), "")
        assert {file: Path(file).read_bytes() for file in before} == before
        assert len(names(Path("out"))) == 6

    def test_prompts_that_share_a_name(self, scd: Any, here: Path) -> None:
        scd("generate", "Polish", "--seed", 7)
        document = json.loads(scd("generate", "polish", "--seed", 7, "--json").stdout)
        assert document["files"] == ["out/polish-seed7-2.png"]
        assert [Image.open(f"out/polish-seed7{end}.png").text["prompt"] for end in ("", "-2")] == ["Polish", "polish"]

    def test_batches_too(self, scd: Any, here: Path) -> None:
        scd("generate", "a cat", "--seed", 7)
        scd("generate", "a cat", "--seed", 7, "--temperature", 0.5, "--batch", 1)
        assert names(Path("out")) == {"a-cat-seed7.png", "a-cat-seed7-2.png"}

    def test_a_file_of_somebody_else_stays(self, scd: Any, here: Path) -> None:
        Path("out").mkdir()
        Path("out/a-cat-seed7.png").write_text("notes")
        scd("generate", "a cat", "--seed", 7)
        assert Path("out/a-cat-seed7.png").read_text() == "notes"

    def test_names_that_nobody_gave(self, scd: Any, run: Any, here: Path, tiny_doom: Path) -> None:
        """Comparisons and clips; a file that is named is the file that is written."""
        for _ in range(2):
            scd("compare", "a cat")
            run("video", "maze", "--num-frames", 1, model=tiny_doom)
            run("video", "maze", "--num-frames", 1, "-o", "own.gif", model=tiny_doom)
        assert names(here) == {"compare.png", "compare-2.png", "clip.gif", "clip-2.gif", "own.gif"}


class TestMetadata:
    def test_a_compared_sheet_says_what_draws_it_again(self, scd: Any, here: Path) -> None:
        scd("compare", "a cat", "a dog", "-n", 2, "--seed", 7, "--window", 5, "--predict", "--branches", 4,
            "--first-guess", "above", "--guidance", 2, "--temperature", 0.9, "--dtype", "float64", "-o", "one.png")
        said = Image.open("one.png").text
        methods = {one["method"]: one for one in json.loads(said["methods"])}
        assert list(methods) == ["AR", "SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"]
        both = {**said, **methods["SCD-gumbel"]}
        assert both.items() >= {"window": "5", "first_guess": "above", "predict": "True", "branches": "4",
                                "coupling": "gumbel"}.items()
        assert methods["SJD"]["window"] == "5"
        again = [*json.loads(said["prompts"]), "--seed", json.loads(said["seeds"])[0]]
        for name in ("window", "first_guess", "branches", "guidance_scale", "temperature", "dtype"):
            again += [f"--{name.removesuffix('_scale').replace('_', '-')}", both[name]]
        scd("compare", *again, "--predict", "-o", "two.png")
        assert Path("one.png").read_bytes() == Path("two.png").read_bytes()

    def test_a_compared_film_too(self, run: Any, here: Path, tiny_doom: Path) -> None:
        run("video", "maze", "--compare", "--num-frames", 2, "--seed", 7, "--window", 5, "-o", "a.gif", model=tiny_doom)
        with Image.open("a.gif") as picture:
            said = json.loads(picture.info["comment"])
        first, *others = json.loads(said["methods"])
        assert first["method"] == "AR"
        assert [(one["method"], one["window"]) for one in others] == [
            ("SJD", "5"), ("SCD-maximal", "5"), ("SCD-gumbel", "5"), ("SeedExact", "5")]

    @pytest.mark.parametrize("name", [".", "./", "../tiny"])
    def test_a_folder_has_its_own_name(self, run: Any, here: Path, tmp_path_factory: Any, tiny_emoji: Path,
                                       monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        folder = tmp_path_factory.mktemp("models") / "tiny"
        shutil.copytree(tiny_emoji, folder)
        monkeypatch.chdir(folder)
        document = json.loads(run("generate", "a cat", "--json", "-o", here / "out", model=name).stdout)
        assert document["model"] == "tiny"
        assert Image.open(document["files"][0]).text["model"] == "tiny"


class TestModelsThatAreNone:
    @pytest.mark.parametrize(("name", "said"), [
        ("", "the model is '', which names none: give a shipped one (emoji, doom), a folder, or an id"),
        (" ", "the model is ' ', which names none"),
        ("./nope", "there is no folder './nope': give a shipped one"),
        ("../nope", "there is no folder '../nope'"),
        ("/nope", "there is no folder '/nope'"),
        ("~/nope", "there is no folder '~/nope'"),
        ("nope/", "there is no folder 'nope/'"),
        (".nope/it", "there is no folder '.nope/it'"),
        ("nope", "there is no model 'nope'"),
        ("a/b/c", "there is no model 'a/b/c'"),
        ("-nope/it--this", "there is no folder '-nope/it--this', and it is no id on the hub"),
        ("x" * 300, "there is no model 'xxx"),
        ("notes.txt", "the model 'notes.txt' is a file: give a shipped one"),
    ])
    @pytest.mark.parametrize("verb", ["generate", "compare", "video", "bench"])
    def test_one_sentence(self, run: Any, here: Path, verb: str, name: str, said: str) -> None:
        Path("notes.txt").write_text("hello")
        arguments = {"video": ["maze"], "bench": []}.get(verb, ["a cat"])
        assert said in run(verb, *arguments, f"--model={name}", model="emoji", bad=True).stderr
        assert names(here) == {"notes.txt"}

    @pytest.mark.parametrize("device", [
        "meta", "meta:0", "cpu:5x", "xla", "lazy", "vulkan", "privateuseone", "hip", "",
    ])
    def test_devices_that_cannot_be_used(self, scd: Any, here: Path, device: str) -> None:
        said = scd("generate", "a cat", "--device", device, bad=True).stderr
        assert f"device {device!r} cannot be used: " in said
        assert names(here) == set()
