"""What a pipeline needs to know about a family of video models. One file a family says it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from PIL import Image, ImageOps
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.session import Session
from coupled_decoding.models.family import Model, over_white

SHOWN = 8
"""Numbers that a refusal lists."""


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
