"""Fewer features, the same for all sets: a full covariance of a thousand features needs ten thousand frames."""

from __future__ import annotations

import torch
from torch import Tensor


class PrincipalComponents:
    """The directions in which a reference set varies most.

    Distances of what is projected on them say nothing of differences across them; ``share`` tells how much of the
    reference's variance lies along them.

    Args:
        reference: features ``[N, d]``; the directions are decided by this set alone.
        count: of components, fewer than N and at most d.

    Raises:
        ValueError: more components than the reference has.
    """

    def __init__(self, reference: Tensor, count: int) -> None:
        samples, size = reference.shape
        if not 1 <= count <= min(samples - 1, size):
            raise ValueError(f"{count} components of {samples} samples of {size} features: give between 1 and "
                             f"{min(samples - 1, size)}, or more samples")
        self.mean = reference.double().mean(0)
        centred = reference.double() - self.mean
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        self.basis = vectors[:, -count:].flip(1)  # [d, count], orthonormal, most variance first
        self.share = float(values[-count:].sum() / values.sum())
        """The share of the reference's variance along the components, between 0 and 1."""

    def __call__(self, features: Tensor) -> Tensor:
        """``[..., d]`` to float64 ``[..., count]``, around the reference's mean."""
        return (features.double() - self.mean) @ self.basis
