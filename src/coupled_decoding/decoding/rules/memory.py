"""What is kept of target distributions after their positions have left the window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

KEPT = 64
"""Codes of each distribution that are kept, the likeliest ones: all of them would be 655 MB per row for Cosmos."""


class Memory:
    """The last target distribution of every position of B rows, its likeliest codes brought to a sum of one."""

    def __init__(self, rows: int, room: int, codes: int, device: torch.device) -> None:
        self._codes = torch.zeros(rows, room, min(KEPT, codes), dtype=torch.long, device=device)
        self._shares = torch.zeros(self._codes.shape, device=device)  # zero where nothing is known

    def reserve(self, room: int) -> None:
        """Have room for at least so many positions per row."""
        more = room - self._codes.shape[1]
        if more > 0:
            self._codes, self._shares = pad(self._codes, (0, 0, 0, more)), pad(self._shares, (0, 0, 0, more))

    def remember(self, rows: Tensor, index: Tensor, target: Tensor) -> None:
        """Keep distributions ``[M, C]`` of the positions at ``rows`` and ``index``, LongTensor ``[M]``."""
        shares, codes = target.topk(self._codes.shape[-1])
        self._codes[rows, index] = codes
        self._shares[rows, index] = (shares / shares.sum(-1, keepdim=True)).to(self._shares.dtype)

    def forget(self, rows: Sequence[int]) -> None:
        """Know nothing of these rows any more."""
        self._shares[torch.tensor(rows, device=self._shares.device)] = 0

    def at(self, rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The codes that are kept of each position, LongTensor ``[M, K]``, and the share of each, float32 ``[M, K]``.

        ``rows`` and ``index`` are LongTensor ``[M]``; shares are zero where nothing is known.
        """
        return self._codes[rows, index], self._shares[rows, index]

    def recall(self, rows: Tensor, index: Tensor, codes: int) -> Tensor:
        """Distributions float32 ``[M, codes]``; all zero where nothing is known, and where ``index`` is negative."""
        kept, shares = self.at(rows, index.clamp(min=0))
        shares = shares * (index >= 0).unsqueeze(-1)
        return shares.new_zeros(len(rows), codes).scatter_(-1, kept, shares)
