"""The transformer of LlamaGen: a Llama with a two-dimensional rotary embedding and one matrix for q, k and v.

All sizes are read off the weights, but for the number of heads: published models have heads of 64, those of width 3200
(3B) of 100, those of width 4096 (7B) of 128. Names are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.models.networks.llama_parts import EPS, Layer, Transformer, layers_in

HEAD_DIM, HEAD_DIM_AT_WIDTH = 64, {3200: 100, 4096: 128}
ROTARY_BASE = 10000.0


class ClassEmbedding(nn.Module):
    """One vector for each class; the last is that of no class."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes, width)

    def forward(self) -> Tensor:
        """``[classes, width]``, that of no class included."""
        return self.embedding_table.weight


class CaptionEmbedding(nn.Module):
    """Text features to input embeddings; ``uncond_embedding`` ``[places, features]`` are those of no text."""

    uncond_embedding: Tensor

    def __init__(self, places: int, features: int, width: int) -> None:
        super().__init__()
        self.cap_proj = nn.ModuleDict({
            "fc1": nn.Linear(features, width, bias=False), "fc2": nn.Linear(width, width, bias=False),
        })
        self.register_buffer("uncond_embedding", torch.empty(places, features))

    def forward(self, features: Tensor) -> Tensor:
        """``[..., features]`` to ``[..., width]``."""
        return self.cap_proj["fc2"](F.gelu(self.cap_proj["fc1"](features), approximate="tanh"))


class LlamaGenTransformer(Transformer):
    """Modules for weights under the published names; KeyError or ValueError where some are missing or do not fit."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        codes, width = tensors["tok_embeddings.weight"].shape
        inner = tensors["layers.0.feed_forward.w1.weight"].shape[0]
        depth = layers_in(tensors)
        self.head_dim = HEAD_DIM_AT_WIDTH.get(width, HEAD_DIM)
        if width % self.head_dim:
            raise ValueError(f"width {width} is not that of a published model: a multiple of {HEAD_DIM}")
        self.cls_embedding: nn.Module
        if "cls_embedding.embedding_table.weight" in tensors:
            self.cls_embedding = ClassEmbedding(len(tensors["cls_embedding.embedding_table.weight"]), width)
        else:
            places, features = tensors["cls_embedding.uncond_embedding"].shape
            self.cls_embedding = CaptionEmbedding(places, features, width)
        self.tok_embeddings = nn.Embedding(codes, width)
        self.layers = nn.ModuleList(Layer(width, inner, self.head_dim) for _ in range(depth))
        self.norm = nn.RMSNorm(width, EPS)
        self.output = nn.Linear(width, codes, bias=False)

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """Last hidden states of embeddings ``[R, T, width]``.

        Args:
            rotary: complex ``[R, T, head_dim / 2]``, rows of :func:`rotary_table`.
            mask: bool ``[R, 1, T, visible]``.
            cache: a :class:`coupled_decoding.serving.cache.PositionCache`, aimed.
        """
        for i, layer in enumerate(cast("list[Layer]", self.layers)):
            x = layer(x, rotary.unsqueeze(2), mask, cache, i)
        return self.norm(x)


def rotary_table(conditions: int, side: int, head_dim: int, dtype: torch.dtype) -> Tensor:
    """Complex factors ``[conditions + side * side, head_dim / 2]``: half the pairs turn by row, half by column.

    Those of the conditions are zero, as published: their queries and keys vanish, so each of them weighs the same.
    """
    frequencies = ROTARY_BASE ** -(torch.arange(0, head_dim // 2, 2, dtype=torch.float64) / (head_dim // 2))
    along = torch.outer(torch.arange(side, dtype=torch.float64), frequencies)  # [side, head_dim / 4]
    grid = torch.cat([along.repeat_interleave(side, 0), along.repeat(side, 1)], 1)
    factors = torch.cat([torch.zeros(conditions, head_dim // 2), torch.polar(torch.ones_like(grid), grid)])
    return factors.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
