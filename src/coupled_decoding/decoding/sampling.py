"""From logits to the target distribution: temperature, top-k and top-p over the legal codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """What is done to the model's logits before a token is drawn. By default nothing.

    Applied in transformers' order and with its boundaries: temperature, then top-k (codes that tie with the k-th all
    stay), then top-p (the smallest set of most probable codes whose mass reaches ``top_p``; at least one).

    Args:
        temperature: divides the logits; 0 is greedy decoding (the lowest id wins ties).
        top_k: keep only the k most probable codes; None keeps all.
        top_p: keep only the nucleus of this mass, in (0, 1]; None keeps all. Which of several codes of exactly the
            same probability at the edge stay is up to the sort, as in transformers.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}: give a number of at least 0 (0 is greedy)")
        if self.top_k is not None and (not isinstance(self.top_k, int) or self.top_k < 1):
            raise ValueError(f"top_k is {self.top_k}: give a whole number of at least 1, or None to keep all codes")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: give a number in (0, 1], or None to keep all codes")


def target_distribution(logits: Tensor, sampling: Sampling, legal: Tensor | None = None) -> Tensor:
    """The distribution that plain autoregressive sampling draws from, over the codes in the last dimension.

    Args:
        logits: ``[..., C]`` float32 or float64; guidance is already in them.
        legal: bool, broadcasting to ``[..., C]``, which codes may be drawn; None: all.

    Returns:
        Probabilities ``[..., C]`` in the dtype of the logits; illegal and cut codes are exactly zero. Where a logit is
        NaN, all entries are.
    """
    if legal is not None:
        logits = logits.masked_fill(~legal, -torch.inf)
    if sampling.temperature == 0:
        codes = torch.arange(logits.shape[-1], device=logits.device)
        peak = logits.amax(-1, keepdim=True)
        best = torch.where(logits == peak, codes, len(codes) - 1).amin(-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0).masked_fill_(peak.isnan(), torch.nan)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        kth = logits.topk(sampling.top_k).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        ascending, order = logits.sort(dim=-1)
        cut = ascending.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        cut[..., -1] = False
        logits = logits.masked_fill(torch.zeros_like(cut).scatter_(-1, order, cut), -torch.inf)
    return logits.softmax(-1)
