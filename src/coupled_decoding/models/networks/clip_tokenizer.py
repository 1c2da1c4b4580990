"""A small video tokenizer that is causal in time: a picture for the first frame, then what changes from frame to frame.

The first frame is a grid of codes of a :class:`coupled_decoding.models.networks.vq.VQTokenizer`. Each later frame is a
coarser grid of codes that tell how to make it out of the reconstruction of the frame before: a field of motion, by
which the old picture is warped, and a correction. So steady motion is the same code again and again, which is what a
model of the codes can foresee.

Which code stands for a latent is decided by distance and by cost (entropy-constrained vector quantisation, Chou,
Lookabaugh and Gray 1989): a code that stood at the same place one frame earlier is cheap, a rare one dear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.models.networks.vq import DOWNSAMPLING, ResidualBlock, VQConfig, VQTokenizer

CHANGE_DOWNSAMPLING = 8
"""Pixels along each side that a code of a later frame stands for."""
REACH = (3, 5)
"""Pairs of pixels down and across within which the encoder is told how well a shift of the frame before would fit."""


@dataclass(frozen=True)
class ChangeConfig:
    """Sizes of a :class:`ChangeTokenizer`."""

    codes: int = 512
    code_dim: int = 8
    width: int = 128
    """Channels of the coarsest layers; finer ones have a half, a quarter and an eighth."""
    rate: float = 0.2
    """What a nat of a code's cost weighs against squared distance of normalised latents."""
    stay: float = 0.5
    """Probability that the cost gives to the code of the frame before."""


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of a :class:`ClipTokenizer`; written to ``tokenizer/config.json`` beside the weights."""

    picture: VQConfig = field(default_factory=VQConfig)
    change: ChangeConfig = field(default_factory=ChangeConfig)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ClipConfig:
        return cls(VQConfig(**content["picture"]), ChangeConfig(**content["change"]))


class ChangeTokenizer(nn.Module):
    """Frames to codes and back, given the reconstruction of the frame before; all frames ``[B, 3, H, W]`` in [0, 1]."""

    codebook: Tensor
    usage: Tensor

    def __init__(self, config: ChangeConfig) -> None:
        super().__init__()
        self.config = config
        self.rate = config.rate
        wide = config.width
        half, quarter, eighth = wide // 2, wide // 4, wide // 8
        self.seen = nn.Sequential(
            nn.Conv2d(6, quarter, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(quarter, half, 4, stride=2, padding=1),
            ResidualBlock(half),
            nn.Conv2d(half, wide, 4, stride=2, padding=1),
        )
        self.shifts = nn.Conv2d(len(list(_shifts())), wide, 1)
        self.encoder = nn.Sequential(
            ResidualBlock(wide),
            ResidualBlock(wide),
            nn.Conv2d(wide, config.code_dim, 1),
            nn.GroupNorm(1, config.code_dim, affine=False),  # so that the rate weighs the same whatever is learned
        )
        self.before = nn.Sequential(  # the old frame at a quarter of its size
            nn.Conv2d(3, quarter, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(quarter, half, 4, stride=2, padding=1),
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(config.code_dim, wide, 3, padding=1), ResidualBlock(wide), ResidualBlock(wide),
            nn.Conv2d(wide, 4 * half, 3, padding=1), nn.PixelShuffle(2),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(2 * half, half, 3, padding=1), ResidualBlock(half),
            nn.Conv2d(half, 4 * quarter, 3, padding=1), nn.PixelShuffle(2), ResidualBlock(quarter), nn.SiLU(),
            nn.Conv2d(quarter, 4 * eighth, 3, padding=1), nn.PixelShuffle(2), nn.SiLU(),
        )
        self.motion = nn.Conv2d(eighth, 2, 3, padding=1)
        self.correction = nn.Sequential(
            nn.Conv2d(eighth + 3, quarter, 3, padding=1), nn.SiLU(), nn.Conv2d(quarter, 3, 3, padding=1),
        )
        self.register_buffer("codebook", torch.randn(config.codes, config.code_dim))
        self.register_buffer("usage", torch.full((config.codes,), 1 / config.codes))

    def latents(self, frames: Tensor, before: Tensor) -> Tensor:
        """``[B, H/8, W/8, code_dim]``."""
        seen = self.seen(torch.cat([2 * frames - 1, 2 * before - 1], 1))
        return self.encoder(seen + self.shifts(misfits(frames, before))).permute(0, 2, 3, 1)

    def choose(self, latents: Tensor, last: Tensor | None) -> Tensor:
        """The code for each of ``latents`` ``[N, code_dim]``, where ``last`` ``[N]`` stood before: LongTensor ``[N]``.

        None: nothing stood there.
        """
        cost = torch.cdist(latents, self.codebook).square()
        stay = 0.0 if last is None else self.config.stay
        drawn = (1 - stay) * self.usage.clamp(min=1e-6)
        cost = cost - self.rate * drawn.log()
        if last is not None:
            staying = last.unsqueeze(1)
            kept = cost.gather(1, staying) - self.rate * torch.log1p(stay / drawn)[staying]
            cost = cost.scatter(1, staying, kept)
        return cost.argmin(1)

    def rebuild(self, latents: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``[B, 3, H, W]``, not clamped, from ``latents`` ``[B, h, w, code_dim]`` of codes; and what they were
        before correction.
        """
        coarse = self.coarse(latents.permute(0, 3, 1, 2))
        fine = self.fine(torch.cat([coarse, self.before(2 * before - 1)], 1))
        warped = warp(before, self.motion(fine).float())
        return warped + self.correction(torch.cat([fine, 2 * warped - 1], 1)), warped

    def encode(self, frames: Tensor, before: Tensor, last: Tensor | None) -> Tensor:
        """Codes LongTensor ``[B, h, w]``; ``last`` are those of the frame before, None after the first frame."""
        latents = self.latents(frames, before)
        return self.choose(latents.flatten(0, 2), None if last is None else last.flatten()).view(latents.shape[:3])

    def decode(self, codes: Tensor, before: Tensor) -> Tensor:
        return self.rebuild(self.codebook[codes], before)[0].clamp(0, 1)


class ClipTokenizer(nn.Module):
    """Clips ``[B, T, 3, H, W]`` in [0, 1] to codes and back; H and W are multiples of eight.

    The first frame has ``H/4 * W/4`` codes, ids from 0, each later one ``H/8 * W/8``, ids behind those of the first.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.picture, self.change = VQTokenizer(config.picture), ChangeTokenizer(config.change)

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """LongTensor ``[B, n]``: raster order in each frame, frames in order."""
        codes = self.picture.encode(clips[:, 0])
        before, last, stream = self.picture.decode(codes), None, [codes.flatten(1)]
        for frames in clips[:, 1:].unbind(1):
            last = self.change.encode(frames, before, last)
            before = self.change.decode(last, before)
            stream.append(self.config.picture.codes + last.flatten(1))
        return torch.cat(stream, 1)

    @torch.no_grad()
    def decode(self, codes: Tensor, height: int, width: int) -> Tensor:
        """Clips ``[B, T, 3, height, width]`` of LongTensor ``[B, n]`` of whole frames."""
        fine, coarse = ((height // n, width // n) for n in (DOWNSAMPLING, CHANGE_DOWNSAMPLING))
        first, rest = codes.tensor_split([fine[0] * fine[1]], 1)
        frames = [self.picture.decode(first.view(-1, *fine))]
        for change in (rest - self.config.picture.codes).view(len(codes), -1, *coarse).unbind(1):
            frames.append(self.change.decode(change, frames[-1]))
        return torch.stack(frames, 1)


def _shifts() -> Iterator[tuple[int, int]]:
    """Those in reach, down and across."""
    down, across = REACH
    return product(range(-down, down + 1), range(-across, across + 1))


@torch.no_grad()
def misfits(frames: Tensor, before: Tensor) -> Tensor:
    """How badly each shift of the frame before fits: mean differences over what a code stands for.

    ``[B, shifts, H/8, W/8]``, of each place the mean taken off and the spread made one.
    """
    now, then = F.avg_pool2d(frames, 2), F.avg_pool2d(before, 2)
    height, width = now.shape[-2:]
    down, across = REACH
    padded = F.pad(then, (across, across, down, down), mode="replicate")
    differences = torch.stack([
        (now - padded[..., down + dy : down + dy + height, across + dx : across + dx + width]).abs().mean(1)
        for dy, dx in _shifts()
    ], 1)
    pooled = F.avg_pool2d(differences, CHANGE_DOWNSAMPLING // 2).movedim(1, -1)
    return F.layer_norm(pooled, pooled.shape[-1:]).movedim(-1, 1)


def warp(pictures: Tensor, motion: Tensor) -> Tensor:
    """Pictures ``[B, 3, H, W]`` looked up ``motion`` ``[B, 2, H, W]`` pixels right of and below each place."""
    height, width = pictures.shape[-2:]
    y, x = (torch.arange(n, device=pictures.device, dtype=motion.dtype) for n in (height, width))
    at_x, at_y = x + motion[:, 0], y.unsqueeze(1) + motion[:, 1]
    # the middles of the outermost pixels are at -1 and 1
    grid = torch.stack([2 * at_x / (width - 1) - 1, 2 * at_y / (height - 1) - 1], -1)
    # bilinear would blur a little more with each frame
    return F.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=True)
