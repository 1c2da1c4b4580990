"""What families share whose pictures have one size, and whose token stream is a grid of codes and nothing else."""

from __future__ import annotations

from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.contract import PictureModel, only_size
from coupled_decoding.models.networks.vq import VQTokenizer
from coupled_decoding.models.networks.vqgan import VQGAN
from coupled_decoding.serving.backbone import Backbone


class CodeGridPictures(PictureModel):
    """A family whose token ids begin with the codes of its tokenizer, which are all that it draws.

    Args:
        backbone: gives logits of the codes.
        vq: pixels to codes and back.
        grid: rows and columns of codes of a picture.
        size: width and height of a picture in pixels.
    """

    def __init__(self, backbone: Backbone, vq: VQGAN | VQTokenizer, grid: tuple[int, int], size: Size) -> None:
        self.backbone, self.vq, self.grid, self.size = backbone, vq, grid, size
        self.layout = Layout.grid(*grid, vq.config.codes)

    def layout_of(self, size: Size) -> Layout:
        only_size(self.card, self.size, size)
        return self.layout

    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        only_size(self.card, self.size, size)
        return self.vq.encode(pixels).flatten(1)

    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        only_size(self.card, self.size, size)
        return self.vq.decode(tokens.view(-1, *self.grid))
