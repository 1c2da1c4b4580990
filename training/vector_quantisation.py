"""What the trainings of picture and clip tokenizers share: what a reconstruction costs, and how a codebook learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def reconstruction_loss(decoded: Tensor, target: Tensor) -> Tensor:
    edge_loss = sum((F.l1_loss(a, b) for a, b in zip(edges(decoded), edges(target), strict=True)), torch.tensor(0.0))
    return F.l1_loss(decoded, target) + 2 * F.mse_loss(decoded, target) + edge_loss


class MovingCodebook:
    """Exponential moving averages of how often a code is chosen and of the latents that choose it.

    ``model`` has a ``codebook`` ``[codes, dim]``, which this class alone changes.
    """

    def __init__(self, model: Any, decay: float = 0.98) -> None:
        self.model, self.decay = model, decay
        self.counts = torch.ones(len(model.codebook))
        self.sums = model.codebook.clone()

    def initialise(self, latents: Tensor) -> None:
        """A few rounds of k-means on the first latents."""
        book = latents[torch.randperm(len(latents))[: len(self.counts)]].clone()
        self.model.codebook.copy_(book)
        for _ in range(10):
            codes = torch.cdist(latents, self.model.codebook).argmin(1)
            sums = torch.zeros_like(book).index_add_(0, codes, latents)
            counts = torch.bincount(codes, minlength=len(book)).unsqueeze(1)
            self.model.codebook.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), self.model.codebook))
        self.sums.copy_(self.model.codebook)

    def update(self, latents: Tensor, codes: Tensor) -> None:
        chosen = torch.bincount(codes, minlength=len(self.counts)).float()
        self.counts.mul_(self.decay).add_(chosen, alpha=1 - self.decay)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, latents)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        dead = self.counts < 0.05 * self.counts.mean()
        if dead.any():
            self.sums[dead] = latents[torch.randint(len(latents), (int(dead.sum()),))]
            self.counts[dead] = 1.0
        self.model.codebook.copy_(self.sums / self.counts.unsqueeze(1))
