"""How far a figure over clips may be from the one it estimates, by drawing the clips anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Statistic = Callable[[Tensor], Tensor]
"""From how often each unit counts, float64 ``[D, units]``, to a figure for each line of counts, float64 ``[D]``."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its basic bootstrap interval (Davison and Hinkley 1997, equation 5.6).

    Distances are biased: two finite sets lie apart though their laws are one. Drawn anew from such sets they lie
    further apart still, by about as much again. So the interval is mirrored at the figure, which takes that bias out;
    the figure itself may lie above it, and ``corrected`` lies in its midst. Ends may lie below what is possible.
    """

    value: float
    """The figure of the units as they are."""
    bias: float
    """By how much the figure of resampled units exceeds ``value`` on average."""
    low: float
    high: float

    @property
    def corrected(self) -> float:
        """The figure less its bias."""
        return self.value - self.bias


def bootstrap(
    statistic: Statistic, units: int, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The figure of all units, and an interval by resampling them with replacement.

    Args:
        statistic: the figure; computed for all draws at once.
        units: what was drawn independently, such as clips. Never frames: those of a clip resemble each other.
        draws: resampled sets.
        level: probability with which the interval is meant to hold the true figure.
        seed: of the resampling.

    Raises:
        ValueError: fewer than two units, or a figure that is not finite.
    """
    if units < 2:
        raise ValueError(f"{units} units to resample: give at least two, some thirty for an interval to trust")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(units, (draws, units), generator=generator)
    ones = torch.ones(draws, units, dtype=torch.float64)
    value = statistic(ones[:1])
    resampled = statistic(torch.zeros_like(ones).scatter_add_(1, chosen, ones))
    if not (value.isfinite().all() and resampled.isfinite().all()):
        raise ValueError("the figure to resample is not finite: look for units that are equal, or not numbers")
    ends = torch.tensor([(1 + level) / 2, (1 - level) / 2], dtype=torch.float64)
    low, high = (2 * value - resampled.quantile(ends)).tolist()
    return Estimate(value.item(), (resampled.mean() - value).item(), low, high)
