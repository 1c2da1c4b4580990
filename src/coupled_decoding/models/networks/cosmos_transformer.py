"""The transformer of Cosmos-1: a Llama whose rotary embedding tells time, row and column, some with a text to look at.

All sizes are read off the weights; names are those of the published weights. What they do not tell, the shape of a clip
in codes and the stretched rotary embedding of the larger models, comes from the family.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.models.networks.llama_parts import FeedForward, Transformer, layers_in

ROTARY_BASE, SINUSOID_BASE, EPS = 500000.0, 10000.0, 1e-5
STRETCH, SLOW, FAST = 2, 1, 4
FIRST_TRAINED = (3, 40, 40)
"""Positions in time, row and column that larger models' rotary embedding was stretched from; columns count as rows."""

Shape = tuple[int, int, int]
KeysAndValues = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys, of tokens to tokens or to a text of width ``source``."""

    def __init__(self, width: int, source: int, heads: int, groups: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.wq = nn.Linear(width, heads * head_dim, bias=False)
        self.wk, self.wv = (nn.Linear(source, groups * head_dim, bias=False) for _ in range(2))
        self.wo = nn.Linear(heads * head_dim, width, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(head_dim, EPS), nn.RMSNorm(head_dim, EPS)

    def queries(self, x: Tensor) -> Tensor:
        """``[R, T, heads, head_dim]``."""
        return self.q_norm(self.wq(x).unflatten(-1, (-1, self.head_dim)))

    def keys_and_values(self, source: Tensor) -> KeysAndValues:
        """Both ``[R, S, groups, head_dim]``."""
        keys, values = (linear(source).unflatten(-1, (-1, self.head_dim)) for linear in (self.wk, self.wv))
        return self.k_norm(keys), values

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Keys and values ``[R, groups, S, head_dim]``; mask ``[R, 1, heads / groups * T, S]``, a head's T together."""
        groups, length = keys.shape[1], queries.shape[1]
        # the heads of a group stand in one row of queries, so that keys and values are not repeated for each of them
        together = queries.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mixed = F.scaled_dot_product_attention(together, keys, values, attn_mask=mask)
        return self.wo(mixed.unflatten(2, (-1, length)).permute(0, 3, 1, 2, 4).flatten(2))


class Layer(nn.Module):
    """Attention to tokens, then to a text where the model reads one, then the feed-forward, each behind a norm."""

    def __init__(self, width: int, inner: int, heads: tuple[int, int, int], text: int | None) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(width, width, *heads), FeedForward(width, inner)
        self.attention_norm, self.ffn_norm = nn.RMSNorm(width, EPS), nn.RMSNorm(width, EPS)
        if text is not None:
            self.cross_attention, self.cross_attention_norm = Attention(width, text, *heads), nn.RMSNorm(width, EPS)

    def forward(
        self, x: Tensor, rotary: Tensor, mask: Tensor, cache: Any, layer: int, text: KeysAndValues | None
    ) -> Tensor:
        """Hidden states ``[R, T, width]`` to the same.

        Args:
            rotary: complex ``[R, T, 1, head_dim / 2]``.
            mask: bool ``[R, 1, heads / groups * T, visible]``, see :class:`Attention`.
            cache, layer: where keys and values go.
            text: keys and values ``[R, groups, S, head_dim]``.
        """
        y = self.attention_norm(x)
        keys, values = self.attention.keys_and_values(y)
        keys, values = cache.update(rotated(keys, rotary).transpose(1, 2), values.transpose(1, 2), layer)
        x = x + self.attention(rotated(self.attention.queries(y), rotary), keys, values, mask)
        if text is not None:
            x = x + self.cross_attention(self.cross_attention.queries(self.cross_attention_norm(x)), *text, None)
        return x + self.feed_forward(self.ffn_norm(x))


class CosmosTransformer(Transformer):
    """Modules for weights under the published names; KeyError or ValueError where some are missing or do not fit."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        tokens, self.width = tensors["tok_embeddings.weight"].shape
        self.codes = len(tensors["output.weight"])
        inner = len(tensors["layers.0.feed_forward.w1.weight"])
        depth = layers_in(tensors)
        self.head_dim = len(tensors["layers.0.attention.q_norm.weight"])
        heads, groups = (len(tensors[f"layers.0.attention.{part}.weight"]) // self.head_dim for part in ("wq", "wk"))
        read = tensors.get("layers.0.cross_attention.wk.weight")
        self.text_width: int | None = None if read is None else read.shape[1]
        self.heads_a_group = heads // groups
        self.tok_embeddings = nn.Embedding(tokens, self.width)
        self.layers = nn.ModuleList(
            Layer(self.width, inner, (heads, groups, self.head_dim), self.text_width) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(self.width, EPS)
        self.output = nn.Linear(self.width, self.codes, bias=False)

    def read_texts(self, features: Tensor) -> list[KeysAndValues]:
        """What each layer looks at of texts ``[N, S, text_width]``: keys and values ``[N, groups, S, head_dim]``."""
        both = (layer.cross_attention.keys_and_values(features) for layer in cast("list[Layer]", self.layers))
        return [(keys.transpose(1, 2), values.transpose(1, 2)) for keys, values in both]

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        embeddings: Tensor | None,
        mask: Tensor,
        cache: Any,
        texts: Sequence[KeysAndValues] | None,
    ) -> Tensor:
        """Last hidden states of embeddings ``[R, T, width]``.

        Args:
            rotary: complex ``[R, T, head_dim / 2]``, rows of :func:`rotary_table`.
            embeddings: ``[R, T, width]``, rows of :func:`position_embeddings`, which every layer adds; None: nothing.
            mask: bool ``[R, 1, T, visible]``.
            cache: a :class:`coupled_decoding.serving.cache.PositionCache`, aimed.
            texts: what each layer sees of each row's text, as of :meth:`read_texts`; None: there is none.
        """
        rotary, mask = rotary.unsqueeze(2), mask.repeat(1, 1, self.heads_a_group, 1)
        for i, layer in enumerate(cast("list[Layer]", self.layers)):
            x = x if embeddings is None else x + embeddings
            x = layer(x, rotary, mask, cache, i, None if texts is None else texts[i])
        return self.norm(x)


def rotary_table(head_dim: int, shape: Shape, stretched: bool, dtype: torch.dtype) -> Tensor:
    """Complex factors ``[t * h * w, head_dim / 2]``: pairs that turn with time, then with the row and the column."""
    trained = FIRST_TRAINED if stretched else (None, None, None)
    angles = _on_grid([
        torch.outer(torch.arange(count, dtype=torch.float64), _frequencies(size, first))
        for count, size, first in zip(shape, _shares(head_dim), trained, strict=True)
    ])
    factors = torch.polar(torch.ones_like(angles), angles)
    return factors.to(torch.complex128 if dtype == torch.float64 else torch.complex64)


def _frequencies(size: int, first: int | None) -> Tensor:
    """Radians per position of each pair, ``[size / 2]``.

    Where the embedding was first trained on ``first`` positions and then stretched (YaRN, arXiv 2309.00071), a pair
    that turned less than SLOW times over them turns at 1 / STRETCH of its pace, one that turned more than FAST times as
    before, and those between in proportion.
    """
    own = ROTARY_BASE ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    if first is None:
        return own
    kept = ((own * first / (2 * math.pi) - SLOW) / (FAST - SLOW)).clamp(0, 1)
    return own * (kept + (1 - kept) / STRETCH)


def position_embeddings(width: int, shape: Shape, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of time, row and column, ``[t * h * w, width]``, rounded to bfloat16 as in training."""
    parts = []
    for count, size in zip(shape, _shares(width), strict=True):
        pace = SINUSOID_BASE ** -(torch.arange(size // 2, dtype=torch.float64) / (size // 2))
        angles = torch.outer(torch.arange(count, dtype=torch.float64), pace)
        parts.append(torch.cat([angles.sin(), angles.cos()], 1).to(torch.bfloat16).to(dtype))
    return _on_grid(parts)


def _shares(size: int) -> Shape:
    """How many of a number of channels tell time, row and column."""
    side = size // 6 * 2
    return size - 2 * side, side, side


def _on_grid(axes: Sequence[Tensor]) -> Tensor:
    """Tables of time ``[t, a]``, row ``[h, b]`` and column ``[w, c]`` to one of a clip, ``[t * h * w, a + b + c]``."""
    shape = [len(axis) for axis in axes]
    spread = [axis.view([-1 if i == j else 1 for j in range(3)] + [axis.shape[1]]).expand(*shape, -1)
              for i, axis in enumerate(axes)]
    return torch.cat(spread, -1).flatten(0, 2)


def rotated(x: Tensor, rotary: Tensor) -> Tensor:
    """Pairs of channels, one of each half, turned by complex factors, in float32 at least.

    ``x`` ``[R, T, heads, head_dim]``, ``rotary`` ``[R, T, 1, head_dim / 2]``.
    """
    turned = torch.complex(*x.to(rotary.real.dtype).chunk(2, -1)) * rotary
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)
