"""What a forward costs at least: the bytes it must move and the sums it must do (the roofline model, Williams, Waterman
and Patterson, CACM 52(4), 2009).

A forward of T tokens reads the weights once, whatever T is, and does T times the arithmetic of one token. As long as
moving the bytes takes longer than the arithmetic, further tokens cost next to nothing; past that they cost in
proportion. So a window pays off up to about where the two are equal, which is far on an accelerator and near on a CPU.
Nothing here is measured: real forwards take longer, launching kernels and waiting on memory included.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST = 2**20
"""The widest window, in tokens, that :func:`free_window` looks for."""
LOGIT_BYTES = 4
"""Logits are given in float32."""


@dataclass(frozen=True)
class ModelSize:
    """A decoder-only transformer with gated feed-forward layers, as far as a forward's cost depends on it."""

    name: str
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward layers."""
    heads: int
    key_heads: int
    """Heads of keys and values; fewer than ``heads`` with grouped queries."""
    head_dim: int
    codes: int
    """Columns of the output head that are computed."""
    rows: int = 1
    """Rows of a forward that one picture or clip takes: 2 with guidance."""

    @property
    def weights(self) -> int:
        """Numbers that a forward reads: all but the input embeddings, of which it reads one row per token."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.inner) + self.codes * self.hidden


@dataclass(frozen=True)
class Device:
    """What a device can do at best, in one precision."""

    name: str
    bandwidth: float
    """Bytes of its memory that it reads or writes per second."""
    peak: float
    """Floating-point operations per second; a multiplication and an addition count as two."""


H100 = Device("H100 SXM", bandwidth=3.35e12, peak=989e12)
"""bfloat16 without sparsity; NVIDIA H100 Tensor Core GPU data sheet, which gives 1,979 TFLOPS with sparsity."""
A100 = Device("A100 80GB SXM", bandwidth=2.039e12, peak=312e12)
"""bfloat16 without sparsity; NVIDIA A100 Tensor Core GPU data sheet."""
LAPTOP = Device("laptop CPU", bandwidth=89.6e9, peak=1.69e12)
"""bfloat16 on an AMD Ryzen 7 7840U: two channels of DDR5-5600 and eight cores at a base clock of 3.3 GHz (AMD's product
page), each with two 256-bit pipes of dot products, 64 operations per cycle (AMD's Software Optimization Guide for
Zen 4).
"""
DEVICES = (H100, A100, LAPTOP)


def bytes_moved(size: ModelSize, tokens: int, past: int, rows: int = 1, width: int = 2) -> int:
    """Bytes that one forward reads and writes.

    The weights once; keys and values of the past read, those of its tokens written; the logits written. What stays in
    caches between layers is left out, so this is a lower bound.

    Args:
        tokens: T, which each row reads.
        past: tokens of each row whose keys and values are there already.
        rows: of the batch.
        width: bytes of a number.
    """
    cached = 2 * size.layers * size.key_heads * size.head_dim
    return (size.weights + rows * (past + tokens) * cached) * width + rows * tokens * size.codes * LOGIT_BYTES


def arithmetic(size: ModelSize, tokens: int, past: int, rows: int = 1) -> int:
    """Floating-point operations of a forward: ``2 * weights`` per token, and attention to all tokens up to its own."""
    seen = tokens * past + tokens * (tokens + 1) // 2
    return rows * (2 * size.weights * tokens + 4 * size.layers * size.heads * size.head_dim * seen)


def least_seconds(size: ModelSize, device: Device, tokens: int, past: int, rows: int = 1, width: int = 2) -> float:
    """Seconds that one forward takes at least: whichever of moving and computing is slower. See :func:`bytes_moved`."""
    return max(bytes_moved(size, tokens, past, rows, width) / device.bandwidth,
               arithmetic(size, tokens, past, rows) / device.peak)


def free_window(size: ModelSize, device: Device, past: int, rows: int = 1, width: int = 2) -> int:
    """The most tokens per forward for which moving the bytes takes as long as the arithmetic; 0 if one is too many.

    Up to there a step costs what its bytes cost, hardly more than that of one token.
    """
    low, high = 0, MOST
    while low < high:
        middle = (low + high + 1) // 2
        moving = bytes_moved(size, middle, past, rows, width) / device.bandwidth
        if arithmetic(size, middle, past, rows) / device.peak <= moving:
            low = middle
        else:
            high = middle - 1
    return low


def speedup_left(
    size: ModelSize, device: Device, window: int, fewer: float, past: int, rows: int = 1, width: int = 2
) -> float:
    """Times faster than AR where a step of either costs its bound, and the window takes ``fewer`` times fewer steps."""
    one = least_seconds(size, device, 1, past, rows, width)
    return fewer * one / least_seconds(size, device, window, past, rows, width)
