"""Results kept as they come: a run that is cut off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coupled_decoding.atomic import written_whole


class Kept:
    """Results by case in a JSON file, which is written whole after each new one. One run at a time may write it.

    A case's name says all that its result depends on: what is kept under another name is another result, and stays.
    Raises ValueError where the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = _read(path) if path.exists() else {}

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of a case, made where there is none yet."""
        if name not in self.results:
            self.results[name] = make()
            write_text(self.path, json.dumps(self.results, indent=1) + "\n")
        return self.results[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON file of kept results ({error}): move it away") from error
    if not isinstance(results, dict):
        raise ValueError(f"{str(path)!r} holds something else than kept results: move it away")
    return results


def kept_tensor(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """The tensor in a file, made and written there where there is none yet."""
    if not path.exists():
        content = make()
        with written_whole(path, parents=True) as partial:
            torch.save(content, partial)
    return torch.load(path, weights_only=True)


def write_text(path: Path, text: str) -> None:
    with written_whole(path, parents=True) as partial:
        partial.write_text(text, encoding="utf-8")
