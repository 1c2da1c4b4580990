"""What a pipeline needs to know about a family of models, of pictures above all. One file a family says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.models.files import Placement

Size = tuple[int, int]
"""Width and height of a picture in pixels."""


@dataclass(frozen=True)
class Card:
    """What there is to say about a family; ``scd models`` and the documentation print it."""

    name: str
    checkpoints: str
    """Where its weights are published."""
    files: str
    """What a folder must hold."""
    size: str
    """Pictures it makes."""
    sampling: Sampling
    """Its published default."""
    guidance_scale: float
    """Its published default; 1 is none."""
    verified: str
    """What was compared with what."""
    not_verified: str
    tokens_only: str = ""
    """Where its tokens are no pictures by themselves: the sentence that says what draws them. ``decode`` gives none."""


class Model(ABC):
    """A checkpoint of any family."""

    card: ClassVar[Card]
    sampling: Sampling
    """What is applied unless a call says otherwise."""
    dtype: torch.dtype
    """In which the transformer computes."""
    size: Size
    """Of a picture or a frame, unless a call says otherwise."""
    transformer: nn.Module
    """What every forward calls: embeddings and the output head may stand beside it."""

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder holds a checkpoint of this family, complete or not, judged by what it says of itself."""

    @abstractmethod
    def __init__(self, folder: Path, placement: Placement) -> None:
        """Load a checkpoint. FileNotFoundError names missing files, ValueError damaged or unfitting ones."""


class PictureModel(Model):
    """A checkpoint that turns prompts into codes and codes into pictures."""

    guidance_scale: float
    """What is applied unless a call says otherwise; 1 is no guidance."""

    @abstractmethod
    def layout_of(self, size: Size) -> Layout:
        """Token stream of a picture. ValueError for a size that the family does not make."""

    @abstractmethod
    def session(self, prompts: Sequence[str], guidance_scale: float, size: Size) -> Session:
        """Read the prompts in, one row each. ValueError where one is empty or longer than the model reads."""

    @abstractmethod
    def encode(self, pictures: Sequence[Image.Image], size: Size) -> Tensor:
        """Token streams of pictures scaled to a size, LongTensor ``[B, length]``: what ``given`` takes a part of."""

    @abstractmethod
    def decode(self, tokens: Tensor, size: Size) -> list[Image.Image]:
        """Pictures of token streams, LongTensor ``[B, length]``."""


def only_size(card: Card, own: Size, size: Size) -> None:
    """ValueError where a family makes pictures of one size and another is asked for."""
    if tuple(size) != own:
        raise ValueError(f"size is {size[0]}x{size[1]}: {card.name} makes pictures of {own[0]}x{own[1]}")


def to_pixels(pictures: Sequence[Image.Image], size: Size, device: torch.device) -> Tensor:
    """Pictures over white, scaled to a size: float32 ``[B, 3, H, W]`` in [0, 1]."""
    arrays = [np.asarray(over_white(one).resize(size, Image.Resampling.LANCZOS)) for one in pictures]
    return torch.from_numpy(np.stack(arrays)).to(device).permute(0, 3, 1, 2).float() / 255


def to_images(pixels: Tensor) -> list[Image.Image]:
    """RGB pictures of float ``[B, 3, H, W]``, cut to [0, 1]."""
    arrays = (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def over_white(picture: Image.Image) -> Image.Image:
    """As RGB, what is transparent over white."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, which a conversion would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8))
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def checked_prompt(prompt: str) -> str:
    """The prompt; ValueError if there is nothing in it."""
    if not prompt.strip():
        raise ValueError("a prompt is empty: describe a picture, for example 'a red heart'")
    return prompt


def shorten(text: str, most: int = 60) -> str:
    """For error messages."""
    return text if len(text) <= most else text[: most - 1] + "…"
