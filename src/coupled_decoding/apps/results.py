"""What commands write and print, once the work is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from coupled_decoding.apps.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Say in one sentence that a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"cannot write {str(file)!r}: {error.strerror or error}") from error


def save(image: Image, file: Path, metadata: Mapping[str, str]) -> None:
    """Write a PNG file with metadata."""
    from coupled_decoding.media.pictures import save_png

    with writing(file):
        save_png(image, file, metadata)


def say_drawn(asked: int | None, seed: int) -> None:
    """Print a seed that nobody asked for."""
    if asked is None:
        typer.echo(f"seed {seed}, drawn from the system: --seed {seed} draws the same again")


def print_json(document: dict[str, Any]) -> None:
    """The one thing on standard output."""
    typer.echo(json.dumps(document, indent=2))
