"""From logits to the target distribution: temperature, top-k and top-p over the legal codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import check_whole


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
        if self.top_k is not None:
            check_whole("top_k", self.top_k, 1, ", or None to keep all codes")
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


class RowSampling:
    """The sampling of each row of a batch, and the target distributions that it makes.

    Rows of one sampling are taken together, so each row gets what :func:`target_distribution` gives for it alone, bit
    for bit; where all rows share one, that is one call.
    """

    def __init__(self, rows: int) -> None:
        self._of = [Sampling()] * rows
        self._parted: tuple[Sequence[int], list[tuple[Sampling, Tensor]]] = (), []
        """For the rows asked about last, each sampling with the numbers of its rows among them, LongTensor ``[n]``."""

    def put(self, row: int, sampling: Sampling) -> None:
        self._of[row] = sampling
        self._parted = (), []

    def targets(self, rows: Sequence[int], logits: Tensor, legal: Tensor | None) -> Tensor:
        """Target distributions ``[R, T, C]`` of these rows of the batch, in the dtype of the logits ``[R, T, C]``.

        ``legal`` is bool, broadcasting to ``[R, T, C]``, or None; see :func:`target_distribution`.
        """
        if self._parted[0] is not rows:  # as long as the same rows continue, they are parted as before
            self._parted = rows, self._parts(rows, logits.device)
        parts = self._parted[1]
        if len(parts) == 1:
            return target_distribution(logits, parts[0][0], legal)
        target = torch.empty_like(logits)
        for sampling, numbers in parts:
            allowed = None if legal is None else legal[numbers]
            target[numbers] = target_distribution(logits[numbers], sampling, allowed)
        return target

    def _parts(self, rows: Sequence[int], device: torch.device) -> list[tuple[Sampling, Tensor]]:
        numbers: dict[Sampling, list[int]] = {}
        if all(self._of[row] is self._of[rows[0]] for row in rows):  # most often, and quickly seen
            return [(self._of[rows[0]], torch.arange(len(rows), device=device))]
        for number, row in enumerate(rows):
            numbers.setdefault(self._of[row], []).append(number)
        return [(sampling, torch.tensor(own, device=device)) for sampling, own in numbers.items()]
