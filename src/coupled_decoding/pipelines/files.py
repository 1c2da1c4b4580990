"""Writing results: a file is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def save_png(image: Image.Image, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a PNG with text metadata, first beside its place and then moved there. OSError where that fails."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_itxt(key, value)  # international text: prompts may hold any character
    handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, format="PNG", pnginfo=info)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)  # mkstemp's own files are private
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
