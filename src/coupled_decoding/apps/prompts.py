"""Prompts that are typed or stand in a file; each knows where it stands, for the sentence that refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_decoding.apps.errors import BadInput, refusing

if TYPE_CHECKING:
    from coupled_decoding.pipelines.pictures import PicturePipeline


@dataclass(frozen=True)
class Prompt:
    """A text, and where it was given."""

    text: str
    place: str
    """``"prompt 2"`` or ``"line 7 of 'prompts.txt'"``."""


def typed_prompts(texts: Sequence[str]) -> list[Prompt]:
    """Prompts of the command line; one that no model could read is refused."""
    prompts = [Prompt(text, f"prompt {number}") for number, text in enumerate(texts, 1)]
    for prompt in prompts:
        if not prompt.text.strip():
            raise BadInput(f"{prompt.place} is empty: say in a few words what to draw")
        if any("\ud800" <= character <= "\udfff" for character in prompt.text):
            raise BadInput(f"{prompt.place} is not text in the encoding of this terminal")
    return prompts


def read_prompts(file: Path) -> list[Prompt]:
    """The prompts of a text file, one per line; empty lines are left out. A line ends at a line feed only."""
    try:
        text = file.read_bytes().decode("utf-8-sig")  # some editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise BadInput(f"cannot read the prompts in {str(file)!r}: {reason}") from error
    prompts = [Prompt(line.strip(), f"line {number} of {str(file)!r}")
               for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not prompts:
        raise BadInput(f"{str(file)!r} holds no prompts: write one per line")
    return prompts


def check_readable(pipe: PicturePipeline, prompts: Sequence[Prompt], size: tuple[int, int] | None) -> None:
    """Refuse prompts that this model cannot read, by where they stand, before anything is drawn."""
    for prompt in prompts:
        with refusing(ValueError, FileNotFoundError):
            try:
                pipe.check(prompt.text, size)
            except ValueError as error:
                raise ValueError(f"{prompt.place}: {error}") from error
