"""Pictures of which only the first tokens are known."""

from __future__ import annotations

from math import sqrt

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout

GREY = (128, 128, 128)


def filled(tokens: Tensor, layout: Layout) -> Tensor:
    """Tokens ``[length]`` with any legal one where they are -1, so that a model makes pixels of them."""
    codes = layout.codes[0]
    if layout.legal is not None and layout.legal_set is not None:
        codes = layout.codes[layout.legal.int().argmax(1)[layout.legal_set]]
    return torch.where(tokens >= 0, tokens, torch.where(layout.forced >= 0, layout.forced, codes))


def greyed(picture: Image.Image, count: int, total: int) -> Image.Image:
    """The picture, grey where the codes behind the first ``count`` of ``total`` stand, in raster order.

    All codes stand for squares of one size.
    """
    shown = picture.copy()
    side = sqrt(shown.width * shown.height / total)
    row, column = divmod(count, round(shown.width / side))
    top, bottom, left = round(row * side), round((row + 1) * side), round(column * side)
    shown.paste(GREY, (left, top, shown.width, bottom))
    shown.paste(GREY, (0, bottom, shown.width, shown.height))
    return shown
