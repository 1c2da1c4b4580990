"""Clips in one moving picture, and as strips of frames: what was given and what was drawn are marked beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from PIL import Image

from coupled_decoding.apps.sheets.pictures import LARGEST_SIDE, PENCIL, SMALLEST_SIDE, Cell, sheet

CONTEXT, DRAWN = ("context", "#c2410c"), ("drawn", "#1d4ed8")
"""Name and colour of frames that were given, and of those that were drawn."""
EDGE_WIDTH = 4
"""Pixels of the line around a frame."""
STRIP_SIDE, STRIP_COLUMNS = 96, 11
"""Least pixels of a frame on a strip, and frames in one of its lines."""


@dataclass(frozen=True)
class Reel:
    """A clip in a film."""

    frames: Sequence[Image.Image]
    caption: str
    """A line under it."""


def film(rows: Sequence[tuple[str, Sequence[Reel]]], context: int, heads: Sequence[tuple[str, str]] = ()
         ) -> Iterator[Image.Image]:
    """The frames of a film, all of one size.

    Args:
        rows: of clips, each row with a title.
        context: how many frames of each were given.
        heads: what stands above the columns: a name and a note for each.
    """
    reels = [reel for _, row in rows for reel in row]
    most = LARGEST_SIDE if len(reels) > 1 else max(reels[0].frames[0].size)  # a single clip is never made smaller
    for number in range(len(reels[0].frames)):
        name, colour = CONTEXT if number < context else DRAWN
        yield sheet([
            (title, [Cell(_squares(reel.frames[number], SMALLEST_SIDE, most),
                          [(f"{name}, frame {number + 1} of {len(reel.frames)}", colour), (reel.caption, PENCIL)],
                          colour, EDGE_WIDTH) for reel in row])
            for title, row in rows
        ], heads)


def strips(clips: Sequence[tuple[str, Sequence[Image.Image]]], context: int) -> Image.Image:
    """The frames of each clip after each other, under its title; the first ones, the context, marked as in a film."""
    rows = []
    for title, frames in clips:
        cells = []
        for number, frame in enumerate(frames, 1):
            _, colour = CONTEXT if number <= context else DRAWN
            cells.append(Cell(_squares(frame, STRIP_SIDE, 2 * STRIP_SIDE), [(str(number), colour)], colour, EDGE_WIDTH))
        lines = [cells[first : first + STRIP_COLUMNS] for first in range(0, len(cells), STRIP_COLUMNS)]
        rows += [(title if i == 0 else "", line) for i, line in enumerate(lines)]
    return sheet(rows)


def _squares(frame: Image.Image, least: int, most: int) -> Image.Image:
    """The frame enlarged to ``least`` pixels and more, each of its own kept a square, or reduced to ``most``."""
    longer = max(frame.size)
    if longer > most:
        return frame.resize((round(frame.width * most / longer), round(frame.height * most / longer)),
                            Image.Resampling.LANCZOS)
    times = ceil(least / longer)
    return frame.resize((times * frame.width, times * frame.height), Image.Resampling.NEAREST)
