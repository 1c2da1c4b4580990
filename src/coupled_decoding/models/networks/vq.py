"""A small convolutional VQ tokenizer: pictures to a grid of codes and back, a code for each four by four pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DOWNSAMPLING = 4


@dataclass(frozen=True)
class VQConfig:
    """Sizes of a :class:`VQTokenizer`; written to ``vq/config.json`` beside the weights."""

    codes: int = 512
    code_dim: int = 16
    encoder_channels: tuple[int, int] = (64, 128)
    decoder_channels: tuple[int, int, int] = (192, 96, 48)
    blocks: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut, ``[B, channels, H, W]`` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class VQTokenizer(nn.Module):
    """Vector-quantised autoencoder (VQ-VAE, arXiv 1711.00937) with a nearest-neighbour codebook.

    Pictures are float tensors ``[B, 3, H, W]`` in [0, 1] with H and W multiples of four; codes are LongTensors
    ``[B, H/4, W/4]``; both on any device.
    """

    codebook: Tensor

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.encoder_channels
        self.encoder = nn.Sequential(
            nn.Conv2d(3, fine, 4, stride=2, padding=1),
            ResidualBlock(fine),
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1),
            *(ResidualBlock(coarse) for _ in range(config.blocks)),
            nn.Conv2d(coarse, config.code_dim, 1),
        )
        deep, middle, shallow = config.decoder_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, deep, 3, padding=1),
            *(ResidualBlock(deep) for _ in range(config.blocks)),
            nn.Conv2d(deep, 4 * middle, 3, padding=1),
            nn.PixelShuffle(2),
            ResidualBlock(middle),
            nn.Conv2d(middle, 4 * shallow, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(shallow, 3, 3, padding=1),
        )
        self.register_buffer("codebook", torch.randn(config.codes, config.code_dim))

    def nearest(self, latents: Tensor) -> Tensor:
        """Index of the closest codebook entry for each row of ``latents`` ``[N, code_dim]``: LongTensor ``[N]``."""
        return torch.cdist(latents, self.codebook).argmin(1)

    def encode(self, pictures: Tensor) -> Tensor:
        latents = self.encoder(2 * pictures.to(self.codebook.device) - 1)  # [B, code_dim, h, w]
        batch, dim, height, width = latents.shape
        return self.nearest(latents.permute(0, 2, 3, 1).reshape(-1, dim)).view(batch, height, width)

    def decode(self, codes: Tensor) -> Tensor:
        latents = self.codebook[codes.to(self.codebook.device)].permute(0, 3, 1, 2)
        return (self.decoder(latents) / 2 + 0.5).clamp(0, 1)
