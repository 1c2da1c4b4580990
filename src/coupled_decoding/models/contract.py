"""What a pipeline needs to know about a family of models. Each family has one file in ``families/`` that says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from PIL import Image, ImageOps
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size, over_white, to_images, to_pixels
from coupled_decoding.models.checkpoints.placement import Placement

if TYPE_CHECKING:  # and inside methods: who only looks for a model loads no transformers
    from coupled_decoding.serving.backbone import Backbone
    from coupled_decoding.serving.guidance import GuidanceScale
    from coupled_decoding.serving.prompts import Prompt
    from coupled_decoding.serving.session import TransformersSession

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


class Model(ABC):
    """A checkpoint of any family. ``__init__`` of a family takes parts, :meth:`load` reads them from files."""

    card: ClassVar[Card]
    tokens_only: str = ""
    """Where tokens cannot be turned into pixels: the sentence that says why. ``decode`` raises it as ValueError."""
    backbone: Backbone
    """The transformer as sessions call it."""
    size: Size
    """Of a picture or a frame, unless a call says otherwise."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, placement: Placement) -> Self:
        """Read a checkpoint. FileNotFoundError names missing files, ValueError damaged or unfitting ones."""

    @property
    def name(self) -> str:
        """Of the family."""
        return self.card.name

    @property
    def sampling(self) -> Sampling:
        """What is applied unless a call says otherwise."""
        return self.card.sampling

    @property
    def guidance_scale(self) -> float:
        """What is applied unless a call says otherwise; 1 is no guidance."""
        return self.card.guidance_scale

    @property
    def dtype(self) -> torch.dtype:
        """In which the transformer computes."""
        return self.backbone.dtype

    @property
    def device(self) -> torch.device:
        """Where sessions are."""
        return self.backbone.device


class PictureModel(Model):
    """A checkpoint that turns prompts into codes and codes into pictures.

    Pictures are turned into tokens and back one at a time, so that no picture depends on those beside it.
    """

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        """ValueError for a size that a checkpoint does not make, as far as it tells without its weights being read."""

    @abstractmethod
    def layout_of(self, size: Size) -> Layout:
        """Token stream of a picture. ValueError for a size that the family does not make."""

    def check_prompt(self, prompt: str, size: Size) -> None:
        """ValueError where a prompt cannot be read, as far as that is known before a forward."""
        self.prompt_ids(prompt, size)

    @abstractmethod
    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        """Token ids of a prompt within its template, up to where a picture of this size begins.

        ValueError where it is empty or longer than the model reads.
        """

    @abstractmethod
    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        """Token ids of the prompt that guidance leads away from, for a row with these ``prompt_ids``."""

    def prompt(self, prompt: str, size: Size) -> Prompt:
        """What a row begins with; a family that reads more than ids overrides it."""
        from coupled_decoding.serving.prompts import Prompt

        return Prompt(tuple(self.prompt_ids(prompt, size)))

    def unconditional(self, prompt: Prompt, size: Size) -> Prompt:
        """What its unconditional twin begins with."""
        return replace(prompt, ids=tuple(self.unconditional_ids(prompt.ids, size)))

    def guidance(self, scale: float, size: Size) -> GuidanceScale:
        """The scale ``s`` of ``u + s * (c - u)`` along the stream; ValueError where the family has no guidance."""
        return scale

    def session(
        self, prompts: Sequence[str], guidance_scale: float | Sequence[float], size: Size, guided: bool | None = None
    ) -> TransformersSession:
        """Read prompts in, one row each; a prompt that several rows share is read once.

        Args:
            prompts: descriptions.
            guidance_scale: one for all rows, or one for each; 1 is no guidance.
            size: width and height of the pictures in pixels.
            guided: whether rows get unconditional twins; None: where a scale is not 1. Sessions that adopt each
                other's rows agree in it.

        Raises:
            ValueError: a prompt is empty or longer than the model reads, or the family has no guidance.
        """
        read = {prompt: self.prompt(prompt, size) for prompt in dict.fromkeys(prompts)}
        return self.session_of([read[prompt] for prompt in prompts], guidance_scale, size, guided)

    def session_of(
        self, prompts: Sequence[Prompt], guidance_scale: float | Sequence[float], size: Size, guided: bool | None = None
    ) -> TransformersSession:
        """As :meth:`session`, of prompts that were made before."""
        from coupled_decoding.serving.session import TransformersSession

        scales = [guidance_scale] * len(prompts) if isinstance(guidance_scale, (int, float)) else list(guidance_scale)
        along = [self.guidance(scale, size) for scale in scales]
        negative = None
        if any(scale != 1 for scale in scales) if guided is None else guided:
            twins = {id(prompt): self.unconditional(prompt, size) for prompt in prompts}
            negative = [twins[id(prompt)] for prompt in prompts]
        return TransformersSession(
            self.backbone, prompts, self.layout_of(size).length, negative_prompts=negative,
            guidance_scale=along,
        )

    def idle_session(self, rows: int, capacity: int, guided: bool) -> TransformersSession:
        """A session whose rows have no prompts yet: they adopt those of other sessions of this model.

        Args:
            rows: how many.
            capacity: most tokens of a row, prompt and picture together.
            guided: whether rows have unconditional twins.
        """
        from coupled_decoding.serving.session import TransformersSession

        return TransformersSession(
            self.backbone, [None] * rows, 0, negative_prompts=[None] * rows if guided else None, capacity=capacity
        )

    def encode(self, pictures: Sequence[Image.Image], size: Size) -> Tensor:
        """Token streams of pictures scaled to a size, LongTensor ``[B, length]``: what ``given`` takes a part of."""
        return torch.cat([self.tokens_of(to_pixels([picture], size, self.device), size) for picture in pictures])

    def decode(self, tokens: Tensor, size: Size) -> list[Image.Image]:
        """Pictures of token streams, LongTensor ``[B, length]``. ValueError where the family has ``tokens_only``."""
        if self.tokens_only:
            raise ValueError(f"{self.name} gives no pictures here, {self.tokens_only}")
        return [image for stream in tokens.split(1) for image in to_images(self.pixels_of(stream, size))]

    @abstractmethod
    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        """Token stream, LongTensor ``[1, length]``, of a picture ``[1, 3, H, W]`` in [0, 1]."""

    @abstractmethod
    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        """A picture ``[1, 3, H, W]``, [0, 1] but for what the decoder overshoots, of its stream ``[1, length]``."""


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
    """A checkpoint that continues clips: first frames to tokens, more tokens after these, tokens to frames.

    Clips are turned into tokens and back one at a time, so that no clip depends on those beside it.
    """

    frames: int
    """How many a clip has, context included, unless a call says otherwise."""
    lengths: Mapping[int, int]
    """Numbers of frames after which a context or a clip may end, and the tokens that so many first frames have."""
    frames_per_second: float
    """At which clips are shown, and context is taken to be."""
    frames_by_torchscript: ClassVar[bool] = False
    """Whether frames can be read and made with ``allow_torchscript`` only."""

    @abstractmethod
    def layout_of(self, num_context: int, num_frames: int) -> Layout:
        """Stream of the tokens that come after ``num_context`` frames, up to the end of ``num_frames``."""

    @abstractmethod
    def check_context(self, tokens: Tensor) -> None:
        """ValueError where LongTensor ``[B, n]`` are no tokens of first frames."""

    @abstractmethod
    def session(self, contexts: Tensor, num_frames: int, prompts: Sequence[str] | None) -> TransformersSession:
        """Read contexts in, LongTensor ``[B, n]``, and a text for each row where the model reads one."""

    def encode(self, clips: Sequence[Sequence[Image.Image]]) -> Tensor:
        """Tokens of clips' first frames, scaled and cut to the model's size: LongTensor ``[B, n]``.

        All clips have the same number of frames, one of ``lengths``. ValueError where the model has ``tokens_only``.
        """
        self._require_pixels()
        cut = ([self.fitted(frame) for frame in clip] for clip in clips)
        return torch.cat([self.tokens_of(to_pixels(frames, self.size, self.device)) for frames in cut])

    def decode(self, tokens: Tensor) -> list[list[Image.Image]]:
        """Frames of clips from their first on, of LongTensor ``[B, n]``; n is one of ``lengths``' values.

        ValueError where the model has ``tokens_only``.
        """
        self._require_pixels()
        return [to_images(self.pixels_of(stream)) for stream in tokens.split(1)]

    def _require_pixels(self) -> None:
        if self.tokens_only:
            raise ValueError(self.tokens_only)

    @abstractmethod
    def tokens_of(self, pixels: Tensor) -> Tensor:
        """Tokens, LongTensor ``[1, n]``, of one clip's first frames ``[T, 3, H, W]`` in [0, 1]."""

    @abstractmethod
    def pixels_of(self, tokens: Tensor) -> Tensor:
        """Frames of one clip ``[T, 3, H, W]``, [0, 1] but for what the decoder overshoots, of tokens ``[1, n]``."""

    def fitted(self, frame: Image.Image) -> Image.Image:
        """A frame of any size as the model reads it: RGB over white, cut to its middle in proportion, and scaled."""
        return ImageOps.fit(over_white(frame), self.size, Image.Resampling.LANCZOS)

    def length_of(self, frames: int) -> int:
        """Tokens of a clip's first frames. ValueError where none may end there."""
        if frames not in self.lengths:
            raise ValueError(f"{frames} frames: in {self.name} a context or a clip ends after {_listed(self.lengths)}")
        return self.lengths[frames]

    def frames_of(self, length: int) -> int:
        """Frames that this many tokens are. ValueError where they are none."""
        for frames, tokens in self.lengths.items():
            if tokens == length:
                return frames
        raise ValueError(f"{length} tokens: in {self.name} first frames have {_listed(self.lengths.values())}")


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
