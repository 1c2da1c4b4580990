"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """A file to write in the place of another: beside it, moved there when the block ends, removed if it fails.

    Args:
        parents: make the folder that it stands in, where that is not there.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:  # named before it is made, so that an interruption at any point removes it
        partial.touch(exist_ok=False)
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(folder: Path, *, keep: bool) -> Iterator[Path]:
    """A folder to write in the place of another: beside it, moved there when the block ends, removed if it fails.

    Args:
        keep: begin with a copy of what stands there, so that files which the block does not write stay.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if keep and folder.exists():
            shutil.copytree(folder, partial)
        else:
            partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
