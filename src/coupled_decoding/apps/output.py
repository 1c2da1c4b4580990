"""Files that commands write: their names, what is known of them beforehand, and how they are written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from coupled_decoding.apps.errors import BadInput, cleaning_up, note

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SLUG = 60
"""Letters of a prompt that a file name may show."""


def file_name(prompt: str, seed: int) -> str:
    """A file name for a picture: the prompt in lower-case ASCII letters, digits and hyphens, and its seed.

    Where the letters do not say the whole prompt, capitals and spaces aside, a digest of the prompt follows them, so
    that different prompts never share a name.
    """
    said = " ".join(prompt.lower().split())
    slug = re.sub(r"[^a-z0-9]+", "-", said).strip("-")
    if not slug or len(slug) > LONGEST_SLUG or slug.replace("-", " ") != said:
        digest = hashlib.sha256(said.encode()).hexdigest()[:8]
        slug = f"{slug[:LONGEST_SLUG].rstrip('-') or 'picture'}_{digest}"  # no slug has an underscore
    return f"{slug}-seed{seed}.png"


def check_output(files: Sequence[Path], inputs: Mapping[str, Path | None]) -> None:
    """Refuse files that cannot be written, or that are being read, before the work begins, which may take long.

    Nothing is made: a folder is made when its first file is written.

    Args:
        files: that are to be written.
        inputs: files or folders that are read, by what they are; None, or what is not there, is nothing.
    """
    for folder in dict.fromkeys(file.parent for file in files):
        check_folder(folder)
    read = {identity: what for what, place in inputs.items() if place for identity in _identities(place)}
    for file in files:
        if os.path.isdir(file):
            raise BadInput(f"{str(file)!r} is a folder: no file can be written in its place")
        try:
            there = os.stat(file)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise BadInput(f"cannot write {str(file)!r}: {error.strerror}") from error
        if what := read.get((there.st_dev, there.st_ino)):
            raise BadInput(f"{str(file)!r} is {what}, and would be written over: give another file")


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or takes no files."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise BadInput(f"{str(there)!r} is a file: give the name of a folder" if there == folder else
                       f"cannot make the folder {str(folder)!r}: {str(there)!r} is a file")
    try:
        with suppress(FileNotFoundError):
            os.stat(folder)  # a name that is too long
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise BadInput(f"cannot write into the folder {str(folder)!r}: {error.strerror}") from error


def _identities(place: Path) -> Iterator[tuple[int, int]]:
    """Device and inode of a file, or of each file in a folder, whatever the names that it is reached by."""
    with suppress(OSError):
        for file in place.iterdir() if place.is_dir() else [place]:
            with suppress(OSError):
                stat = file.stat()
                yield stat.st_dev, stat.st_ino


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """The folder of a file is there while the block writes it, whole or not at all.

    If the block fails, folders that were made for the file are removed, unless somebody uses them by now.

    Raises:
        BadInput: the file cannot be written.
    """
    with cleaning_up():
        made = [folder for folder in (file.parent, *file.parent.parents) if not os.path.exists(folder)]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            yield
        except BaseException as error:
            for folder in made:  # the deepest first
                with suppress(OSError):
                    folder.rmdir()
            if isinstance(error, OSError):
                raise BadInput(f"cannot write {str(file)!r}: {error.strerror or error}") from error
            raise


def save(image: Image, file: Path, metadata: Mapping[str, str]) -> None:
    """Write a PNG file with metadata."""
    from coupled_decoding.media import pictures

    with writing(file):
        pictures.save_png(image, file, metadata)


def save_beside(image: Image, file: Path, metadata: Mapping[str, str]) -> Path:
    """Write a PNG file under a name that the user did not choose: the next free one where another file has it.

    Returns the name. The same picture with the same metadata keeps its name.
    """
    from coupled_decoding.media.pictures import png_bytes

    taken = os.path.lexists(file)
    content = png_bytes(image, metadata) if taken else b""
    own = next(name for name in numbered(file) if not os.path.lexists(name) or _holds(name, content))
    if own != file:
        note(f"{str(file)!r} holds something else, and stays: this picture is {str(own)!r}")
    save(image, own, metadata)
    return own


def _holds(file: Path, content: bytes) -> bool:
    try:
        return file.read_bytes() == content
    except OSError:
        return False


def numbered(file: Path) -> Iterator[Path]:
    """``out.png``, ``out-2.png``, ``out-3.png`` and so on."""
    yield file
    yield from (file.with_stem(f"{file.stem}-{number}") for number in count(2))


def say_drawn(asked: int | None, seed: int) -> None:
    """Print a seed that nobody asked for."""
    if asked is None:
        typer.echo(f"seed {seed}, drawn from the system: --seed {seed} draws the same again")


def print_json(document: Any) -> None:
    """The one thing on standard output."""
    typer.echo(json.dumps(document, indent=2))


def free_name(file: Path) -> Path:
    """The first of the numbered names that nothing has, for a file whose name the user did not choose."""
    return next(name for name in numbered(file) if not os.path.lexists(name))
