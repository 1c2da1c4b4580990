"""Families that draw pictures of one square size, nothing but codes, through a VQGAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.media.pixels import Size, to_images, to_pixels
from coupled_decoding.models.contract import PictureModel, only_size
from coupled_decoding.models.networks.vqgan import VQGAN


class SquarePictures(PictureModel):
    """A family whose token stream is a square grid of the VQGAN's own codes."""

    vq: VQGAN
    device: torch.device
    side: int
    """Codes along each side."""
    layout: Layout

    def layout_of(self, size: Size) -> Layout:
        only_size(self.card, self.size, size)
        return self.layout

    def encode(self, pictures: Sequence[Image.Image], size: Size) -> Tensor:
        only_size(self.card, self.size, size)
        return self.vq.encode(2 * to_pixels(pictures, size, self.device) - 1).flatten(1)

    def decode(self, tokens: Tensor, size: Size) -> list[Image.Image]:
        only_size(self.card, self.size, size)
        return to_images(self.vq.decode(tokens.view(-1, self.side, self.side).to(self.device)) / 2 + 0.5)
