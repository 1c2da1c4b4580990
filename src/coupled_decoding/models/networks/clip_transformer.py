"""The transformer of the shipped video model: a Llama whose rotary embedding tells time, row and column.

It attends over a few frames only, so a clip may continue forever: what it knows of a place depends on how far away that
is, never on how long the clip is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from coupled_decoding.models.networks.llama_parts import EPS, Layer, Transformer

ROTARY_BASE = 100.0
"""Clips are short and grids small: the slowest pair of channels turns once in some 400 positions."""


@dataclass(frozen=True)
class ClipTransformerConfig:
    """Sizes of a :class:`ClipTransformer`; a part of ``clip_config.json``."""

    first_codes: int = 512
    """Ids of a first frame's codes: 0 .. first_codes-1. Those of later frames come behind them."""
    codes: int = 512
    """Of later frames: what is drawn."""
    first_grid: tuple[int, int] = (16, 16)
    grid: tuple[int, int] = (8, 8)
    span: int = 12
    """Frames that a token sees, its own included."""
    width: int = 256
    inner: int = 512
    layers: int = 6
    head_dim: int = 64

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ClipTransformerConfig:
        grids = {name: tuple(content[name]) for name in ("first_grid", "grid")}
        return cls(**{**content, **grids})

    @property
    def first_size(self) -> int:
        """Tokens of a first frame."""
        return self.first_grid[0] * self.first_grid[1]

    @property
    def frame_size(self) -> int:
        """Tokens of a later frame."""
        return self.grid[0] * self.grid[1]

    def begin_of(self, time: Tensor) -> Tensor:
        """Index in a clip's stream at which frames, LongTensor ``[...]``, begin."""
        return torch.where(time == 0, 0, self.first_size + (time - 1) * self.frame_size)

    def time_of(self, index: Tensor) -> Tensor:
        """The frame that tokens at indices of a clip's stream, LongTensor ``[...]``, belong to."""
        return ((index - self.first_size).div(self.frame_size, rounding_mode="floor") + 1).clamp(min=0)

    def positions3_of(self, index: Tensor) -> Tensor:
        """Time, row and column of indices of a clip's stream: float64 ``[..., 3]``.

        Rows and columns count those of a first frame; a code of a coarser frame stands in the middle of what it covers.
        """
        time = self.time_of(index)
        first = time == 0
        inside = torch.where(first, index, (index - self.first_size) % self.frame_size)
        across = torch.where(first, self.first_grid[1], self.grid[1])
        scale = [large / small for large, small in zip(self.first_grid, self.grid, strict=True)]
        row, column = (
            torch.where(first, along.double(), scale[axis] * (along + 0.5) - 0.5)
            for axis, along in enumerate((inside // across, inside % across))
        )
        return torch.stack([time.double(), row, column], -1)


class ClipTransformer(Transformer):
    """Token ids to logits of the codes of later frames."""

    def __init__(self, config: ClipTransformerConfig) -> None:
        super().__init__()
        self.sizes = config
        self.tok_embeddings = nn.Embedding(config.first_codes + config.codes, config.width)
        self.layers = nn.ModuleList(
            Layer(config.width, config.inner, config.head_dim) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.width, EPS)
        self.output = nn.Linear(config.width, config.codes, bias=False)

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor | None, cache: Any) -> Tensor:
        """Last hidden states of embeddings ``[R, T, width]``.

        Args:
            rotary: complex ``[R, T, head_dim / 2]``, as of :func:`rotary_of`.
            mask: bool ``[R, 1, T, visible]``; None: each token sees all before it.
            cache: a :class:`coupled_decoding.serving.cache.PositionCache`, aimed.
        """
        for i, layer in enumerate(cast("list[Layer]", self.layers)):
            x = layer(x, rotary.unsqueeze(2), mask, cache, i)
        return self.norm(x)


def rotary_of(positions3: Tensor, head_dim: int) -> Tensor:
    """Complex factors ``[..., head_dim / 2]`` of time, row and column ``[..., 3]``: some pairs turn with each."""
    pairs = head_dim // 2
    side = pairs // 3
    angles = torch.cat([
        position.unsqueeze(-1) * ROTARY_BASE ** -(torch.arange(count).to(position) / count)
        for position, count in zip(positions3.unbind(-1), (pairs - 2 * side, side, side), strict=True)
    ], -1)
    return torch.polar(torch.ones_like(angles), angles)
