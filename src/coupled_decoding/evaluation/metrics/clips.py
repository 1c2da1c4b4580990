"""Metrics of clips against held-out ones: evidence of losslessness, where the exactness tests are proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.evaluation.metrics.bootstrap import Statistic
from coupled_decoding.evaluation.metrics.projection import PrincipalComponents


def as_pixels(clips: Tensor) -> Tensor:
    """Clips ``[B, T, 3, H, W]``, uint8 or floats in [0, 1], as float32 in [0, 1]; ValueError for anything else."""
    if clips.ndim != 5 or clips.shape[2] != 3:
        raise ValueError(f"clips have shape {list(clips.shape)}: give [clips, frames, 3, height, width]")
    if clips.dtype == torch.uint8:
        return clips.float() / 255
    if not clips.is_floating_point() or not ((clips >= 0) & (clips <= 1)).all():
        raise ValueError(f"clips are {clips.dtype} from {clips.min():.3g} to {clips.max():.3g}: give uint8, or floats "
                         "from 0 to 1")
    return clips.float()


def psnr(clips: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB, float64 ``[B, T]``; infinite where a frame equals the true one.

    Args:
        clips, truth: ``[B, T, 3, H, W]``, uint8 or floats in [0, 1].

    Raises:
        ValueError: shapes that differ, or no such clips.
    """
    if clips.shape != truth.shape:
        raise ValueError(f"clips have shape {list(clips.shape)} and the true ones {list(truth.shape)}: give equal ones")
    error = (as_pixels(clips) - as_pixels(truth)).double().square().mean((2, 3, 4))
    return -10 * error.log10()


def mean_statistic(values: Tensor) -> Statistic:
    """Mean of one value per clip, ``[B]``, for :func:`coupled_decoding.evaluation.metrics.bootstrap.bootstrap`."""
    return lambda counts: counts @ values.double() / counts.sum(1)


def differences(clips: Tensor) -> Tensor:
    """What changes from each frame to the next, around mid-grey: float32 ``[B, T-1, 3, H, W]`` in [0, 1]."""
    pixels = as_pixels(clips)
    return 0.5 + (pixels[:, 1:] - pixels[:, :-1]) / 2


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of clips: of their frames ``[B, T, d]``, and of the differences between these ``[B, T-1, d]``."""

    frames: Tensor
    differences: Tensor

    @classmethod
    def of(cls, clips: Tensor, network: Callable[[Tensor], Tensor]) -> ClipFeatures:
        """By a network from float ``[N, 3, H, W]`` in [0, 1] to ``[N, d]``; clips as :func:`as_pixels` takes them."""
        frames, changes = as_pixels(clips), differences(clips)
        return cls(*(network(some.flatten(0, 1)).unflatten(0, some.shape[:2]) for some in (frames, changes)))


class Projection:
    """Clips' features on the first principal components of held-out ones: those of frames, and those of differences.

    Args:
        held_out: features of the reference.
        components: how many, of each kind.
    """

    def __init__(self, held_out: ClipFeatures, components: int) -> None:
        self.frames = PrincipalComponents(held_out.frames.flatten(0, 1), components)
        self.differences = PrincipalComponents(held_out.differences.flatten(0, 1), components)

    def __call__(self, features: ClipFeatures) -> ClipFeatures:
        return ClipFeatures(self.frames(features.frames), self.differences(features.differences))
