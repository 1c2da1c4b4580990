"""Writing clips: MP4 and GIF, with metadata, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from PIL import Image

from coupled_decoding.atomic import written_whole
from coupled_decoding.extras import require_extra

SUFFIXES = (".mp4", ".gif")
QUALITY = "12"
"""Of H.264 in its own scale (crf), where 0 is lossless and 18 looks so."""
BT709 = 1
"""How colours are coded, by the number that H.264 gives it."""


def check_film(path: Path) -> None:
    """ValueError for a file name of another kind, ModuleNotFoundError that names the extra that writes it."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{str(path)!r} ends neither in .mp4 nor in .gif: clips are written to files of these kinds")
    if path.suffix.lower() == ".mp4":
        require_extra("av", "video", f"writing {str(path)!r}")


def save_film(
    frames: Iterable[Image.Image], count: int, path: Path, frames_per_second: float, metadata: Mapping[str, str]
) -> None:
    """Write ``count`` RGB frames of one size; the file's comment is the metadata as JSON.

    OSError where that fails; see :func:`check_film` for what is to be known before.
    """
    comment = json.dumps(metadata)
    with written_whole(path) as partial:
        if path.suffix.lower() == ".mp4":
            _write_mp4(frames, partial, frames_per_second, comment)
        else:
            _write_gif(frames, _milliseconds(count, frames_per_second), partial, comment)


def _milliseconds(count: int, frames_per_second: float) -> list[int]:
    """How long each frame of a GIF stands: whole hundredths of a second, and what one loses a later one gets."""
    ends = [round(100 * number / frames_per_second) for number in range(count + 1)]
    return [10 * (end - begin) for begin, end in pairwise(ends)]


def _write_gif(frames: Iterable[Image.Image], milliseconds: list[int], path: Path, comment: str) -> None:
    images = iter(frames)
    with path.open("wb") as file:
        next(images).save(file, format="GIF", save_all=True, append_images=images, loop=0, duration=milliseconds,
                          comment=comment.encode("ascii"))


def _write_mp4(frames: Iterable[Image.Image], path: Path, frames_per_second: float, comment: str) -> None:
    import av

    options = {"movflags": "+faststart"}  # the index first, so that a browser can begin before it has all
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", Fraction(frames_per_second), options={"crf": QUALITY})
        stream.pix_fmt = "yuv420p"  # which every player shows
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        for number, frame in enumerate(frames):
            # colours are kept for pairs of pixels, so sides are even: an odd last row or column is left out
            even = frame.crop((0, 0, frame.width // 2 * 2, frame.height // 2 * 2))
            if number == 0:
                stream.width, stream.height = even.size
            container.mux(stream.encode(av.VideoFrame.from_image(even).reformat(format="yuv420p",
                                                                               dst_colorspace="ITU709")))
        container.mux(stream.encode())
