"""Reading first frames: a video file, an animation, a folder of pictures, a single picture, or a built-in example."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from coupled_decoding.extras import require_extra
from coupled_decoding.media.pixels import Size

PICTURES = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
MOVING = ("PNG", "GIF", "WEBP")
"""Pictures that may be animations. What else has several pictures has pages or previews."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
"""Of the files in a folder that are its frames."""
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,dv,ivf,h264,hevc"
"""Formats in which a video is looked for; others that FFmpeg reads are texts, or lists of other files."""
STILLS = ("heic", "heix", "mif1", "avif")
"""Marks of files that such a format holds a single picture in, often in tiles."""
DAMAGE: tuple[type[Exception], ...] = (
    OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error,
    Image.DecompressionBombError,
)
"""What reading a damaged picture may raise."""

Shot = tuple[Image.Image, float | None]
"""A frame, and how many seconds it stands, None where that is not known."""


@dataclass(frozen=True, eq=False)
class Footage:
    """First frames as a model reads them."""

    frames: list[Image.Image]
    sizes: list[Size]
    """Width and height of the frames as they were given, each once."""
    frames_per_second: float | None
    """As they were given; None for pictures, which have no time."""


def examples() -> dict[str, Path]:
    """The built-in clips by name."""
    folder = Path(str(files("coupled_decoding") / "pretrained" / "doom" / "examples"))
    return {file.stem: file for file in sorted(folder.glob("*.webp"))}


def find_footage(name: str) -> Path:
    """The file or folder that is meant; a built-in example goes before a file of the same name.

    FileNotFoundError lists the examples.
    """
    known = examples()
    place = known.get(name, Path(name))
    if not name or not (place.is_file() or place.is_dir()):  # no name would be the current folder
        raise FileNotFoundError(f"{name!r} is neither a file nor a folder, nor one of the built-in examples: "
                                f"{', '.join(known)}")
    return place


def read_footage(place: Path, start: int, count: int, fitted: Callable[[Image.Image], Image.Image]) -> Footage:
    """Read frames ``start .. start + count - 1``, or those of them that there are.

    Args:
        place: what :func:`find_footage` gives.
        fitted: makes of each frame what is kept of it; ``fitted`` of a :class:`VideoModel`.

    Raises:
        ValueError: a damaged file, one of another kind, or nothing to read from ``start`` on.
        OSError: a file that cannot be read at all.
        ModuleNotFoundError: a video file without the extra that reads it.
    """
    read = _folder if place.is_dir() else _animation if _is_picture(place) else _video
    frames, seconds = [], []
    sizes: dict[Size, None] = {}
    for frame, stands in read(place, start, count):
        frames.append(fitted(frame))
        sizes[frame.size] = None
        seconds.append(stands)
    if not frames:
        raise ValueError(f"{str(place)!r} holds no frames" if start == 0 else
                         f"{str(place)!r} has no frame {start}, counted from 0: begin at an earlier one")
    known = [one for one in seconds if one]
    return Footage(frames, list(sizes), len(frames) / sum(known) if len(known) == len(frames) else None)


def _folder(folder: Path, start: int, count: int) -> Iterator[Shot]:
    """Pictures in the order of their names, numbers in them by value; of an animation the first frame."""
    names = sorted((file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")
                    and file.suffix.lower() in SUFFIXES), key=_by_number)
    if not names:
        raise ValueError(f"the folder {str(folder)!r} holds no pictures ({', '.join(SUFFIXES)})")
    for file in names[start : start + count]:
        with _naming_damage(file), Image.open(file, formats=PICTURES) as picture:
            yield ImageOps.exif_transpose(picture), None


def _animation(path: Path, start: int, count: int) -> Iterator[Shot]:
    with _naming_damage(path), Image.open(path, formats=PICTURES) as picture:
        length = int(getattr(picture, "n_frames", 1)) if picture.format in MOVING else 1
        for number in range(start, min(start + count, length)):
            picture.seek(number)
            frame = ImageOps.exif_transpose(picture)  # a copy
            # some formats know a frame's time only when they have read it
            milliseconds = picture.info.get("duration") if length > 1 else None
            yield frame, milliseconds / 1000 if milliseconds else None


def _video(path: Path, start: int, count: int) -> Iterator[Shot]:
    require_extra("av", "video", f"{str(path)!r} is no picture; to read it as a video")
    import av

    try:
        # tags in whatever letters do not matter here
        container = av.open(f"file:{path}", options={"format_whitelist": CONTAINERS}, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise ValueError(f"{str(path)!r} is no picture and no video that can be read here") from error
    with container:
        if container.metadata.get("major_brand") in STILLS:
            raise ValueError(f"{str(path)!r} is a HEIF or AVIF picture, which is not read here: save it as PNG or JPEG")
        if not container.streams.video:
            raise ValueError(f"{str(path)!r} holds no video")
        stream = container.streams.video[0]
        if stream.codec_context is None:  # some versions of av crash where it decodes for all that
            raise ValueError(f"{str(path)!r} holds a video in a coding that is not known here: convert it to H.264")
        rate = stream.average_rate or stream.guessed_rate
        with _naming_damage(path, (av.error.FFmpegError,)):
            for frame in islice(container.decode(stream), start, start + count):
                # a phone held upright writes frames that lie on their side, and by how much they are to be turned
                yield frame.to_image().rotate(frame.rotation, expand=True), float(1 / rate) if rate else None


def _is_picture(path: Path) -> bool:
    with _naming_damage(path):
        try:
            with Image.open(path, formats=PICTURES):
                return True
        except UnidentifiedImageError:
            return False


def _by_number(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", file.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], file.name


@contextmanager
def _naming_damage(path: Path, errors: tuple[type[Exception], ...] = DAMAGE) -> Iterator[None]:
    """ValueError that names the file where the block, which reads a picture or a video, fails."""
    try:
        yield
    except PermissionError:
        raise
    except errors as error:
        raise ValueError(f"{str(path)!r} is damaged: {str(error) or type(error).__name__}") from error
