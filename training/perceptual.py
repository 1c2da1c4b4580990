"""A loss that sees texture: differences of what the first stages of a network for photographs make of two pictures.

Mean differences of pixels are least for the mean of all that could be there, which is a blur. What is compared here
says that there are bricks, and less where each begins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coupled_decoding.evaluation.metrics.features import Lite0

STAGES = (0, 2, 4, 7)
"""Blocks of EfficientNet-Lite0 whose output is compared: a place of it is 2, 4, 8 and 16 pixels along each side."""


class PerceptualLoss(nn.Module):
    """LPIPS (arXiv 1801.03924, equation 1) on EfficientNet-Lite0, all channels weighing the same."""

    def __init__(self) -> None:
        super().__init__()
        network = Lite0().network.requires_grad_(False)
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = network._blocks[: STAGES[-1] + 1]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Of pictures ``[B, 3, H, W]`` in [0, 1], each of channels of length one at each place."""
        x = self.stem(((255 * pictures - 127) / 128).contiguous(memory_format=torch.channels_last))
        out = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in STAGES:
                out.append(F.normalize(x.float(), dim=1, eps=1e-4))
        return out

    def forward(self, decoded: Tensor, target: Tensor) -> Tensor:
        """Mean over places and stages of squared distances; both ``[B, 3, H, W]`` in [0, 1], one number."""
        with torch.no_grad():
            wanted = self.features(target)
        distances = [(a - b).square().sum(1).mean() for a, b in zip(self.features(decoded), wanted, strict=True)]
        return torch.stack(distances).mean()
