"""A picture of the frames so far, rewritten while clips are drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_decoding.apps.output import save
from coupled_decoding.apps.sheets.films import strips

if TYPE_CHECKING:
    from PIL.Image import Image

    from coupled_decoding.pipelines.video import ClipStep

EVERY = 2.0
"""Least seconds between two previews."""
SHARE = 0.1
"""Most of all time that previews may take."""


class Preview:
    """Writes a PNG file of strips whenever a further frame is whole, but seldom enough not to slow the work.

    Args:
        file: where to; always a whole picture.
        titles: one of each clip.
        context: frames that were given.
    """

    def __init__(self, file: Path, titles: Sequence[str], context: int) -> None:
        self._file, self._titles, self._context = file, titles, context
        self._shown: list[int] = []
        self._next = 0.0

    def __call__(self, step: ClipStep) -> None:
        began = time.monotonic()
        if step.whole != self._shown and began >= self._next:
            self._shown = step.whole
            self.write(step.frames)
            ended = time.monotonic()
            self._next = ended + max(EVERY, (ended - began) / SHARE)

    def write(self, clips: Sequence[Sequence[Image]]) -> None:
        """Write these frames, as at the end."""
        save(strips(list(zip(self._titles, clips, strict=True)), self._context), self._file, {})
