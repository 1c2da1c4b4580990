"""The convolutional VQGAN (arXiv 2012.09841) that most of these families turn codes into pixels with.

Janus and LlamaGen publish one as "VQ-16", Chameleon (Lumina-mGPT 1.0, Anole) the original design; they differ in names,
in widths, and in whether codebook entries are normalised. Weights are named here as in the original design; a family
renames its own. All sizes are read off the weights. MoVQGAN's decoder normalises in a way of its own (``movqgan.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.models.checkpoints.reading import load_weights


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes of a :class:`VQGAN`; level 0 is the finest."""

    codes: int
    code_dim: int
    latent_channels: int
    base_channels: int
    channels: tuple[int, ...]
    """Of each level; each level but the last halves the picture."""
    blocks: int
    """Residual blocks a level in the encoder; the decoder has one more."""
    attention: frozenset[int]
    """Levels with self-attention after every block."""
    normalised: bool
    """Whether codebook entries are used at unit length."""

    @property
    def downsampling(self) -> int:
        """Pixels a code along each side."""
        return 2 ** (len(self.channels) - 1)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], normalised: bool) -> VQGANConfig:
        """Read off weights under the names used here. KeyError where one is missing."""
        levels, blocks = (_numbered(pattern, tensors) for pattern in (r"encoder\.down\.", r"encoder\.down\.0\.block\."))
        codes, code_dim = tensors["quantize.embedding.weight"].shape
        return cls(
            codes=codes,
            code_dim=code_dim,
            latent_channels=tensors["post_quant_conv.weight"].shape[0],
            base_channels=tensors["encoder.conv_in.weight"].shape[0],
            channels=tuple(tensors[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)),
            blocks=blocks,
            attention=frozenset(i for i in range(levels) if f"encoder.down.{i}.attn.0.q.weight" in tensors),
            normalised=normalised,
        )


def _numbered(pattern: str, names: Iterable[str]) -> int:
    """How many numbers follow a pattern in these names. ValueError if none does."""
    return 1 + max(int(found[1]) for name in names if (found := re.match(pattern + r"(\d+)\.", name)))


Norm = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels. What blocks are given besides ``x`` goes to it."""


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut: ``[B, given, H, W]`` to ``[B, channels, H, W]``."""

    def __init__(self, given: int, channels: int, norm: Norm = group_norm) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(given), nn.Conv2d(given, channels, 3, padding=1)
        self.norm2, self.conv2 = norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        if given != channels:
            self.nin_shortcut = nn.Conv2d(given, channels, 1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        changed = self.conv1(F.silu(self.norm1(x, *condition)))
        changed = self.conv2(F.silu(self.norm2(changed, *condition)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + changed


class Attention(nn.Module):
    """Self-attention over all places of ``[B, channels, H, W]``, one head."""

    def __init__(self, channels: int, norm: Norm = group_norm) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        normed = self.norm(x, *condition)
        query, key, value = (part(normed).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(query, key, value)  # [B, 1, H * W, channels]
        return x + self.proj_out(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    """Two residual blocks with attention between them, at the coarsest resolution: ``[B, channels, h, w]``."""

    def __init__(self, channels: int, norm: Norm = group_norm) -> None:
        super().__init__()
        self.block_1, self.attn_1 = ResidualBlock(channels, channels, norm), Attention(channels, norm)
        self.block_2 = ResidualBlock(channels, channels, norm)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, *condition), *condition), *condition)


class Resample(nn.Module):
    """Halves or doubles ``[B, channels, H, W]`` down and across, around a convolution."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if down else nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention where the level has it.

    ``[B, given, H, W]`` to ``[B, channels, H, W]``.
    """

    upsample: nn.Module
    downsample: nn.Module

    def __init__(self, given: int, channels: int, blocks: int, attention: bool, norm: Norm = group_norm) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(channels if i else given, channels, norm) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(channels, norm) for _ in range(blocks if attention else 0))

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x, *condition)
            if len(self.attn):
                x = self.attn[i](x, *condition)
        return x


class Encoder(nn.Module):
    """Pixels ``[B, 3, H, W]`` to latents ``[B, latent_channels, h, w]``."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, config.base_channels, 3, padding=1)
        self.down = nn.ModuleList()
        given = config.base_channels
        for i, channels in enumerate(config.channels):
            level = Level(given, channels, config.blocks, i in config.attention)
            if i < len(config.channels) - 1:
                level.downsample = Resample(channels, down=True)
            self.down.append(level)
            given = channels
        self.mid, self.norm_out = Middle(given), group_norm(given)
        self.conv_out = nn.Conv2d(given, config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in cast("list[Level]", self.down):
            x = level(x)
            x = level.downsample(x) if hasattr(level, "downsample") else x
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents ``[B, latent_channels, h, w]`` to pixels ``[B, 3, H, W]``."""

    def __init__(self, config: VQGANConfig, norm: Norm = group_norm) -> None:
        super().__init__()
        given = config.channels[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, given, 3, padding=1)
        self.mid = Middle(given, norm)
        levels: list[Level] = []
        for i in reversed(range(len(config.channels))):
            channels = config.channels[i]
            level = Level(given, channels, config.blocks + 1, i in config.attention, norm)
            if i > 0:
                level.upsample = Resample(channels, down=False)
            levels.insert(0, level)
            given = channels
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = norm(given), nn.Conv2d(given, 3, 3, padding=1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x), *condition)
        for level in reversed(cast("list[Level]", self.up)):
            x = level(x, *condition)
            x = level.upsample(x) if hasattr(level, "upsample") else x
        return self.conv_out(F.silu(self.norm_out(x, *condition)))


class Quantizer(nn.Module):
    """The codebook."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.normalised = config.normalised
        self.embedding = nn.Embedding(config.codes, config.code_dim)

    def entries(self) -> Tensor:
        """The codebook ``[codes, code_dim]`` as it is used."""
        return F.normalize(self.embedding.weight, dim=-1) if self.normalised else self.embedding.weight

    def nearest(self, latents: Tensor) -> Tensor:
        """Closest entry for each row of ``latents`` ``[N, code_dim]``: LongTensor ``[N]``."""
        latents, entries = F.normalize(latents, dim=-1) if self.normalised else latents, self.entries()
        return (entries.square().sum(1) - 2 * latents @ entries.T).argmin(1)  # |z|^2 does not change the order


class VQGAN(nn.Module):
    """Pictures ``[B, 3, H, W]`` in [0, 1] to codes LongTensor ``[B, h, w]`` and back, on any device."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder, self.quantize = Encoder(config), Decoder(config), Quantizer(config)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.latent_channels, 1)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        signed = 2 * pixels.to(self.device) - 1  # as the network was trained
        latents = self.quant_conv(self.encoder(signed)).permute(0, 2, 3, 1)  # [B, h, w, code_dim]
        return self.quantize.nearest(latents.flatten(0, 2)).view(latents.shape[:3])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Not cut to [0, 1]."""
        entries = self.quantize.entries()[codes.to(self.device)].permute(0, 3, 1, 2)  # [B, code_dim, h, w]
        return self.drawn(entries) / 2 + 0.5

    def drawn(self, entries: Tensor) -> Tensor:
        """Pixels ``[B, 3, H, W]`` around [-1, 1] of codebook entries ``[B, code_dim, h, w]``."""
        return self.decoder(self.post_quant_conv(entries))

    @property
    def device(self) -> torch.device:
        return self.quantize.embedding.weight.device


def load_vqgan(
    tensors: Mapping[str, Tensor], path: Path, *, normalised: bool, device: torch.device, cls: type[VQGAN] = VQGAN
) -> VQGAN:
    """A float32 VQGAN of weights under the names used here; ``path`` is named where they do not fit."""
    try:
        config = VQGANConfig.of(tensors, normalised)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no {cls.__name__}: {error} is missing") from error
    with torch.device("meta"):
        module = cls(config)
    load_weights(module, path, tensors=tensors, dtype=torch.float32)
    return module.to(device).eval()


def renamed_vq16(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a "VQ-16" (LlamaGen's, and Janus' own) under the names used here.

    There levels are ``conv_blocks`` in the order of computation, residual blocks ``res``, and the middle is numbered.
    """
    coarsest = _numbered(r"decoder\.conv_blocks\.", tensors) - 1
    middle = {"0": "block_1", "1": "attn_1", "2": "block_2"}

    def name_here(name: str) -> str:
        name = re.sub(r"^encoder\.conv_blocks\.", "encoder.down.", name)
        name = re.sub(r"^decoder\.conv_blocks\.(\d+)\.", lambda m: f"decoder.up.{coarsest - int(m[1])}.", name)
        name = re.sub(r"\.mid\.(\d)\.", lambda m: f".mid.{middle[m[1]]}.", name)
        return name.replace(".res.", ".block.")

    # a counter of training, not a weight
    return {name_here(name): tensor for name, tensor in tensors.items() if name != "quantize.codebook_used"}
