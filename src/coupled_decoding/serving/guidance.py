"""Classifier-free guidance (arXiv 2207.12598): ``u + s * (c - u)``, with a scale of its own for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

GuidanceScale = float | Callable[[Tensor], Tensor]
"""A number, or a function of the generated index, LongTensor ``[R, T]``, that gives the scale there; 1: no guidance."""


class Guidance:
    """The scales of a session's rows.

    Args:
        scales: one for each row.
        length: generated tokens for which a scale that is a function is written down.
        device: of the session.
    """

    def __init__(self, scales: Sequence[GuidanceScale], length: int, device: torch.device) -> None:
        written = [_written(scale, length) for scale in scales]
        self._scales = torch.stack([_widened(one, max(map(len, written))) for one in written]).to(device)  # [B, 1 or n]
        # known on the host, so that nothing is computed where all rows are guided
        self._plain = [scale == 1 for scale in scales]
        self._is_plain = torch.tensor(self._plain, device=device)

    def mix(self, conditional: Tensor, unconditional: Tensor, index: Tensor, rows: Tensor | None) -> Tensor:
        """Guided logits of rows, LongTensor ``[R]`` (None: all), at generated indices ``[R, T]``; logits ``[R, T, C]``.

        A row of scale 1 has the conditional logits themselves, not their like up to rounding: so its tokens are those
        that it has without guided rows beside it.
        """
        scales = self._scales if rows is None else self._scales[rows]
        if scales.shape[1] > 1:
            scales = scales.gather(1, index.clamp(max=scales.shape[1] - 1))
        mixed = unconditional + scales.unsqueeze(-1).to(conditional) * (conditional - unconditional)
        if any(self._plain):
            plain = (self._is_plain if rows is None else self._is_plain[rows]).to(conditional.device)
            mixed = torch.where(plain.view(-1, 1, 1), conditional, mixed)
        return mixed

    def adopt(self, row: int, other: Guidance, source: int) -> None:
        """Give a row the scale of another session's row."""
        width = max(self._scales.shape[1], other._scales.shape[1])
        self._scales = _widened(self._scales, width)
        self._scales[row] = _widened(other._scales[source], width)
        self._plain[row] = other._plain[source]
        self._is_plain[row] = other._plain[source]


def _written(scale: GuidanceScale, length: int) -> Tensor:
    """A scale at every generated index, float64 ``[n]``; ``[1]`` where it is one number."""
    if not callable(scale):
        return torch.tensor([scale], dtype=torch.float64)
    return scale(torch.arange(max(length, 1)).unsqueeze(0)).double().expand(1, -1)[0]


def _widened(scales: Tensor, width: int) -> Tensor:
    """``[..., n]`` to ``[..., width]``: the last scale is repeated."""
    return torch.cat([scales, scales[..., -1:].expand(*scales.shape[:-1], width - scales.shape[-1])], -1)
