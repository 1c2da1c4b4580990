"""Pictures of which only some tokens are known."""

from __future__ import annotations

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


def greyed(picture: Image.Image, tokens: Tensor, layout: Layout) -> Image.Image:
    """The picture, grey where a code stands of which the token ``[length]`` is -1; as it is where there is no grid."""
    shown = picture.copy()
    if layout.places is not None:
        rows, columns = (layout.places.amax(0)[1:] + 1).tolist()
        for _, row, column in layout.places[(tokens < 0) & (layout.forced < 0)].tolist():
            left, right = (round(edge * shown.width / columns) for edge in (column, column + 1))
            top, bottom = (round(edge * shown.height / rows) for edge in (row, row + 1))
            shown.paste(GREY, (left, top, right, bottom))
    return shown
