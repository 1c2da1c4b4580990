"""The command line: what it writes, what it prints, and how it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import coupled_decoding as cd
from coupled_decoding.apps.cli import app
from coupled_decoding.apps.measured import sameness
from coupled_decoding.apps.output import file_name
from coupled_decoding.apps.progress import DecodingBar, pictures_as_done
from coupled_decoding.media.pictures import save_png
from coupled_decoding.models.registry import FAMILIES
from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures
from coupled_decoding.serving.session import TransformersSession
from tests.apps.helpers import names
from tests.models.families.test_janus import write_original

TOKENS = 16
"""Of a picture of the tiny model."""


@pytest.fixture
def scd(run: Any, tiny_emoji: Path) -> Any:
    """Runs a command on the tiny model in an empty folder; ``bad=True`` where it must refuse."""
    return partial(run, model=tiny_emoji)


class TestGenerate:
    def test_writes_a_file_a_picture_and_a_contact_sheet(self, scd: Any, here: Path) -> None:
        result = scd("generate", "a red heart", "a cat", "-n", 2, "--seed", 7, "-o", "deep/out")
        files = [f"deep/out/a-red-heart-seed{seed}.png" for seed in (7, 8)]
        files += [f"deep/out/a-cat-seed{seed}.png" for seed in (9, 10)]
        files.append("deep/out/contact-sheet.png")
        assert names(here) == {"deep", "deep/out", *files}
        *listed, last = result.stdout.splitlines()
        assert listed == files
        nfe, length, speedup = re.fullmatch(
            r"SCD-gumbel, window 64: NFE (\S+) for (\d+) tokens, (\S+)x fewer forwards than AR, \d+\.\d s", last
        ).groups()
        assert int(length) == TOKENS
        assert float(speedup) == pytest.approx(TOKENS / float(nfe), abs=0.05)

    def test_metadata_reproduces_the_picture(self, scd: Any) -> None:
        scd("generate", "a cat ❤", "-n", 2, "--seed", 7, "--method", "sjd", "--window", 5, "--first-guess", "above",
            "--temperature", 0.9, "--guidance", 2, "-o", "out")
        second = next(Path("out").glob("*seed8.png"))
        said = Image.open(second).text
        expected = {"prompt": "a cat ❤", "seed": "8", "method": "SJD", "window": "5", "first_guess": "above",
                    "temperature": "0.9", "guidance_scale": "2.0", "dtype": "float32", "noise": cd.NOISE_VERSION}
        assert said.items() >= expected.items()
        scd("generate", said["prompt"], "--seed", said["seed"], "--method", "sjd", "--window", said["window"],
            "--first-guess", said["first_guess"], "--temperature", said["temperature"], "--guidance",
            said["guidance_scale"], "-o", "again")
        assert (Path("again") / second.name).read_bytes() == second.read_bytes()
        sheet = Image.open("out/contact-sheet.png").text
        assert json.loads(sheet["prompts"]) == ["a cat ❤"] * 2
        assert json.loads(sheet["seeds"]) == [7, 8]
        assert sheet["method"] == "SJD"
        assert "seed" not in sheet

    def test_json_is_the_only_thing_on_standard_output(self, scd: Any) -> None:
        document = json.loads(scd("generate", "a red heart", "ein Herz ❤", "--seed", 7, "-o", "out", "--json").stdout)
        assert all(Path(file).is_file() for file in [*document["files"], document["contact_sheet"]])
        assert document["prompts"] == ["a red heart", "ein Herz ❤"]
        assert document["seeds"] == [7, 8]
        assert document["model"] == "tiny-emoji"
        assert document["method"] == {
            "name": "SCD-gumbel", "window": 64, "first_guess": "uniform", "coupling": "gumbel", "predict": False,
            "branches": 0,
        }
        assert document["tokens_each"] == TOKENS
        assert len(document["nfe"]) == 2
        assert document["speedup_in_forwards"] == pytest.approx(2 * TOKENS / sum(document["nfe"]))
        assert document["seconds"] == pytest.approx(document["seconds_model"] + document["seconds_outside"])
        assert document["versions"]["noise"] == cd.NOISE_VERSION

    def test_one_picture_has_no_contact_sheet(self, scd: Any, here: Path) -> None:
        document = json.loads(scd("generate", "a cat", "--seed", 0, "--json").stdout)
        assert document["contact_sheet"] is None
        assert names(here) == {"out", "out/a-cat-seed0.png"}

    def test_drawn_seed_is_printed_and_gives_the_picture_again(self, scd: Any) -> None:
        first = scd("generate", "a cat", "-o", "one").stdout
        seed = re.search(r"^seed (\d+), drawn", first, re.MULTILINE).group(1)
        again = scd("generate", "a cat", "-o", "two", "--seed", seed).stdout
        assert "drawn" not in again
        one, two = (Path(folder) / f"a-cat-seed{seed}.png" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()

    @pytest.mark.parametrize(("arguments", "method"), [
        (["--method", "ar"], {"name": "AR", "window": 1}),
        (["--method", "sjd"], {"name": "SJD", "window": 64}),
        (["--method", "scd-maximal", "--window", 3], {"name": "SCD-maximal", "window": 3, "coupling": "maximal"}),
        (["--method", "seed-exact", "--first-guess", "repeat"], {"name": "SeedExact", "first_guess": "repeat"}),
        (["--method", "seed-exact", "--window", "auto"], {"name": "SeedExact", "window": "auto"}),
    ])
    def test_methods(self, scd: Any, arguments: list[object], method: dict[str, object]) -> None:
        document = json.loads(scd("generate", "a cat", "--seed", 1, "--json", *arguments).stdout)
        assert document["method"].items() >= method.items()
        assert (document["nfe"] == [TOKENS]) == (method["name"] == "AR")

    def test_options_reach_the_decoder(self, scd: Any) -> None:
        greedy = [json.loads(scd("generate", "a cat", "--json", "--method", "ar", "--seed", seed, *arguments).stdout)
                  for seed, arguments in [(1, ["--temperature", 0]), (2, ["--top-k", 1]), (3, ["--top-p", 1e-6])]]
        assert len({Image.open(one["files"][0]).tobytes() for one in greedy}) == 1
        assert [one["sampling"]["top_k"] for one in greedy] == [None, 1, None]
        double = json.loads(scd("generate", "a cat", "--json", "--dtype", "float64", "--device", "cpu").stdout)
        assert double["dtype"] == "float64"


class TestBatches:
    """``--batch``, and prompts from a file."""

    PROMPTS = ("a red heart", "a cat")
    ASKED = (*PROMPTS, "-n", 3, "--seed", 7, "--guidance", 2, "--window", 5, "--dtype", "float64")

    @pytest.mark.parametrize("batch", [1, 4, 9])
    @pytest.mark.parametrize("method", [[], ["--method", "seed-exact", "--predict", "--branches", 4]])
    def test_files_are_those_drawn_together(self, scd: Any, here: Path, batch: int, method: list[object]) -> None:
        """Byte for byte, names and metadata included; only the contact sheet is missing."""
        together = scd("generate", *self.ASKED, *method, "-o", "together").stdout.splitlines()
        batched = scd("generate", *self.ASKED, *method, "-o", "batched", "--batch", batch).stdout.splitlines()
        assert len(names(Path("batched"))) == 6
        assert names(Path("together")) == {*names(Path("batched")), "contact-sheet.png"}
        for name in names(Path("batched")):
            assert (Path("batched") / name).read_bytes() == (Path("together") / name).read_bytes()
        assert batched[:-1] == [file.replace("together", "batched") for file in together[:-2]]
        assert without_seconds(batched[-1]) == without_seconds(together[-1])

    def test_an_interruption_leaves_what_is_done(
        self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two pictures are done, whichever they are: both are there, whole, and nothing else."""
        many = PicturePipeline.generate_many
        done: list[int] = []

        def interrupted(*arguments: Any, **how: Any) -> Iterator[tuple[int, Pictures]]:
            for number, picture in islice(many(*arguments, **how), 2):
                done.append(number)
                yield number, picture
            raise KeyboardInterrupt

        scd("generate", *self.ASKED, "-o", "whole")
        monkeypatch.setattr(PicturePipeline, "generate_many", interrupted)
        model = scd.keywords["model"]
        stopped = CliRunner().invoke(
            app, ["generate", "--model", str(model), *map(str, self.ASKED), "-o", "out", "--batch", "3"])
        assert stopped.exit_code == 130
        assert (stopped.stdout, stopped.stderr) == ("", "scd: interrupted, no file is half-written\n")
        assert names(Path("out")) == {file_name(self.PROMPTS[number // 3], 7 + number) for number in done}
        assert len(done) == 2
        for name in names(Path("out")):
            assert (Path("out") / name).read_bytes() == (Path("whole") / name).read_bytes()

    def test_full_disk_leaves_what_is_done(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of four pictures drawn one after another the third cannot be written, and the fourth is not drawn."""
        written: list[str] = []

        def fill(image: Image.Image, file: Path, metadata: dict[str, str]) -> None:
            if len(written) == 2:
                raise OSError(28, "No space left on device")
            written.append(file.name)
            save_png(image, file, metadata)

        monkeypatch.setattr("coupled_decoding.media.pictures.save_png", fill)
        said = scd("generate", "a cat", "-n", 4, "--seed", 7, "--batch", 1, bad=True).stderr
        assert "cannot write 'out/a-cat-seed9.png': No space left on device" in said
        assert names(Path("out")) == {"a-cat-seed7.png", "a-cat-seed8.png"} == set(written)

    def test_json_has_the_seconds_of_the_clock_only(self, scd: Any) -> None:
        """Pictures share forwards, so none has seconds in the model of its own; all else is as without batches."""
        together, batched = (json.loads(scd("generate", *self.ASKED, "--json", *batch).stdout)
                             for batch in ([], ["--batch", 2]))
        assert batched.pop("seconds") > 0
        assert batched.pop("contact_sheet") is None
        assert batched == {key: value for key, value in together.items()
                           if not key.startswith("seconds") and key != "contact_sheet"}

    def test_prompts_of_a_file_follow_those_given(self, scd: Any) -> None:
        Path("prompts.txt").write_text("a cat\n\n  ein Herz ❤  \n", encoding="utf-8-sig")  # as some editors do
        for typed, expected in ([], ["a cat", "ein Herz ❤"]), (["pizza"], ["pizza", "a cat", "ein Herz ❤"]):
            document = json.loads(scd("generate", *typed, "--prompts", "prompts.txt", "--seed", 7, "--json").stdout)
            assert document["prompts"] == expected
            assert document["files"] == [f"out/{file_name(prompt, 7 + n)}" for n, prompt in enumerate(expected)]
            assert [Image.open(file).text["prompt"] for file in document["files"]] == expected

    @pytest.mark.parametrize(("arguments", "said"), [
        ([], "no prompt is given: say in quotes what to draw, or give a text file of prompts with --prompts"),
        (["--prompts", "none.txt"], "cannot read the prompts in 'none.txt': No such file"),
        (["a cat", "--prompts", "empty.txt"], "'empty.txt' holds no prompts: write one per line"),
        (["a cat", "--batch", 0], "'--batch'.*: 0 is given: expected a number of at least 1"),
        (["a cat", "--batch", 2, "--seed", 2**63], "seed is 9223372036854775808"),
        (["a cat", "--batch", 2, "--size", "32x64"], "size is 32x64: emoji makes pictures of 16x16"),
        (["a long prompt" * 9, "--batch", 2], "tokens: the model reads"),
    ])
    def test_refusals(self, scd: Any, here: Path, arguments: list[object], said: str) -> None:
        Path("empty.txt").write_text("\n \n")
        assert re.search(said, scd("generate", *arguments, "-o", "new/out", bad=True).stderr)
        assert names(here) == {"empty.txt"}

    def test_a_model_that_cannot_be_refilled_is_refused(
        self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TransformersSession, "refills", False)
        said = "cannot give its rows other prompts, which an engine needs"
        assert said in scd("generate", "a cat", "--batch", 2, bad=True).stderr
        assert names(here) == set()


def without_seconds(summary: str) -> str:
    return re.sub(r"\d+\.\d s$", "", summary)


class TestCompare:
    ARGUMENTS = ("a red heart", "a cat", "-n", 2, "--seed", 7, "--window", 5)

    def test_table_and_picture(self, scd: Any, here: Path) -> None:
        head, _rule, *rows, note, file = scd("compare", *self.ARGUMENTS).stdout.splitlines()
        assert head.split() == ["method", "NFE", "AR/NFE", "seconds", "AR/seconds"]
        assert [row.split()[0] for row in rows] == ["AR", "SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"]
        ar = rows[0].split()
        assert (ar[1], ar[2], ar[4]) == (f"{TOKENS}.0", "1.00x", "1.00x")
        assert note == "AR and SeedExact drew the same pictures, token for token."
        assert file == "compare.png"
        assert names(here) == {"compare.png"}
        picture = Image.open("compare.png")
        assert picture.width > 5 * 256
        assert picture.height > 4 * 256
        assert json.loads(picture.text["seeds"]) == [7, 8, 9, 10]
        assert "method" not in picture.text

    def test_json(self, scd: Any) -> None:
        document = json.loads(scd("compare", *self.ARGUMENTS, "-o", "new/one.png", "--json").stdout)
        assert Path(document["file"]).is_file()
        assert document["same_pictures_by_ar_and_seed_exact"] == 4
        assert document["seeds"] == [7, 8, 9, 10]
        assert [one["method"]["window"] for one in document["methods"]] == [1, 5, 5, 5, 5]
        ar = document["methods"][0]
        for one in document["methods"]:
            assert one["nfe_mean"] == sum(one["nfe"]) / 4
            assert one["speedup_in_forwards"] == pytest.approx(ar["nfe_mean"] / one["nfe_mean"])
            assert one["speedup_in_seconds"] == pytest.approx(ar["seconds"] / one["seconds"])

    def test_pictures_are_those_that_generate_writes(self, scd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = {}
        monkeypatch.setattr("coupled_decoding.apps.sheets.pictures.comparison", lambda columns, rows: drawn.update(
            {column.name: column.pictures for column in columns}) or Image.new("RGB", (1, 1)))
        scd("compare", *self.ARGUMENTS)
        for name, chosen in {"SJD": ["--method", "sjd"], "SCD-maximal": ["--method", "scd-maximal"]}.items():
            files = json.loads(scd("generate", *self.ARGUMENTS, *chosen, "--json").stdout)["files"]
            assert [Image.open(file).tobytes() for file in files] == [picture.tobytes() for picture in drawn[name]]

    def test_names_what_is_not_as_published(self, scd: Any) -> None:
        *rows, note, _file = scd("compare", *self.ARGUMENTS, "--predict", "--branches", 4).stdout.splitlines()[2:]
        assert [re.split(r"\s{2,}", row)[0] for row in rows] == [
            "AR", "SJD", "SCD-maximal +predict", "SCD-gumbel +predict +4", "SeedExact +predict +4",
        ]
        assert note == "AR and SeedExact drew the same pictures, token for token."

    def test_says_so_when_rounding_decided(self) -> None:
        assert "in 3 of 4 cases" in sameness(3, 4)


class TestBadInput:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["--method", "foo"], "'foo' is not one of 'ar', 'sjd', 'scd-maximal'"),
        (["--method", "scd"], "'scd' is not one of 'ar'"),
        (["--coupling", "maximal"], "--coupling"),
        (["--first-guess", "foo"], "'foo' is not one of 'uniform'"),
        (["--dtype", "int8"], "'int8' is not one of 'float64'"),
        (["--device", "abacus"], "abacus"),
        (["--window", 0], "'--window'.*: 0 is given: expected a number of at least 1"),
        (["--window", "wide"], "'wide' is given: expected a whole number of at least 1, or auto"),
        (["--window", "auto"], "window is 'auto'"),
        (["--window", "auto", "--method", "ar"], "window means nothing to ar, which takes no options: leave it out"),
        (["--window", 2**31], "'--window'.*: 2147483648 is given: expected a number of at most 2147483647"),
        (["--window", "9" * 200], "is given: expected a whole number"),
        (["--branches", 2**63, "--method", "seed-exact"], "expected a number of at most 4096"),
        (["--first-guess", "previous-frame"], "--first-guess previous-frame says nothing about pictures"),
        (["-n", 10**12], "'-n'.*: 1000000000000 is given: expected a number of at most 1000000"),
        (["--window", "auto", "--method", "seed-exact", "--branches", 4], "branches is 4 with window='auto'"),
        (["--top-k", 0], "'--top-k'.*: 0 is given"),
        (["--top-p", 0], "'--top-p'.*: 0.0 is given: expected a number above 0 and at most 1"),
        (["--top-p", 1.5], "1.5 is given"),
        (["--top-p", "nan"], "nan is given"),
        (["--temperature", -1], "'--temperature'.*: -1.0 is given"),
        (["--temperature", "inf"], "inf is given"),
        (["--guidance", "nan"], "'--guidance'.*: nan is given"),
        (["--seed", -1], "'--seed'.*: -1 is given"),
        (["--seed", 2**63], "seed is 9223372036854775808"),
        (["-n", 0], "'-n'.*: 0 is given"),
        (["--window", 2, "--method", "ar"], "window means nothing to ar"),
        (["--predict", "--method", "ar"], "predict means nothing to ar"),
        (["--branches", 4, "--method", "sjd"], "branches means nothing to sjd, which takes window and first_guess"),
        (["--branches", 4, "--method", "scd-maximal"], "branches means nothing to scd-maximal"),
        (["--branches", -1], "-1 is given: expected a number of at least 0"),
        (["--first-guess", "above", "--method", "ar"], "first_guess means nothing to ar"),
        (["--size", "64"], "--size 64: expected a width and a height in pixels, such as 768x512"),
        (["--size", "0x64"], "--size 0x64"),
        (["--size", "32x64"], "size is 32x64: emoji makes pictures of 16x16"),
        (["--nonsense"], "--nonsense"),
        ([""], "prompt 2 is empty"),
        ([" \n"], "prompt 2 is empty"),
        (["not \udcff text"], "prompt 2 is not text"),
        (["a long prompt" * 9], "tokens: the model reads"),
    ])
    def test_generate(self, scd: Any, here: Path, arguments: list[object], said: str) -> None:
        assert re.search(said, scd("generate", "a cat", "-o", "new/out", *arguments, bad=True).stderr)
        assert names(here) == set()

    @pytest.mark.parametrize(("arguments", "said"), [
        (["a cat", "--window", 0], "--window"),
        (["a cat", "--top-p", 1.5], "--top-p"),
        (["a cat", "--first-guess", "foo"], "'foo' is not one of"),
        (["a cat", "--first-guess", "previous-frame"], "says nothing about pictures"),
        (["a cat", "--size", "32x64"], "size is 32x64: emoji makes pictures of 16x16"),
        (["a cat", "-o", "compare.jpg"], "'compare.jpg' does not end in .png"),
        (["a long prompt" * 9, "-o", "new/one.png"], "tokens: the model reads"),
        ([""], "prompt 1 is empty"),
        ([], "Missing argument"),
    ])
    def test_compare(self, scd: Any, here: Path, arguments: list[object], said: str) -> None:
        assert said in scd("compare", *arguments, bad=True).stderr
        assert names(here) == set()

    @pytest.mark.parametrize("verb", ["generate", "compare"])
    def test_unknown_model(self, scd: Any, here: Path, verb: str) -> None:
        assert "there is no model 'nonsense'" in scd(verb, "a cat", model="nonsense", bad=True).stderr
        assert names(here) == set()

    @pytest.mark.parametrize("file", ["model.safetensors", "vq/model.safetensors", "config.json"])
    def test_damaged_model(self, scd: Any, here: Path, tiny_emoji: Path, tmp_path_factory: Any, file: str) -> None:
        damaged = tmp_path_factory.mktemp("damaged") / "model"
        shutil.copytree(tiny_emoji, damaged)
        (damaged / file).write_bytes((damaged / file).read_bytes()[:-20])
        scd("generate", "a cat", model=damaged, bad=True)
        assert names(here) == set()

    @pytest.mark.parametrize(("damage", "said"), [
        (lambda folder: (folder / "pytorch_model-00002-of-00003.bin").unlink(), "lacks pytorch_model-00002-of-00003"),
        (lambda folder: torch.save({"x": Path("/")}, folder / "pytorch_model-00001-of-00003.bin"), "would run code"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llama"}'), "no checkpoint of a known"),
    ])
    def test_damaged_model_of_another_family(self, scd: Any, here: Path, tmp_path_factory: Any, damage: Any,
                                             said: str) -> None:
        folder = tmp_path_factory.mktemp("damaged") / "janus"
        write_original(folder, shards=3)
        damage(folder)
        assert said in scd("generate", "a cat", model=folder, bad=True).stderr
        assert names(here) == set()

    @pytest.mark.parametrize("folder", ["taken", "taken/deeper", "x" * 300])
    def test_useless_folder(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
        Path("taken").write_text("a file")
        monkeypatch.setattr(cd, "from_pretrained", lambda *_, **__: pytest.fail("the folder was to be checked first"))
        assert repr(folder) in scd("generate", "a cat", "-o", folder, bad=True).stderr
        scd("compare", "a cat", "-o", f"{folder}/one.png", bad=True)
        assert names(here) == {"taken"}

    def test_read_only_folder(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_: object) -> None:  # permissions do not stop root
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        said = "cannot write into the folder 'new/out': Permission denied"
        assert said in scd("generate", "a cat", "-o", "new/out", bad=True).stderr
        assert names(here) == set()

    def test_folders_in_the_place_of_files(self, scd: Any, here: Path) -> None:
        Path("out/a-cat-seed7.png").mkdir(parents=True)
        assert "'out/a-cat-seed7.png' is a folder" in scd("generate", "a cat", "--seed", 7, bad=True).stderr
        assert "is a folder" in scd("compare", "a cat", "-o", "out/a-cat-seed7.png", bad=True).stderr
        assert names(here) == {"out", "out/a-cat-seed7.png"}

    def test_full_disk_leaves_whole_files_only(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save, left = Image.Image.save, [1]

        def fill(image: Image.Image, file: Any, **how: Any) -> None:
            if not left:
                file.write(b"half")
                raise OSError(28, "No space left on device")
            left.pop()
            save(image, file, **how)

        monkeypatch.setattr(Image.Image, "save", fill)
        said = scd("generate", "a cat", "a dog", "--seed", 7, bad=True).stderr
        assert "cannot write 'out/a-dog-seed8.png': No space left on device" in said
        assert names(here) == {"out", "out/a-cat-seed7.png"}
        Image.open("out/a-cat-seed7.png").load()

    def test_mistakes_of_ours_are_not_hidden(self, scd: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cd, "from_pretrained", lambda *_, **__: [][1])
        with pytest.raises(IndexError):
            scd("generate", "a cat", "-o", "new/out")
        assert names(here) == set()


class TestProcess:
    """The console script in a process of its own."""

    @staticmethod
    def run(*arguments: object, prepare: str = "") -> subprocess.CompletedProcess[str]:
        program = f"import sys; from coupled_decoding.__main__ import main\n{prepare}\nsys.exit(main())"
        return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
                              timeout=300)

    def test_interrupt(self, here: Path, tiny_emoji: Path) -> None:
        signal_at_first_step = (
            "import os, signal\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background shell has it ignored
            "from coupled_decoding.apps.progress import DecodingBar\n"
            "DecodingBar.__call__ = lambda self, step: os.kill(os.getpid(), signal.SIGINT)"
        )
        done = self.run("generate", "a cat", "--model", tiny_emoji, "-o", "new/out", prepare=signal_at_first_step)
        assert done.returncode == 130
        assert done.stdout == ""
        assert done.stderr == "scd: interrupted, no file is half-written\n"
        assert names(here) == set()

    def test_bad_input(self, here: Path) -> None:
        done = self.run("compare", "a cat", "--window", 0)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"scd: error: .*'--window'.*: 0 is given: expected a number of at least 1\n", done.stderr)

    def test_version(self, here: Path) -> None:
        done = self.run("--version")
        assert re.fullmatch(r"scd \d+\.\d+\.\d+\S*\n", done.stdout)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["generate", "--help"], ["compare", "--help"]])
def test_help_shows_examples(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    verb = arguments[0] if len(arguments) == 2 else "generate"
    assert f'\n    scd {verb} "a red heart"' in result.stdout


class TestModels:
    def test_every_family_is_listed_with_its_defaults(self) -> None:
        listed = CliRunner().invoke(app, ["models"]).stdout
        documents = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
        assert [one["name"] for one in documents] == [family.name for family in FAMILIES]
        for one in documents:
            assert one["name"] in listed
            assert one["not_verified"] in listed
        assert "temperature 1, guidance 5" in listed

    def test_the_documentation_says_the_same(self) -> None:
        tables = CliRunner().invoke(app, ["models", "--markdown"]).stdout
        assert (Path(__file__).parents[2] / "docs/families.md").read_text().endswith("\n\n" + tables)


class TestFileName:
    def test_examples(self) -> None:
        assert file_name("a red heart", 7) == "a-red-heart-seed7.png"
        assert file_name(" A  Red heart", 7) == "a-red-heart-seed7.png"
        assert re.fullmatch(r"etc-passwd_[0-9a-f]{8}-seed7\.png", file_name("../../etc/passwd", 7))
        assert re.fullmatch(r"picture_[0-9a-f]{8}-seed7\.png", file_name("❤️", 7))
        assert len(file_name("word " * 500, 2**63 - 1)) < 100

    @given(st.text(), st.integers(0, 2**63 - 1))
    def test_safe_whatever_the_prompt(self, prompt: str, seed: int) -> None:
        name = file_name(prompt, seed)
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*(_[0-9a-f]{8})?-seed\d+\.png", name)
        assert len(name) < 100
        assert name != "contact-sheet.png"

    @given(st.lists(st.text("aA b-_.!7"), min_size=2, max_size=2), st.integers(0, 99))
    def test_different_prompts_have_different_names(self, prompts: list[str], seed: int) -> None:
        one, other = (" ".join(prompt.lower().split()) for prompt in prompts)
        assert (one == other) == (file_name(prompts[0], seed) == file_name(prompts[1], seed))

    def test_the_digest_cannot_be_typed(self) -> None:
        name = file_name("a cat!", 7)
        assert file_name(name.removesuffix("-seed7.png").replace("-", " ").replace("_", " "), 7) != name


class TestBar:
    def test_counts_pictures_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []
        terminal = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None, encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", terminal)
        pipe = SimpleNamespace(generate_many=lambda rows, **how: iter([(1, rows[1]), (0, rows[0])]))
        done = list(pictures_as_done(pipe, ["a cat", "a dog"], 2, method=cd.SJD(), size=None))
        assert done == [([1], "a dog"), ([0], "a cat")]
        last = "".join(written).strip().split("\r")[-1]
        assert re.match(r"SJD: 100%.* 2/2 .*picture", last)

    def test_counts_tokens_of_rows_that_take_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []
        terminal = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None, encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", terminal)
        with DecodingBar("SJD", 8) as bar:
            for committed in [3, 1], [4, 2], [4, 4]:  # the first row is finished after two steps
                assert bar(cd.Step(0, committed, [4, 4], 0, lambda: None)) is None
        last = "".join(written).strip().split("\r")[-1]
        assert last.startswith("SJD 100%")
        assert "8/8 tokens" in last
        assert "left, 1.6 tokens per step" in last

    def test_given_tokens_are_not_progress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two rows of three given and four drawn tokens; and listeners hear of every step."""
        written: list[str] = []
        heard: list[cd.Step] = []
        terminal = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None, encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", terminal)
        with DecodingBar("SJD", 8, [heard.append]) as bar:
            for committed in [5, 4], [7, 7]:
                bar(cd.Step(0, committed, [7, 7], 0, lambda: None))
        last = "".join(written).strip().split("\r")[-1]
        assert "8/8 tokens" in last
        assert "left, 2.0 tokens per step" in last
        assert [step.committed for step in heard] == [[5, 4], [7, 7]]
