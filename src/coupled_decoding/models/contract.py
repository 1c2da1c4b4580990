"""What a pipeline needs to know about a family of models. Each family has one file in ``families/`` that says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.media.pixels import Size, over_white
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.prompts import checked_prompt

if TYPE_CHECKING:  # who looks for a model loads no transformers
    from coupled_decoding.serving.backbone import Backbone

SHOWN = 8
"""Numbers that a refusal lists."""


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
    backbone: Backbone
    """The transformer as sessions call it."""
    transformer: nn.Module
    """What every forward calls: embeddings and the output head may stand beside it."""

    @abstractmethod
    def __init__(self, folder: Path, placement: Placement) -> None:
        """Load a checkpoint. FileNotFoundError names missing files, ValueError damaged or unfitting ones."""


class PictureModel(Model):
    """A checkpoint that turns prompts into codes and codes into pictures."""

    guidance_scale: float
    """What is applied unless a call says otherwise; 1 is no guidance."""

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        """ValueError for a size that a checkpoint does not make, as far as it tells without its weights being read."""

    @abstractmethod
    def layout_of(self, size: Size) -> Layout:
        """Token stream of a picture. ValueError for a size that the family does not make."""

    def check_prompt(self, prompt: str, size: Size) -> None:
        """ValueError where a prompt cannot be read, as far as that is known before a forward."""
        checked_prompt(prompt)

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


def check_multiples(card: Card, unit: int, size: Size) -> None:
    """ValueError where a side is not made of whole codes; it names the side, and the nearest size that is."""
    wrong = [f"the {side} is {pixels}" for side, pixels in zip(("width", "height"), size, strict=True)
             if pixels < unit or pixels % unit]
    if wrong:
        width, height = (unit * max(1, round(pixels / unit)) for pixels in size)
        raise ValueError(f"size is {size[0]}x{size[1]}: {card.name} makes pictures whose width and height are "
                         f"multiples of {unit}, and {' and '.join(wrong)}; {width}x{height} is nearest")


class VideoModel(Model):
    """A checkpoint that goes on with clips: first frames to tokens, more tokens after these, tokens to frames."""

    frames: int
    """How many a clip has, context included, unless a call says otherwise."""
    lengths: Mapping[int, int]
    """Numbers of frames after which a context or a clip may end, and the tokens that so many first frames have."""
    frames_per_second: float
    """At which clips are shown, and context is taken to be."""
    frames_by_torchscript: ClassVar[bool] = False
    """Whether frames can be read and made with ``allow_torchscript`` only."""
    tokens_only: str = ""
    """Where frames can be neither read nor made: the sentence that says why. ``encode`` and ``decode`` raise it."""

    @abstractmethod
    def layout_of(self, num_context: int, num_frames: int) -> Layout:
        """Stream of the tokens that come after ``num_context`` frames, up to the end of ``num_frames``."""

    @abstractmethod
    def check_context(self, tokens: Tensor) -> None:
        """ValueError where LongTensor ``[B, n]`` are no tokens of first frames."""

    @abstractmethod
    def session(self, contexts: Tensor, num_frames: int, prompts: Sequence[str] | None) -> Session:
        """Read contexts in, LongTensor ``[B, n]``, and a text for each row where the model reads one."""

    @abstractmethod
    def encode(self, clips: Sequence[Sequence[Image.Image]]) -> Tensor:
        """Tokens of clips' first frames, scaled and cut to the model's size: LongTensor ``[B, n]``.

        All clips have the same number of frames, one of ``lengths``.
        """

    @abstractmethod
    def decode(self, tokens: Tensor) -> list[list[Image.Image]]:
        """Frames of clips from their first on, of LongTensor ``[B, n]``; n is one of ``lengths``' values."""

    def fitted(self, frame: Image.Image) -> Image.Image:
        """A frame of any size as the model reads it: RGB over white, cut to its middle in proportion, and scaled."""
        return ImageOps.fit(over_white(frame), self.size, Image.Resampling.LANCZOS)

    def length_of(self, frames: int) -> int:
        """Tokens of a clip's first frames. ValueError where none may end there."""
        if frames not in self.lengths:
            raise ValueError(f"{frames} frames: in {self.card.name} a context or a clip ends after "
                             f"{_listed(self.lengths)}")
        return self.lengths[frames]

    def frames_of(self, length: int) -> int:
        """Frames that this many tokens are. ValueError where they are none."""
        for frames, tokens in self.lengths.items():
            if tokens == length:
                return frames
        raise ValueError(f"{length} tokens: in {self.card.name} first frames have {_listed(self.lengths.values())}")


def check_codes(tokens: Tensor, first: int, end: int) -> None:
    """ValueError where one of the tokens is not of ``first .. end-1``."""
    wrong = tokens[(tokens < first) | (tokens >= end)]
    if len(wrong):
        raise ValueError(f"context_tokens hold {int(wrong[0])}: give codes that the model draws")


def _listed(numbers: Iterable[int]) -> str:
    """All of a few numbers, the first and the last of many."""
    few = list(numbers)
    if len(few) > SHOWN:
        few_words = ", ".join(map(str, few[:3]))
        return f"{few_words} and so on up to {few[-1]}"
    return ", ".join(map(str, few))
