"""MoVQGAN (arXiv 2209.09002): a VQGAN whose decoder is told the quantised latents again in each of its normalisations.

Published as ``movqgan_270M.ckpt`` (also 67M and 102M) by ai-forever/MoVQGAN, from whose code the facts here are; the
encoder is the plain one. All sizes are read off the weights: 16384 codes of four numbers, eight pixels a code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.models.checkpoints.reading import read_tensors
from coupled_decoding.models.networks.vqgan import VQGAN, Decoder, VQGANConfig, group_norm, load_vqgan


class SpatialNorm(nn.Module):
    """Group normalisation whose scale and shift at each place are linear in the latents there."""

    def __init__(self, channels: int, code_dim: int) -> None:
        super().__init__()
        self.norm_layer = group_norm(channels)
        self.conv_y, self.conv_b = nn.Conv2d(code_dim, channels, 1), nn.Conv2d(code_dim, channels, 1)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """``x`` ``[B, channels, H, W]``, ``latents`` ``[B, code_dim, h, w]`` of any resolution."""
        latents = F.interpolate(latents, size=x.shape[-2:], mode="nearest")
        return self.norm_layer(x) * self.conv_y(latents) + self.conv_b(latents)


class MoVQGAN(VQGAN):
    """Pictures ``[B, 3, H, W]`` in [0, 1] to codes LongTensor ``[B, h, w]`` and back, on any device."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__(config)
        self.decoder = Decoder(config, norm=lambda channels: SpatialNorm(channels, config.code_dim))

    def drawn(self, entries: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(entries), entries)


def load_movqgan(path: Path, device: torch.device) -> VQGAN:
    """A float32 MoVQGAN of a published file. ValueError if it is damaged or something else."""
    # beside these lie training's own: a discriminator, and running averages of the weights, which upstream does not use
    parts = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if name.startswith(parts)}
    return load_vqgan(tensors, path, normalised=False, device=device, cls=MoVQGAN)
