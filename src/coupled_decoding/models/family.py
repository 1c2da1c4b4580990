"""What a pipeline needs to know about a family of picture models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.target import Sampling


class PictureModel(Protocol):
    """A checkpoint that turns prompts into codes and codes into pictures. One file a family says how."""

    layout: Layout
    """Of one picture's token stream."""
    sampling: Sampling
    """The family's published default."""
    guidance_scale: float
    """The family's published default; 1 is none."""
    dtype: torch.dtype
    """In which the transformer computes."""

    def session(self, prompts: Sequence[str], guidance_scale: float) -> Session:
        """Read the prompts in, one row each. ValueError where one is empty or longer than the model reads."""
        ...

    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Token streams of pictures, LongTensor ``[B, length]``: what ``given`` takes the beginning of."""
        ...

    def decode(self, tokens: Tensor) -> list[Image.Image]:
        """Pictures of token streams, LongTensor ``[B, length]``."""
        ...
