"""Counter-based random numbers: every number has an address, and no generator has a state.

The number at (seed, index, purpose, visit, code) is a function of these five integers alone, so a draw does not depend
on the batch, on the window, on what was drawn before, or on PyTorch's generators. The integers come from Philox4x32-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and are the same on every device; the logarithms
taken of them may differ by one unit in the last place.

===========  ========================================================================================
word         what it holds
===========  ========================================================================================
key 0, 1     low and high half of the row's 64-bit seed
counter 0    the code's id in the vocabulary, divided by four, its remainder picking one of the four outputs; for
             uniforms, which of several of a purpose
counter 1    index of the token within what is generated
counter 2    visit: which forward of this row the number is used in; forever 0 for position noise
counter 3    purpose
===========  ========================================================================================

A row uses a purpose at an index at most once per forward, so counting the row's forwards counts visits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NOISE_VERSION = "philox4x32-1"
"""Name of this scheme. Any change of it changes every picture, and so must change the name."""

_LOW = 0xFFFFFFFF
_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


class Purpose(IntEnum):
    """What a random number is for. Numbers of different purposes are independent."""

    POSITION = 0
    """The noise of a position, the same at every visit: this is what couples consecutive draws."""
    ACCEPTANCE = 1
    """The uniform that accepts or rejects a draft."""
    RESIDUAL = 2
    """The draw that replaces a rejected draft."""
    REDRAW = 3
    """A fresh draft, independent of all earlier ones."""
    CANDIDATE = 4
    """The uniform that accepts or rejects the candidate of a given number for a position whose draft was rejected;
    number 0 is the draw where all of them were."""
    SIBLING = 5
    """The draw of the candidate of a given number, without replacement from its position's label."""


Words = TypeVar("Words", Tensor, NDArray[Any])


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10. Each word is a LongTensor or an array holding an unsigned 32-bit value; all broadcast together."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, so the high word survives an arithmetic shift and a mask
        p0, p1 = c0 * _MULTIPLIER[0], c2 * _MULTIPLIER[1]
        c0, c2 = ((p1 >> 32) & _LOW) ^ (c1 ^ k0), ((p0 >> 32) & _LOW) ^ (c3 ^ k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def _words(counter: tuple[Tensor, Tensor, Tensor, Tensor], seeds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four output words of these counters for 64-bit seeds, LongTensors of their common shape."""
    key = seeds & _LOW, (seeds >> 32) & _LOW
    if seeds.device.type != "cpu":
        return philox(counter, key)
    # few numbers are made at a time, and NumPy takes a third of PyTorch's time for an operation on few
    c0, c1, c2, c3, k0, k1 = (word.numpy().view(np.uint64) for word in (*counter, *key))
    w0, w1, w2, w3 = (np.asarray(word).view(np.int64) for word in philox((c0, c1, c2, c3), (k0, k1)))
    return torch.from_numpy(w0), torch.from_numpy(w1), torch.from_numpy(w2), torch.from_numpy(w3)


def uniforms(seeds: Tensor, index: Tensor, visit: Tensor, purpose: Tensor | int, number: Tensor | int = 0) -> Tensor:
    """One uniform per address, strictly inside (0, 1), with 52 random bits.

    ``seeds``, ``index``, ``visit``, ``purpose`` (see :class:`Purpose`) and ``number`` (which of several of a purpose)
    are LongTensors that broadcast together; returns float64 of their common shape.
    """
    zero = torch.zeros_like(seeds)
    high, low, _, _ = _words((zero + number, index, visit, zero + purpose), seeds)
    # 52 bits and a half: the largest value, 1 - 2^-53, is still a float64 below 1
    return (((high << 20) | (low >> 12)).double() + 0.5) * 2.0**-52


def exponentials(seeds: Tensor, index: Tensor, codes: Tensor) -> Tensor:
    """Standard exponential noise of each position and code: ``argmin(exponentials / p)`` is a draw from ``p``.

    This is the Gumbel trick without the logarithms: with ``G = -log(E)``, ``argmax(log p + G) = argmin(E / p)``.

    Args:
        seeds, index: LongTensors ``[M]``, the row's seed and the generated index of each position.
        codes: LongTensor ``[C]``, the vocabulary ids to make noise for, increasing.

    Returns:
        ``[M, C]`` float64, strictly positive and finite, made of 32 random bits. Small values, which decide for rare
        codes, keep their precision (a float32 uniform near 1 would lose it); what 32 bits cannot resolve is a bias of
        at most about 2^-32 in the probability of a code.
    """
    blocks, block_of_code = torch.unique_consecutive(codes >> 2, return_inverse=True)
    seeds = seeds.unsqueeze(1)
    zero = torch.zeros_like(seeds)
    words = _words((blocks.unsqueeze(0), index.unsqueeze(1), zero, zero + int(Purpose.POSITION)), seeds)
    lanes = torch.stack(torch.broadcast_tensors(*words), dim=-1).flatten(1)  # [M, 4 * blocks]
    whole = len(codes) == lanes.shape[1]
    picked = lanes if whole else lanes[:, 4 * block_of_code + (codes & 3)]
    return -torch.log1p((picked.double() + 0.5) * -(2.0**-32))
