"""Results kept as they come: a run that is cut off continues where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from coupled_decoding.atomic import written_whole

VERSION = 1
"""Of the names and of the results in a file. Whoever changes what either says counts it up."""

Result = TypeVar("Result")


class Kept:
    """Results by name in a JSON file, which is written whole after each new one. One run at a time may write it.

    A name says all that its result depends on: what is kept under another name is another result, and stays. Results
    are dataclasses, or lists of dataclasses.

    Raises:
        ValueError: the file holds something else, or results of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = _read(path) if path.exists() else {}
        """As JSON has them."""

    def get(self, name: str, read: Callable[[Any], Result], make: Callable[[], Result]) -> Result:
        """The result of a name, made where there is none yet.

        Args:
            read: from what JSON holds to the result.
        """
        if name not in self.results:
            self.results[name] = json.loads(json.dumps(make(), default=asdict))
            write_text(self.path, json.dumps({"version": VERSION, "results": self.results}, indent=1) + "\n")
        return read(self.results[name])


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON file of kept results ({error}): move it away") from error
    if not isinstance(kept, dict) or not isinstance(kept.get("results"), dict):
        raise ValueError(f"{str(path)!r} holds something else than kept results: move it away")
    if kept.get("version") != VERSION:
        raise ValueError(f"{str(path)!r} holds results of version {kept.get('version')}, expected {VERSION}: move it "
                         "away, and they are measured again")
    results: dict[str, Any] = kept["results"]
    return results


def kept_tensor(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """The tensor in a file, made and written there where there is none yet."""
    if not path.exists():
        content = make()
        with written_whole(path, parents=True) as partial:
            torch.save(content, partial)
    tensor: Tensor = torch.load(path, weights_only=True)
    return tensor


def write_text(path: Path, text: str) -> None:
    """A text file, written whole, in a folder that is made where there is none."""
    with written_whole(path, parents=True) as partial:
        partial.write_text(text, encoding="utf-8")
