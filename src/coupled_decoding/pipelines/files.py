"""Writing results: a file is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def save_png(image: Image.Image, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a PNG with text metadata, whole or not at all. OSError where that fails."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_itxt(key, value)  # international text: prompts may hold any character
    with written_whole(path) as partial, partial.open("wb") as file:
        image.save(file, format="PNG", pnginfo=info)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write in the place of another: beside it, moved there when the block ends, removed if it fails."""
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
