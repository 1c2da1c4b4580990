"""Grouped Speculative Decoding: a draft is accepted if codes like it are as likely as they were."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import check_whole, check_window
from coupled_decoding.decoding.methods import Method
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.coupling import independent
from coupled_decoding.decoding.rules.guesses import GUESSES, REMEMBERING, check_first_guess
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import commit_passed
from coupled_decoding.decoding.rules.window import Window


@final
@dataclass(frozen=True)
class GSD(Method):
    """Grouped Speculative Decoding (arXiv 2508.07747): SJD that accepts in groups of codes. Lossy.

    A draft x passes with probability ``min(1, p(group) / q(group))``; what replaces the first that fails is drawn from
    the residual ``norm(max(0, p - q))`` of single codes, as in SJD. The group of x is the paper's dynamic one: the
    ``group`` codes around x in the order of the new target's probabilities, with one more below x than above where the
    number is even, and moved inwards at either end of the order. A draft that the target cannot draw never passes.

    The released code also leaves out of a group what is far from x, by probability or by distance of codebook vectors,
    with thresholds tuned for one model. Here a method knows no codebook, and groups are by order alone.

    Args:
        window, first_guess: see :class:`coupled_decoding.SJD`.
        group: codes in a group (the paper's G); 1 is SJD, token for token.
    """

    window: int = 64
    first_guess: str = "uniform"
    group: int = 10

    def __post_init__(self) -> None:
        check_window(self.window)
        check_first_guess(self.first_guess)
        check_whole("group", self.group, 1, " (1 is SJD)")

    @property
    def name(self) -> str:
        return f"GSD-{self.group}"

    @property
    def lossless(self) -> bool:
        return self.group == 1

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return Rules(
            guess=GUESSES[self.first_guess], couple=independent,
            verify=partial(grouped_rejection_sampling, group=self.group), remember=self.first_guess in REMEMBERING,
        )


def grouped_rejection_sampling(window: Window, target: Tensor, drawn: Tensor, *, group: int) -> tuple[Tensor, Tensor]:
    """Rejection sampling whose acceptance compares what groups of codes have; see :class:`GSD`."""
    members = neighbours(target, window.drafts, group)
    p = target.gather(-1, members).double().sum(-1)
    q = window.labels.gather(-1, members).double().sum(-1)
    possible = target.gather(-1, window.drafts.unsqueeze(-1)).squeeze(-1) > 0
    return commit_passed(window, target, drawn, (window.rejection_uniforms[0] * q < p) & possible)


def neighbours(target: Tensor, drafts: Tensor, group: int) -> Tensor:
    """The codes around each draft in the order of their probabilities, itself among them.

    ``target`` ``[R, T, C]`` and ``drafts`` LongTensor ``[R, T]`` give codes, LongTensor ``[R, T, min(group, C)]``.
    """
    size = min(group, target.shape[-1])
    order = torch.argsort(target, dim=-1, descending=True, stable=True)
    rank = (order == drafts.unsqueeze(-1)).int().argmax(-1, keepdim=True)
    first = (rank - (size - 1) // 2).clamp(0, target.shape[-1] - size)
    return order.gather(-1, first + torch.arange(size, device=target.device))
