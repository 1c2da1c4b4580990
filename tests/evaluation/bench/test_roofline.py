"""The least cost of a forward: by hand, and how it may change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coupled_decoding.evaluation.bench.roofline import (
    DEVICES,
    Device,
    ModelSize,
    arithmetic,
    bytes_moved,
    free_window,
    least_seconds,
    speedup_left,
)

TINY = ModelSize("tiny", layers=2, hidden=8, inner=12, heads=4, key_heads=2, head_dim=2, codes=5)
SEVEN = ModelSize("7B", 32, 4096, 11008, 32, 32, 128, codes=8192)

counts = st.integers(1, 2000)
sizes = st.sampled_from([TINY, SEVEN])
devices = st.sampled_from(DEVICES)


def test_weights_by_hand() -> None:
    """Queries and outputs 8x8 each, keys and values 8x4 each, three matrices 8x12, twice; a head of 5x8."""
    assert TINY.weights == 2 * (2 * 64 + 2 * 32 + 3 * 96) + 40 == 1000


def test_bytes_and_arithmetic_by_hand() -> None:
    """Three tokens behind ten, of two rows: keys and values of 13 places, 4 + 4 numbers a layer; 3 x 5 logits each."""
    assert bytes_moved(TINY, 3, 10, rows=2) == (1000 + 2 * 13 * 16) * 2 + 2 * 3 * 5 * 4
    # each token sees the ten, those before it and itself: 11 + 12 + 13 products with keys and with values of width 8
    assert arithmetic(TINY, 3, 10, rows=2) == 2 * (2 * 1000 * 3 + 2 * 2 * 2 * 8 * (11 + 12 + 13))


def test_whichever_is_slower_decides() -> None:
    moving, computing = Device("slow memory", 1.0, 1e12), Device("slow arithmetic", 1e12, 1.0)
    assert least_seconds(TINY, moving, 3, 10) == bytes_moved(TINY, 3, 10)
    assert least_seconds(TINY, computing, 3, 10) == arithmetic(TINY, 3, 10)


def test_a_seven_billion_model_is_as_large_as_it_says() -> None:
    assert 6.4e9 < SEVEN.weights < 6.7e9


@given(size=sizes, device=devices, past=counts, tokens=counts, rows=st.integers(1, 8))
def test_more_tokens_cost_more_and_never_more_than_one_by_one(
    size: ModelSize, device: Device, past: int, tokens: int, rows: int
) -> None:
    least = least_seconds(size, device, tokens, past, rows)
    assert least < least_seconds(size, device, tokens + 1, past, rows)
    assert least <= sum(least_seconds(size, device, 1, past + i, rows) for i in range(tokens)) * (1 + 1e-9)
    assert least <= least_seconds(size, device, tokens, past + 1, rows)


@given(size=sizes, device=devices, past=counts, rows=st.integers(1, 64))
def test_the_free_window_is_where_arithmetic_takes_over(size: ModelSize, device: Device, past: int, rows: int) -> None:
    window = free_window(size, device, past, rows)

    def bound_by_memory(tokens: int) -> bool:
        return (arithmetic(size, tokens, past, rows) / device.peak
                <= bytes_moved(size, tokens, past, rows) / device.bandwidth)

    assert window == 0 or bound_by_memory(window)
    assert not bound_by_memory(window + 1)


def test_what_is_left_of_fewer_forwards() -> None:
    """All of it where steps cost the same; nothing where a window costs as much as its tokens one by one."""
    assert speedup_left(SEVEN, Device("wide", 1e12, 1e18), 64, 3.0, past=100) == pytest.approx(3, rel=0.01)
    assert speedup_left(SEVEN, Device("narrow", 1e18, 1e12), 64, 64.0, past=0) == pytest.approx(1, rel=0.01)
