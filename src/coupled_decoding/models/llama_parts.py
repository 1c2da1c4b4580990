"""What transformers of our own share, those of LlamaGen and Cosmos: relatives of Llama with Meta's names."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig


def layers_in(names: Iterable[str]) -> int:
    """How many layers weights of these names have. ValueError if none."""
    return 1 + max(int(name.split(".")[1]) for name in names if name.startswith("layers."))


class Transformer(nn.Module):
    """What a :class:`coupled_decoding.models.backbone.Backbone` asks of its decoder."""

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
    """The gated layer (SwiGLU, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))
