"""Where pictures go: names that are safe whatever the prompt, and folders that are known to take files."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coupled_decoding.apps.errors import BadInput

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


@contextmanager
def prepared_folder(folder: Path) -> Iterator[None]:
    """A folder that is there and takes files while the block runs; if the block fails, what was created is removed.

    Raises:
        BadInput: the folder cannot be made or written to. Said before the block begins, which may take long.
    """
    missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileExistsError as error:
            raise BadInput(f"{str(folder)!r} is a file: give the name of a folder") from error
        except OSError as error:
            raise BadInput(f"cannot write into the folder {str(folder)!r}: {error.strerror}") from error
        yield
    except BaseException:
        for place in missing:  # the deepest first
            with suppress(OSError):  # it holds a file by now, or was never made
                place.rmdir()
        raise


def check_not_folders(files: list[Path]) -> None:
    """Refuse to write files where folders stand."""
    for file in files:
        if os.path.isdir(file):
            raise BadInput(f"{str(file)!r} is a folder: no file can be written in its place")
