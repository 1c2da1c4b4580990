"""What is imported before a command begins, and the two ways to start one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coupled_decoding.apps.cli import app

VERBS = [command.callback.__name__ for command in app.registered_commands if command.callback]
SLOW = {"torch", "transformers", "numpy", "PIL", "tqdm", "matplotlib", "tokenizers", "huggingface_hub"}
"""Packages that take their time, and that only work needs."""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    program = ("import atexit, os, sys\n"
               "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
               "from coupled_decoding.__main__ import main\n"
               "main()")
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout
    imported = set(ran.stderr.split())
    assert "coupled_decoding.apps.cli" in imported
    assert not imported & SLOW


def test_refusals_that_need_no_model_import_nothing_slow(tmp_path: Path) -> None:
    program = ("import atexit, sys\n"
               "atexit.register(lambda: print(*sorted({'torch', 'PIL'} & {*sys.modules})))\n"
               "from coupled_decoding.__main__ import main\n"
               "main()")
    for arguments in (["generate", "a cat", "--method", "foo"], ["generate", " "], ["generate", "a cat", "--size", "x"],
                      ["compare", "a cat", "-o", "a.jpg"], ["bench", "--prompts", "none.txt"]):
        ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert (ran.returncode, ran.stdout) == (2, "\n"), arguments
        assert ran.stderr.startswith("scd: error: ")


def test_the_package_is_a_command_too() -> None:
    ran = subprocess.run([sys.executable, "-m", "coupled_decoding", "--help"], capture_output=True, text=True,
                         check=True)
    assert "Usage: scd [OPTIONS] COMMAND" in ran.stdout
    assert all(f"\n  {verb} " in ran.stdout for verb in VERBS)


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_every_verb_is_documented(file: str) -> None:
    text = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"| `scd {verb}` |" not in text] == []
