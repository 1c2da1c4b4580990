"""What transformers of our own share, those of LlamaGen, Cosmos and the shipped video model: relatives of Llama with
Meta's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

EPS = 1e-5


def layers_in(names: Iterable[str]) -> int:
    """How many layers weights of these names have. ValueError if none."""
    return 1 + max(int(name.split(".")[1]) for name in names if name.startswith("layers."))


class Transformer(nn.Module):
    """What a :class:`coupled_decoding.serving.backbone.Backbone` asks of its decoder."""

    layers: nn.ModuleList
    output: nn.Linear

    @property
    def device(self) -> torch.device:
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.output.weight.dtype

    @property
    def config(self) -> PretrainedConfig:
        return PretrainedConfig(num_hidden_layers=len(self.layers), attn_implementation="sdpa")


class FeedForward(nn.Module):
    """The gated layer (SwiGLU, arXiv 2002.05202), ``[..., width]`` to the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Attention(nn.Module):
    """Self-attention with one matrix for query, key and value, and a rotary embedding."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.wqkv, self.wo = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor | None, cache: Any, layer: int) -> Tensor:
        """See :class:`Layer`."""
        query, key, value = self.wqkv(x).unflatten(-1, (3, -1, self.head_dim)).unbind(2)  # [R, T, heads, head_dim]
        query, key = rotated(query, rotary), rotated(key, rotary)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        keys, values = cache.update(key, value, layer)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=mask is None)
        return self.wo(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A block of Llama: attention, then the feed-forward, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, inner: int, head_dim: int) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(width, head_dim), FeedForward(width, inner)
        self.attention_norm, self.ffn_norm = nn.RMSNorm(width, EPS), nn.RMSNorm(width, EPS)

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor | None, cache: Any, layer: int) -> Tensor:
        """One layer's share of hidden states ``[R, T, width]``, to the same.

        Args:
            rotary: complex ``[R, T, 1, head_dim / 2]``, the factor of each pair of channels of a head.
            mask: bool ``[R, 1, T, visible]``; None: each token sees all before it.
            cache: a :class:`coupled_decoding.serving.cache.PositionCache`, aimed.
            layer: the number of this layer in the cache.
        """
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, layer)
        return x + self.feed_forward(self.ffn_norm(x))


def rotated(x: Tensor, rotary: Tensor) -> Tensor:
    """Pairs of neighbours along the last axis turned by complex factors, in float32 at least.

    ``x`` ``[R, T, heads, head_dim]``, ``rotary`` ``[R, T, 1, head_dim / 2]``.
    """
    cosine, sine = torch.view_as_real(rotary).unbind(-1)  # compilers fuse real products, not complex ones
    first, second = x.to(cosine.dtype).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1)
    return turned.flatten(-2).to(x.dtype)
