"""The ways a token is drawn from a distribution: a race of exponentials, an inverse CDF, and modified rejection."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 128
_BELOW_ONE = 1 - 2.0**-52  # times any float64 total, this is less than the total even after rounding


def race(probabilities: Tensor, noise: Tensor) -> Tensor:
    """``argmin(E / p)``: the Gumbel-max draw. ``[..., C]`` and ``[..., C]`` give LongTensor ``[...]``.

    Codes of probability zero never win, since the noise is positive and their quotient infinite.
    """
    return (noise / probabilities).min(-1).indices  # twice as fast as argmin on a CPU


def inverse_cdf(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one code in proportion to non-negative weights, with one uniform each.

    The code is found in two levels, block by block and then inside the block in float64, so that a rare code keeps its
    relative precision and one full pass over the weights is enough.

    Args:
        weights: ``[..., C]``, not normalised.
        uniform: ``[...]`` float64 in (0, 1).

    Returns:
        The drawn code, LongTensor ``[...]``, and whether any weight was positive, bool ``[...]``; where none was, the
        code is meaningless.
    """
    missing = -weights.shape[-1] % _BLOCK
    padded = torch.nn.functional.pad(weights, (0, missing)) if missing else weights
    blocks = padded.unflatten(-1, (-1, _BLOCK))  # [..., N, 128]
    upto = blocks.sum(-1).double().cumsum(-1)  # [..., N]
    mass = uniform.clamp(max=_BELOW_ONE) * upto[..., -1]
    block = _first_above(upto, mass)  # [...]
    inside = blocks.take_along_dim(block[..., None, None], -2).squeeze(-2).double().cumsum(-1)  # [..., 128]
    before = torch.where(block > 0, upto.gather(-1, (block - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1), 0.0)
    size = upto.gather(-1, block.unsqueeze(-1)).squeeze(-1) - before
    # the block's float32 sum and its float64 sum differ by rounding: what counts is the share of the block
    share = ((mass - before) / size).clamp(min=0.0, max=_BELOW_ONE)
    return block * _BLOCK + _first_above(inside, share * inside[..., -1]), upto[..., -1] > 0


def _first_above(cumulative: Tensor, mass: Tensor) -> Tensor:
    """First place where a running sum exceeds ``mass``; that place has a positive weight."""
    return (cumulative <= mass.unsqueeze(-1)).sum(-1).clamp(max=cumulative.shape[-1] - 1)


def accepts(target: Tensor, label: Tensor, draft: Tensor, uniform: Tensor) -> Tensor:
    """Whether a draft passes rejection sampling, with probability ``min(1, p(x) / q(x))``: bool ``[...]``.

    ``target`` and ``label`` are ``[..., C]``, ``draft`` is LongTensor ``[...]``, ``uniform`` float64 ``[...]``.
    """
    p = target.gather(-1, draft.unsqueeze(-1)).squeeze(-1).double()
    q = label.gather(-1, draft.unsqueeze(-1)).squeeze(-1).double()
    return uniform * q < p


def residual_draw(target: Tensor, label: Tensor, draft: Tensor, uniform: Tensor) -> Tensor:
    """Draw from ``norm(max(0, p - q))``, what rejection sampling puts in place of a rejected draft.

    An all-zero residual means that ``p`` equals ``q`` up to rounding, and the draft stands.
    """
    drawn, exists = inverse_cdf((target - label).clamp_(min=0), uniform)
    return torch.where(exists, drawn, draft)
