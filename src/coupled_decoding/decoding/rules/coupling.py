"""How the next draft of an uncommitted position is drawn from its new target distribution, given the old draft.

This is the one line that SCD changes in SJD. Every coupling draws from the target; they differ in how often the new
draft equals the old one. A coupling is a function of the window and the target distributions ``[R, T, C]`` and returns
the new drafts, LongTensor ``[R, T]``, and their labels: the law that drew them, also for those that did not change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coupled_decoding.decoding.noise import Purpose
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf, race, residual_draw
from coupled_decoding.decoding.rules.window import Window

Coupling = Callable[[Window, Tensor], tuple[Tensor, Tensor]]


def independent(window: Window, target: Tensor) -> tuple[Tensor, Tensor]:
    """A fresh draw, as in SJD (arXiv 2410.01699): keeps a draft with probability ``sum_i p_i q_i``."""
    drawn, _ = inverse_cdf(target, window.uniforms(Purpose.REDRAW)[0])
    return drawn, target


def maximal(window: Window, target: Tensor) -> tuple[Tensor, Tensor]:
    """Maximal coupling, SCD-MC of arXiv 2510.24211: keeps a draft with probability ``1 - TV(p, q)``, the best possible.

    Modified rejection sampling at every position, of which the verification uses the part up to the first rejection.
    """
    acceptance, residual = window.rejection_uniforms
    kept = accepts(target, window.labels, window.drafts, acceptance)
    redrawn = residual_draw(target, window.labels, window.drafts, residual)
    return torch.where(kept, window.drafts, redrawn), target


def gumbel(window: Window, target: Tensor) -> tuple[Tensor, Tensor]:
    """Shared Gumbel noise, SCD-GS of arXiv 2510.24211: keeps a draft with probability at least ``(1-TV)/(1+TV)``."""
    return race(target, window.noise), target


COUPLINGS: dict[str, Coupling] = {"independent": independent, "maximal": maximal, "gumbel": gumbel}
