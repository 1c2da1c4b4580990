"""Results kept as they come: a run that is cut off goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Kept:
    """Results by case in a JSON file, which is written whole after each new one. One run at a time may write it.

    A case's name says all that its result depends on: what is kept under another name is another result, and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of a case, made where there is none yet."""
        if name not in self.results:
            self.results[name] = make()
            write_text(self.path, json.dumps(self.results, indent=1) + "\n")
        return self.results[name]


def kept_tensor(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """The tensor in a file, made and written there where there is none yet."""
    if not path.exists():
        content = make()
        write_whole(path, lambda partial: torch.save(content, partial))
    return torch.load(path, weights_only=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda partial: partial.write_text(text))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside its place, then move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial-" + path.name)
    write(partial)
    os.replace(partial, path)
