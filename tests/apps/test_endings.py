"""How commands end badly, from outside: signals, too little memory, an output that takes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coupled_decoding.apps.errors import BadInput, lacks_memory, refusing
from coupled_decoding.apps.progress import DecodingBar
from coupled_decoding.pipelines.pictures import PicturePipeline
from tests.apps.helpers import names

KILL = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background shell ignores it
AT_FIRST_STEP = """
from coupled_decoding.apps.progress import DecodingBar
DecodingBar.__call__ = lambda self, step: os.kill(os.getpid(), signal.{0})
"""
AT_AN_IMPORT = """
class Finder:
    def find_spec(self, name, *_):
        if name == "{1}":
            os.kill(os.getpid(), signal.{0})
sys.meta_path.insert(0, Finder())
"""
IN_A_CALLBACK_OF_AN_IMPORT = """
import weakref
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            one = type("One", (), {{}})()
            weakref.finalize(one, os.kill, os.getpid(), signal.{0})
            del one
sys.meta_path.insert(0, Finder())
"""
WHILE_WRITING = """
from PIL import Image
def save(self, file, **how):
    file.write(b"half")
    os.kill(os.getpid(), signal.{0})
    file.write(b"the other half")
Image.Image.save = save
import coupled_decoding.atomic, pathlib
touch = pathlib.Path.touch
def slow(self, **how):
    touch(self, **how)
    os.kill(os.getpid(), signal.{0})
pathlib.Path.touch = slow
"""
SENTENCES = {"SIGINT": "scd: interrupted, no file is half-written\n",
             "SIGTERM": "scd: terminated, no file is half-written\n",
             "SIGHUP": "scd: terminated, no file is half-written\n"}


def scd(*arguments: object, prepare: str = "", **how: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; ``prepare`` runs before it."""
    program = f"import sys\n{prepare}\nfrom coupled_decoding.__main__ import main\nsys.exit(main())"
    how = {"stdout": subprocess.PIPE, **how}
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], stderr=subprocess.PIPE, text=True,
                          timeout=300, **how)


class TestSignals:
    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    @pytest.mark.parametrize("moment", [
        AT_FIRST_STEP, AT_AN_IMPORT.replace("{1}", "torch"), AT_AN_IMPORT.replace("{1}", "typer"),
        IN_A_CALLBACK_OF_AN_IMPORT, WHILE_WRITING,
    ], ids=["decoding", "importing torch", "importing typer", "in a callback", "writing"])
    def test_one_sentence_and_nothing_left(self, here: Path, tiny_emoji: Path, name: str, moment: str) -> None:
        done = scd("generate", "a cat", "--model", tiny_emoji, "-o", "new/out", prepare=KILL + moment.format(name))
        assert (done.stdout, done.stderr) == ("", SENTENCES[name])
        assert done.returncode == 128 + getattr(signal, name)
        assert names(here) == set()

    @pytest.mark.parametrize("arguments", [["compare", "a cat", "-o", "new/a.png"]])
    def test_of_other_verbs(self, here: Path, tiny_emoji: Path, arguments: list[str]) -> None:
        done = scd(*arguments, "--model", tiny_emoji, prepare=KILL + WHILE_WRITING.format("SIGTERM"))
        assert (done.stderr, done.returncode) == (SENTENCES["SIGTERM"], 143)
        assert names(here) == set()

    def test_of_a_film(self, here: Path, tiny_doom: Path) -> None:
        done = scd("video", "maze", "--num-frames", 1, "--model", tiny_doom, "-o", "new/a.gif",
                   prepare=KILL + WHILE_WRITING.format("SIGTERM"))
        assert done.stderr == "scd: note: 64x64 frames are scaled to 16x16\n" + SENTENCES["SIGTERM"]
        assert done.returncode == 143
        assert names(here) == set()

    def test_what_is_ignored_stays_ignored(self, here: Path, tiny_emoji: Path) -> None:
        """As under nohup."""
        ignoring = "import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        done = scd("generate", "a cat", "--model", tiny_emoji, "--seed", 7,
                   prepare=ignoring + AT_FIRST_STEP.format("SIGHUP"))
        assert done.returncode == 0
        assert names(here) == {"out", "out/a-cat-seed7.png"}


class TestFolders:
    def test_two_runs_into_one_new_folder(self, here: Path, run: Any, tiny_emoji: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
        """The first is interrupted while the second decodes, which then writes its pictures."""
        call = PicturePipeline.__call__

        def meanwhile(self: PicturePipeline, *arguments: Any, **how: Any) -> Any:
            out = call(self, *arguments, **how)
            other = scd("generate", "a dog", "--model", tiny_emoji, "-o", "new/out",
                        prepare=KILL + AT_FIRST_STEP.format("SIGINT"))
            assert other.returncode == 130
            return out

        monkeypatch.setattr(PicturePipeline, "__call__", meanwhile)
        run("generate", "a cat", "-o", "new/out", "--seed", 7, model=tiny_emoji)
        assert names(here) == {"new", "new/out", "new/out/a-cat-seed7.png"}

    @pytest.mark.parametrize(("verb", "file"), [("generate", "new/out/a-cat-seed7.png"), ("compare", "new/out/a.png")])
    def test_a_folder_that_is_deleted_meanwhile_is_made_again(
        self, here: Path, run: Any, tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch, verb: str, file: str
    ) -> None:
        Path("new/out").mkdir(parents=True)

        def remove(self: DecodingBar, step: Any) -> None:
            for folder in ("new/out", "new"):
                if Path(folder).exists():
                    Path(folder).rmdir()

        monkeypatch.setattr(DecodingBar, "__call__", remove)
        output = "new/out" if verb == "generate" else file
        run(verb, "a cat", "-o", output, "--seed", 7, model=tiny_emoji)
        assert names(here) == {"new", "new/out", file}

    def test_a_failed_write_leaves_folders_that_somebody_uses(
        self, here: Path, run: Any, tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fill(*_: Any, **__: Any) -> None:
            Path("new/out/theirs.png").write_text("of another run")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("coupled_decoding.media.pictures.save_png", fill)
        said = run("generate", "a cat", "-o", "new/out", "--seed", 7, model=tiny_emoji, bad=True).stderr
        assert said == "scd: error: cannot write 'new/out/a-cat-seed7.png': No space left on device\n"
        assert names(here) == {"new", "new/out", "new/out/theirs.png"}


class TestMemory:
    @pytest.mark.parametrize("error", [
        MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: "),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB."),
        OSError(12, "Cannot allocate memory"), RuntimeError("std::bad_alloc"),
    ], ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("verb", ["generate", "compare"])
    def test_one_sentence_names_what_needs_less(
        self, here: Path, run: Any, tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch, verb: str, error: Exception
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(DecodingBar, "__call__", fail)
        said = run(verb, "a cat", model=tiny_emoji, bad=True).stderr
        assert said.startswith("scd: error: out of memory: ")
        assert "--batch" in said
        assert "--window" in said
        assert names(here) == set()

    def test_under_a_limit(self, here: Path, tiny_emoji: Path) -> None:
        """Really: the address space ends a little above what the process has when decoding begins."""
        limit = """
import resource
from coupled_decoding.pipelines.pictures import PicturePipeline
call = PicturePipeline.__call__
def limited(self, *arguments, **how):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27,) * 2)
    return call(self, *arguments, **how)
PicturePipeline.__call__ = limited
"""
        done = scd("generate", "a cat", "-n", 20000, "--model", tiny_emoji, "-o", "new", prepare=limit)
        assert done.returncode == 2
        assert done.stderr.startswith("scd: error: out of memory: ")
        assert len(done.stderr.splitlines()) == 1
        assert names(here) == set()

    def test_is_found_behind_other_errors(self) -> None:
        with pytest.raises(ValueError, match="cannot read") as found, refusing(ValueError):
            raise ValueError("cannot read the file") from MemoryError()
        assert lacks_memory(found.value)
        with pytest.raises(BadInput), refusing(ValueError):
            raise ValueError("size is 3")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
class TestStandardOutput:
    @pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["generate", "--help"], ["models", "--json"]])
    def test_full(self, arguments: list[str]) -> None:
        with open("/dev/full", "w") as full:
            done = scd(*arguments, stdout=full)
        assert done.stderr == "scd: error: cannot write to standard output: No space left on device\n"
        assert done.returncode == 2

    def test_full_after_drawing(self, here: Path, tiny_emoji: Path) -> None:
        """The pictures are there all the same."""
        with open("/dev/full", "w") as full:
            done = scd("generate", "a cat", "--seed", 7, "--model", tiny_emoji, stdout=full)
        assert done.stderr == "scd: error: cannot write to standard output: No space left on device\n"
        assert done.returncode == 2
        assert names(here) == {"out", "out/a-cat-seed7.png"}

    def test_closed(self) -> None:
        """A reader that has seen enough, as in ``scd models | head -1``, is no error to tell about."""
        reading, writing = os.pipe()
        os.close(reading)
        done = scd("models", stdout=writing)
        os.close(writing)
        assert done.stderr == ""
        assert done.returncode == 1
