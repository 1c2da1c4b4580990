"""Which weights or clips a kept result belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from coupled_decoding.pipelines.load import recognised

DIGITS = 12
PART = 2**24


def of_model(name: str) -> str:
    """Twelve digits of a model's weights and configuration; its card and its examples do not count."""
    return _digest(recognised(name)[0], (".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".jit"))


def of_clips(folder: Path) -> str:
    """Twelve digits of a folder's clips."""
    return _digest(folder, (".webp",))


def of_frames(frames: Sequence[Image.Image]) -> str:
    """Twelve digits of a clip's pixels."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(repr((frame.mode, frame.size)).encode())
        digest.update(frame.tobytes())
    return digest.hexdigest()[:DIGITS]


def of_text(text: str) -> str:
    """Twelve digits that stand for a text where it would be long."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _digest(folder: Path, kinds: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in kinds:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(_sha256(path))
    return digest.hexdigest()[:DIGITS]


def _sha256(path: Path) -> bytes:
    """Read in parts: weights may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.digest()
