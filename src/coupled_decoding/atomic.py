"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
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
    handle, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)  # mkstemp's own files are private
        partial.replace(path)
    except BaseException:
        partial.unlink()
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
