"""Which weights or clips a kept result belongs to."""

from __future__ import annotations

import hashlib
from pathlib import Path

from coupled_decoding.pipelines.load import recognised


def of_model(name: str) -> str:
    """Twelve digits of a model's weights and configuration; its card and its examples do not count."""
    return _digest(recognised(name)[0], (".json", ".safetensors"))


def of_clips(folder: Path) -> str:
    """Twelve digits of a folder's clips."""
    return _digest(folder, (".webp",))


def _digest(folder: Path, kinds: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in kinds:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
