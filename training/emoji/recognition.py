"""Whether a picture is recognised, and whether its colour is the one that was asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from coupled_decoding.evaluation.metrics.bootstrap import bootstrap
from coupled_decoding.evaluation.metrics.features import Lite0
from training.emoji.colours import HUES, hue_of, left_out, nearest_colour, recoloured, single_colour

FEW = 5
"""Among how many nearest pictures a subject must be to be recognised."""


@dataclass(frozen=True)
class Recognised:
    """How many pictures are recognised, with 95% intervals by drawing the subjects anew."""

    subjects: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float
    top5_interval: tuple[float, float]
    median_rank: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Gallery:
    """Drawings that are told apart by the direction of their EfficientNet-Lite0 features.

    Args:
        pictures: uint8 ``[N, 3, H, W]``.
    """

    def __init__(self, pictures: Tensor) -> None:
        self.network = Lite0()
        self.features = F.normalize(self.network(pictures.float() / 255), dim=1)

    def ranks(self, pictures: Tensor, subjects: Tensor) -> Tensor:
        """Place of each picture's own subject among the drawings, nearest first, 1 is the nearest: LongTensor ``[M]``.

        ``pictures`` float ``[M, 3, H, W]`` in [0, 1], ``subjects`` LongTensor ``[M]``, numbers of drawings.
        """
        likeness = F.normalize(self.network(pictures), dim=1) @ self.features.T
        own = likeness.gather(1, subjects.unsqueeze(1))
        return (likeness > own).sum(1) + 1


def recognised(ranks: Tensor) -> Recognised:
    """Shares and median of ``ranks`` ``[M]``."""

    def share(most: int) -> tuple[float, tuple[float, float]]:
        hit = (ranks <= most).double()
        if hit.min() == hit.max():  # nothing to resample
            return float(hit[0]), (float(hit[0]), float(hit[0]))
        found = bootstrap(lambda counts: counts @ hit / counts.sum(1), len(hit))
        return found.value, (max(found.low, 0.0), min(found.high, 1.0))

    (top1, around1), (top5, around5) = share(1), share(FEW)
    return Recognised(len(ranks), top1, around1, top5, around5, float(ranks.double().median()))


def as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Float ``[M, 3, H, W]`` in [0, 1]."""
    return torch.stack([torch.from_numpy(np.asarray(p.convert("RGB")).copy()) for p in pictures]).movedim(3, 1) / 255


def colour_prompts(pictures: Tensor, descriptions: list[dict], each: int = 9) -> list[tuple[str, str]]:
    """Prompts "a COLOUR THING" and their colours, of pairs that were never trained on, up to ``each`` of a colour.

    Things are drawings of one other colour in the Noto style whose subject was trained on; see
    :func:`training.emoji.colours.left_out`.
    """
    found: dict[str, list[str]] = {colour: [] for colour in HUES}
    for picture, d in zip(pictures, descriptions, strict=True):
        if d["style"] != "noto" or d["held_out"]:
            continue
        own = single_colour(picture.permute(1, 2, 0).numpy(), d)
        if own is None or own == "brown":
            continue
        for colour in HUES:
            if colour != own and left_out(d["key"], colour) and (wording := recoloured(d["name"], colour)):
                found[colour].append(f"a {wording}")
    rng = random.Random(0)
    return [(prompt, colour) for colour, all_of_it in found.items()
            for prompt in sorted(rng.sample(all_of_it, min(each, len(all_of_it))))]


def has_colour(picture: Image.Image, colour: str) -> bool:
    """Whether the mean hue of what is coloured in a picture is nearest to that colour's."""
    hue = hue_of(np.asarray(picture.convert("RGB")))
    return hue is not None and nearest_colour(hue.mean) == colour
