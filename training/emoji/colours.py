"""Colour words that are true: which drawings have one colour, which it is, and the same drawing in another.

A drawing has one colour where nearly all of what is coloured in it lies within ``NEAR`` degrees of one hue. Such a
drawing can be turned to another hue and called by it: "a blue apple". People and flags are never turned.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

HUES = {"red": 2, "orange": 28, "yellow": 48, "green": 125, "blue": 212, "purple": 275, "pink": 335}
"""The middle of each colour on the circle of hues, in degrees."""
COLOUR_WORDS = (*HUES, "brown", "black", "white", "grey")
UNTRAINED_PERCENT = 10
"""Of pairs of subject and colour that are left out of the training, to be asked for when the model is judged."""

NEAR, AGREEING, COVERED, LEAST = 28, 0.93, 0.7, 200
"""Degrees around the mean hue; the share of coloured pixels there; of the drawing that is coloured; pixels of one."""
PEOPLE = re.compile(r"\b(man|men|woman|women|person|people|boy|girl|baby|child|adult|princess|prince|guard|officer|"
                    r"elf|elder|old|mage|fairy|vampire|merman|mermaid|superhero|supervillain|hand|hands|finger|thumbs)\b")


@dataclass(frozen=True)
class Hue:
    """The mean hue of a picture's coloured pixels in degrees, weighted by saturation times value, and who shares it."""

    mean: float
    agreeing: float
    """Share of the coloured pixels within ``NEAR`` degrees."""
    covered: float
    """Share of the pixels that are not white which are coloured."""
    value: float
    """Mean brightness of the coloured pixels, 0 to 1."""


def hue_of(picture: np.ndarray) -> Hue | None:
    """Of uint8 ``[H, W, 3]`` on white; None where next to nothing is drawn or coloured."""
    hue, saturation, value = _hsv(picture)
    drawn = picture.min(-1) < 235
    weight = saturation * value * (drawn & (saturation > 0.2) & (value > 0.15))
    if drawn.sum() < LEAST or weight.sum() < 1:
        return None
    mean = float(np.rad2deg(np.angle((weight * np.exp(1j * np.deg2rad(hue))).sum())) % 360)
    near = _apart(hue, mean) < NEAR
    total = weight.sum()
    return Hue(mean, float((weight * near).sum() / total), float((weight > 0).sum() / drawn.sum()),
               float((weight * value).sum() / total))


def nearest_colour(mean_hue: float) -> str:
    """The colour whose hue is nearest on the circle."""
    return min(HUES, key=lambda colour: float(_apart(np.asarray(mean_hue), HUES[colour])))


def single_colour(picture: np.ndarray, description: dict) -> str | None:
    """The one colour of a drawing that may be turned, "brown" included; None for all others."""
    hue = None if description["toned"] or is_person_or_flag(description) else hue_of(picture)
    if hue is None or hue.agreeing < AGREEING or hue.covered < COVERED:
        return None
    colour = nearest_colour(hue.mean)
    return "brown" if colour in ("red", "orange", "yellow") and hue.value < 0.65 else colour


def turned(picture: np.ndarray, colour: str) -> np.ndarray:
    """The drawing with its mean hue moved to that colour's; pink is paler besides."""
    mean = hue_of(picture)
    assert mean is not None
    hue, saturation, value = _hsv(picture)
    hue = (hue + HUES[colour] - mean.mean) % 360
    if colour == "pink":
        saturation, value = 0.6 * saturation, np.sqrt(value)
    hsv = np.stack([hue * 255 / 360, saturation * 255, value * 255], -1).round().astype(np.uint8)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def left_out(key: str, colour: str) -> bool:
    """Whether this subject in this colour is kept from the training."""
    digest = hashlib.sha256(f"{key} {colour}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < UNTRAINED_PERCENT


def recoloured(wording: str, colour: str) -> str | None:
    """A wording with its colour word changed, or with one before it; None where nothing but a colour is named."""
    if wording in COLOUR_WORDS:
        return None
    replaced, count = re.subn(rf"\b({'|'.join(COLOUR_WORDS)})\b", colour, wording)
    return replaced if count else f"{colour} {wording}"


def is_person_or_flag(description: dict) -> bool:
    points = [int(point, 16) for point in description["unified"].split("-")]
    flag = any(0x1F1E6 <= point <= 0x1F1FF or 0xE0020 <= point <= 0xE007F for point in points)
    return flag or PEOPLE.search(description["name"]) is not None


def _hsv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, saturation and value in [0, 1], float32 ``[H, W]`` each."""
    hue, saturation, value = np.moveaxis(np.asarray(Image.fromarray(picture).convert("HSV"), dtype=np.float32), -1, 0)
    return hue * 360 / 255, saturation / 255, value / 255


def _apart(hue: np.ndarray, other: float) -> np.ndarray:
    """Degrees between two hues, at most 180."""
    return np.abs((hue - other + 180) % 360 - 180)
