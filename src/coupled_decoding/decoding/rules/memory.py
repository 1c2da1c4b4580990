"""What is kept of target distributions after their positions have left the window."""

from __future__ import annotations

import torch
from torch import Tensor

KEPT = 64
"""Codes of each distribution that are kept, the likeliest ones: all of them would be 655 MB a row for Cosmos."""


class Memory:
    """The last target distribution of every position of B rows, its likeliest codes brought to a sum of one."""

    def __init__(self, rows: int, room: int, codes: int, device: torch.device) -> None:
        self.columns = torch.zeros(rows, room, min(KEPT, codes), dtype=torch.long, device=device)
        self.shares = torch.zeros(self.columns.shape, device=device)
        """Zero where nothing is known."""

    def remember(self, rows: Tensor, index: Tensor, target: Tensor) -> None:
        """Keep distributions ``[M, C]`` of the positions at ``rows`` and ``index``, LongTensor ``[M]``."""
        shares, columns = target.topk(self.columns.shape[-1])
        self.columns[rows, index] = columns
        self.shares[rows, index] = (shares / shares.sum(-1, keepdim=True)).to(self.shares.dtype)

    def forget(self, row: int) -> None:
        """Know nothing of a row any more."""
        self.shares[row] = 0

    def recall(self, rows: Tensor, index: Tensor, codes: int) -> Tensor:
        """Distributions float32 ``[M, codes]``; all zero where nothing is known, and where ``index`` is negative."""
        at = index.clamp(min=0)
        shares = self.shares[rows, at] * (index >= 0).unsqueeze(-1)
        return shares.new_zeros(len(rows), codes).scatter_(-1, self.columns[rows, at], shares)
