"""What a pipeline needs to know about a family of video models. One file a family says it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.session import Session
from coupled_decoding.models.family import Model


class VideoModel(Model):
    """A checkpoint that goes on with clips: first frames to tokens, more tokens after these, tokens to frames."""

    frames: int
    """How many a clip has, context included, unless a call says otherwise."""
    lengths: Mapping[int, int]
    """Numbers of frames after which a context or a clip may end, and the tokens that so many first frames have."""
    tokens_only: str = ""
    """Where frames can be neither read nor made: the sentence that says why. ``encode`` and ``decode`` raise it."""

    @abstractmethod
    def layout_of(self, num_context: int, num_frames: int) -> Layout:
        """Stream of the tokens that come after ``num_context`` frames, up to the end of ``num_frames``."""

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

    def length_of(self, frames: int) -> int:
        """Tokens of a clip's first frames. ValueError where none may end there."""
        if frames not in self.lengths:
            raise ValueError(f"{frames} frames: in {self.card.name} a context or a clip ends after "
                             f"{', '.join(map(str, self.lengths))}")
        return self.lengths[frames]
