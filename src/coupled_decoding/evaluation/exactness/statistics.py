"""Comparing counts with a law, and what little can be said of a few measurements."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

import torch
from torch import Tensor


def chi_square_p_value(counts: Tensor, law: Tensor, least: float = 10.0) -> float:
    """Probability of counts at least this far from the law, if they were drawn from it.

    Cells with fewer than ``least`` expected counts are pooled into one (unpooled, rare cells make a correct run fail).
    A single count on an impossible cell gives 0.

    Args:
        counts: LongTensor, any shape.
        law: float64 probabilities of the same shape that sum to 1.
    """
    counts, law = counts.flatten().double(), law.flatten().double()
    if counts[law == 0].sum() > 0:
        return 0.0
    expected = law * counts.sum()
    rare = expected < least
    observed = torch.cat([counts[~rare], counts[rare].sum().view(1)])
    expected = torch.cat([expected[~rare], expected[rare].sum().view(1)])
    if expected[-1] < least:  # the pool itself is too small to count as a cell
        order = expected[:-1].argmin() if len(expected) > 1 else 0
        observed[order] += observed[-1]
        expected[order] += expected[-1]
        observed, expected = observed[:-1], expected[:-1]
    freedom = len(expected) - 1
    if freedom < 1:
        return 1.0
    statistic = ((observed - expected).square() / expected).sum()
    return torch.special.gammaincc(torch.tensor(freedom / 2, dtype=torch.float64), statistic / 2).item()


def count_sequences(tokens: Tensor, vocab_size: int) -> Tensor:
    """How often each sequence occurs among ``tokens`` LongTensor ``[N, length]``: ``[vocab_size] * length``."""
    length = tokens.shape[1]
    number = torch.zeros(len(tokens), dtype=torch.long)
    for i in range(length):
        number = number * vocab_size + tokens[:, i]
    return torch.bincount(number, minlength=vocab_size**length).view([vocab_size] * length)


def median_interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float, float]:
    """Two of the values between which the median of the law that drew them lies, whatever that law is.

    The narrowest such pair, as far from the smallest value as from the largest, that holds the median with probability
    ``level``; of fewer than six values, the smallest and the largest, which hold it less often.

    Returns:
        The lower value, the upper value, and the probability (of a continuous law) that the median lies between.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there are no values: give at least one")
    count = len(ordered)

    def probability(cut: int) -> float:
        """Between the values with ``cut`` others outside on either side."""
        return 1 - 2 * sum(comb(count, i) for i in range(cut + 1)) / 2**count

    cut = max((cut for cut in range((count + 1) // 2) if probability(cut) >= level), default=0)
    return ordered[cut], ordered[-1 - cut], max(0.0, probability(cut))
