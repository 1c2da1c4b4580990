"""The context of a clip: first frames, and what is said of what was done to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_decoding.apps import options
from coupled_decoding.apps.errors import note, refusing

if TYPE_CHECKING:
    from coupled_decoding.media.footage import Footage
    from coupled_decoding.models.contract import VideoModel

SAME_RATE = 0.05
"""By what share frames per second may differ from the model's without a word: files round them."""


def footage_of(model: VideoModel, place: Path, start: int, asked: int | None) -> Footage:
    """The frames that a clip continues; what was done to them is said on stderr."""
    from coupled_decoding.media.footage import read_footage

    wanted = options.CONTEXT_FRAMES if asked is None else asked
    with refusing(ValueError, OSError, ModuleNotFoundError):
        footage = read_footage(place, start, wanted, model.fitted)
        there = len(footage.frames)
        if there < wanted:
            kept = max(frames for frames in model.lengths if frames <= there)
            footage = dataclasses.replace(footage, frames=footage.frames[:kept])
            note(f"{place} has {_counted(there)} from frame {start} on: {kept} and not {wanted} are the context")
        model.length_of(len(footage.frames))
    for size in footage.sizes:
        if size != model.size:
            note(_fitting(size, model.size))
    rate, own = footage.frames_per_second, model.frames_per_second
    if rate is not None and abs(rate / own - 1) > SAME_RATE:
        note(f"{place} has {rate:.4g} frames per second: the model takes them for {own:.4g} per second")
    return footage


def _fitting(size: tuple[int, int], own: tuple[int, int]) -> str:
    """What becomes of frames of another size."""
    (width, height), (own_width, own_height) = size, own
    cut = (min(width, round(height * own_width / own_height)), min(height, round(width * own_height / own_width)))
    cutting = "" if cut == size else f"cut to {cut[0]}x{cut[1]} and "
    return f"{width}x{height} frames are {cutting}scaled to {own_width}x{own_height}"


def _counted(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames} frames"


def tokens_drawn(model: VideoModel, given: int, drawn: int) -> int:
    """The tokens that are drawn of one clip after ``given`` frames."""
    with refusing(ValueError):
        try:
            return model.length_of(given + drawn) - model.length_of(given)
        except ValueError as error:
            raise ValueError(f"{_counted(given)} of context and {drawn} to draw make {error}") from error
