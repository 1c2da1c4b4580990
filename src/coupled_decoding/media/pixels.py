"""Pictures as tensors and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Size = tuple[int, int]
"""Width and height of a picture in pixels."""


def to_pixels(pictures: Sequence[Image.Image], size: Size, device: torch.device) -> Tensor:
    """Pictures over white, scaled to a size: float32 ``[B, 3, H, W]`` in [0, 1]."""
    arrays = [np.asarray(over_white(one).resize(size, Image.Resampling.LANCZOS)) for one in pictures]
    return torch.from_numpy(np.stack(arrays)).to(device).permute(0, 3, 1, 2).float() / 255


def to_images(pixels: Tensor) -> list[Image.Image]:
    """RGB pictures of float ``[B, 3, H, W]``, cut to [0, 1]."""
    arrays = (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def over_white(picture: Image.Image) -> Image.Image:
    """As RGB, what is transparent over white."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, which a conversion would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8))
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
