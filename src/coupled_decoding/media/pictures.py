"""Writing pictures: PNG with metadata, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from coupled_decoding.atomic import written_whole


def save_png(image: Image.Image, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a PNG with text metadata, whole or not at all. OSError where that fails."""
    content = png_bytes(image, metadata)
    with written_whole(path) as partial:
        partial.write_bytes(content)


def png_bytes(image: Image.Image, metadata: Mapping[str, str]) -> bytes:
    """A PNG file with text metadata."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_itxt(key, value)  # international text: prompts may hold any character
    content = io.BytesIO()
    image.save(content, format="PNG", pnginfo=info)
    return content.getvalue()
