"""Held-out clips of the game: what the benchmarks of video continue, and compare with.

``data/clips`` holds 24 of them, from episodes that no training step and no choice of a checkpoint saw; so
nobody needs the game to run a benchmark. More of them, for distances that need many frames, are written by
``python -m training.doom.held_out``.

A file is one clip: its frames one above the other, from the first at the top, as a picture in WebP without loss.
Its name says its place in the order of use, its scenario, and the seed of its episode.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

CLIPS = Path(__file__).with_name("clips")
FRAMES = 33
"""How many a clip has."""
CONTEXT = 9
"""First frames of a clip that are given."""

Clip = list[Image.Image]
"""Frames of one size, RGB, the first one first."""


def read_clips(folder: Path = CLIPS, most: int | None = None) -> list[Clip]:
    """The first clips of a folder, of :data:`FRAMES` frames each; ``most`` of them, None: all.

    FileNotFoundError where the folder has none, ValueError where it has fewer than ``most`` or a file is no clip.
    """
    paths = sorted(folder.glob("*.webp"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no clips: python -m training.doom.held_out writes them")
    if most is not None and most > len(paths):
        raise ValueError(f"{most} clips: {folder} holds {len(paths)}")
    return [_frames(path) for path in paths[:most]]


def write_clip(path: Path, frames: Clip) -> None:
    """Frames of one size to one file."""
    width, height = frames[0].size
    strip = Image.new("RGB", (width, height * len(frames)))
    for i, frame in enumerate(frames):
        strip.paste(frame, (0, i * height))
    strip.save(path, lossless=True)


def _frames(path: Path) -> Clip:
    with Image.open(path) as file:
        strip = file.convert("RGB")
    height, rest = divmod(strip.height, FRAMES)
    if rest:
        raise ValueError(f"{path} is {strip.height} pixels high: expected {FRAMES} frames one above the other")
    return [strip.crop((0, i * height, strip.width, (i + 1) * height)) for i in range(FRAMES)]
