"""Algorithm 1 of arXiv 2510.24211 for one row, to be read first: no batch, no tree, no layout.

:func:`coupled_decoding.decode` gives exactly these tokens, position by position and for every method here, and
``tests/decoding/test_reference.py`` holds it to that. The names are the paper's: position ``j``, target distribution
``p_j``, draft ``x_j``, the distribution ``q_j`` that drew it (its label), noise ``G_j``, window ``L``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from coupled_decoding.decoding.noise import Purpose, exponentials, uniforms

Coupling = Literal["independent", "maximal", "gumbel"]
"""SJD draws independently; SCD-MC and SCD-GS couple."""


def decode_row(
    model: Callable[[list[int]], Tensor], length: int, codes: int, *, seed: int, window: int,
    coupling: Coupling = "gumbel", exact: bool = False,
) -> list[int]:
    """``length`` codes of one row.

    Args:
        model: the target distribution after some codes, float64 ``[codes]``; what a forward gives is one call of it for
            each position of the window.
        codes: codes are 0 .. codes-1.
        window: positions that a forward reads, the paper's L; 1 is AR.
        exact: accept a draft where it equals the new one (SeedExact; with Gumbel coupling), not by rejection sampling.
    """
    committed: list[int] = []
    x: list[int] = []  # drafts of the window's positions, and
    q: list[Tensor] = []  # the distributions that really drew them
    visit = 0  # forwards so far
    while (i := len(committed)) < length:
        L = min(window, length - i)

        # 1. Positions that enter the window start from a uniform draw, whose label is uniform.
        for j in range(i + len(x), i + L):
            q.append(torch.full((codes,), 1 / codes, dtype=torch.float64))
            x.append(gumbel_max(q[-1], seed, j))

        # 2. One forward reads the last committed code and L - 1 drafts, and gives L distributions.
        p = [model(committed + x[:t]) for t in range(L)]

        # 3. Coupling: the next draft of every position. The last had no draft that was read, and is drawn by its noise.
        u = [uniform(seed, i + t, visit, Purpose.ACCEPTANCE) for t in range(L)]
        v = [uniform(seed, i + t, visit, Purpose.RESIDUAL) for t in range(L)]
        y = [gumbel_max(p[t], seed, i + t) for t in range(L)]
        for t in range(L - 1):
            if coupling == "independent":
                y[t] = inverse_cdf(p[t], uniform(seed, i + t, visit, Purpose.REDRAW))
            elif coupling == "maximal":
                y[t] = x[t] if accepted(p[t], q[t], x[t], u[t]) else residual(p[t], q[t], x[t], v[t])

        # 4. Verification, left to right up to the first rejection r; if there is none, r is the last position.
        r = 0
        while r < L - 1 and (x[r] == y[r] if exact else accepted(p[r], q[r], x[r], u[r])):
            r += 1

        # 5. Commit the accepted drafts and what replaces the rejected one, or the bonus of the last position.
        token = y[r] if exact or r == L - 1 else residual(p[r], q[r], x[r], v[r])
        committed += [*x[:r], token]

        # 6. Slide: later drafts are the coupled ones, and their label is always the new distribution.
        x, q = y[r + 1 :], p[r + 1 :]
        visit += 1
    return committed


def accepted(p: Tensor, q: Tensor, x: int, u: float) -> bool:
    """Whether a draft passes, with probability ``min(1, p(x) / q(x))``."""
    return bool(u * q[x] < p[x])


def residual(p: Tensor, q: Tensor, x: int, u: float) -> int:
    """A draw from ``norm(max(0, p - q))``; where nothing is left, p equals q up to rounding, and the draft stands."""
    rest = (p - q).clamp(min=0)
    return inverse_cdf(rest, u) if rest.sum() > 0 else x


def gumbel_max(p: Tensor, seed: int, j: int) -> int:
    """``argmax(log p + G_j)``, as ``argmin(E_j / p)`` with ``G_j = -log E_j``: a position's noise never changes."""
    noise = exponentials(torch.tensor([seed]), torch.tensor([j]), torch.arange(len(p)))[0]
    return int((noise / p).argmin())


def inverse_cdf(weights: Tensor, u: float) -> int:
    """The first code whose cumulative weight exceeds ``u`` times all of it."""
    cumulative = weights.cumsum(0)
    return int((cumulative <= u * cumulative[-1]).sum())


def uniform(seed: int, j: int, visit: int, purpose: Purpose) -> float:
    """The one uniform of this address."""
    return float(uniforms(torch.tensor([seed]), torch.tensor([j]), torch.tensor([visit]), purpose))
