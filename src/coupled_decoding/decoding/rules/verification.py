"""Which drafts are committed, and what stands in place of the first one that is not.

A verification takes the window, the target distributions ``[R, T, C]`` and the coupling's new drafts ``[R, T]``, and
returns how many drafts of each row are accepted, LongTensor ``[R]``, and the code committed after them, LongTensor
``[R]``. If all drafts are accepted, that token is the bonus, which ``drawn`` holds at the last position.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coupled_decoding.decoding.rules.draw import accepts, residual_draw
from coupled_decoding.decoding.rules.window import Window

Verification = Callable[[Window, Tensor, Tensor], tuple[Tensor, Tensor]]


def rejection_sampling(window: Window, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Modified rejection sampling (arXiv 2211.17192, algorithm 1): the committed tokens are distributed as the target.

    A draft passes with probability ``min(1, p(x) / q(x))``; the first that fails is replaced by a draw from the
    residual ``norm(max(0, p - q))``. Where the route ends inside the window (``window.readable``), its last position is
    decided like any other, and nothing after it.
    """
    passed = accepts(target, window.labels, window.drafts, window.rejection_uniforms[0])
    return commit_passed(window, target, drawn, passed)


def commit_passed(window: Window, target: Tensor, drawn: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Accept the drafts before the first that did not pass, bool ``[R, T]``, and draw that one from the residual."""
    if window.settled is not None:
        passed = passed | window.settled
    accepted = leading(passed, window)
    at = torch.arange(len(accepted), device=accepted.device), accepted
    replacement = residual_draw(target[at], window.labels[at], window.drafts[at], window.rejection_uniforms[1][at])
    token = torch.where(passed[at], window.drafts[at], replacement)
    bonus = accepted == window.size - 1
    return accepted, torch.where(bonus, drawn[at], token)


def exact_match(window: Window, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """A draft passes if it is what the position's noise draws from the true target.

    With the Gumbel coupling, what is committed is token for token what autoregressive sampling with the same noise
    gives (predictive sampling, arXiv 2002.09128).
    """
    accepted = leading(window.drafts == drawn, window)
    return accepted, drawn.gather(1, accepted.unsqueeze(1)).squeeze(1)


def leading(passed: Tensor, window: Window) -> Tensor:
    """Number of drafts before the first that failed, ``[R]``; forced tokens always pass, the last position never."""
    return ((passed | window.forced) & window.has_draft).long().cumprod(1).sum(1)
