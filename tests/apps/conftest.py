"""Commands run in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coupled_decoding.apps.cli import app


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path) -> Any:
    """Runs a command on a model in an empty folder; ``bad=True`` where it must refuse."""

    def run(verb: str, *arguments: object, model: object, bad: bool = False) -> Any:
        result = CliRunner().invoke(app, [verb, "--model", str(model), *map(str, arguments)], catch_exceptions=False)
        if bad:
            assert result.exit_code == 2
            assert result.stdout == ""
            assert re.fullmatch(r"(scd: note: [^\n]+\n)*scd: error: [^\n]+\n", result.stderr)
        else:
            assert result.exit_code == 0, result.stderr
        return result

    return run
