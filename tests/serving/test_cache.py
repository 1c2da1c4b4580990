"""The cache in isolation: where entries go, what may be seen, and rows that leave and come back."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coupled_decoding.serving.cache import PositionCache

CAPACITY, HEADS, DIM = 6, 2, 3


def write(cache: PositionCache, rows: list[int] | None, positions: torch.Tensor, value: float) -> torch.Tensor:
    """Write one value everywhere it is aimed; gives what is then visible, ``[R, visible]``."""
    cache.aim(positions, None if rows is None else torch.tensor(rows))
    states = torch.full((len(positions), HEADS, positions.shape[1], DIM), value)
    keys, values = cache.update(states, -states, 0)
    assert torch.equal(keys, -values)
    return keys[:, 0, :, 0]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_entries_stand_at_their_row_and_position(data: st.DataObject) -> None:
    """Any order of writes to any subsets of rows, against a plain table; positions past the end leave no trace."""
    cache = PositionCache(layers=1, rows=3, capacity=CAPACITY, device=torch.device("cpu"))
    table = torch.zeros(3, CAPACITY)
    for value in range(1, data.draw(st.integers(1, 6)) + 1):
        rows = data.draw(st.sets(st.integers(0, 2), min_size=1).map(sorted))
        chosen = None if rows == [0, 1, 2] and data.draw(st.booleans()) else rows
        first = torch.tensor([data.draw(st.integers(0, CAPACITY - 1)) for _ in rows]).unsqueeze(1)
        positions = first + torch.arange(data.draw(st.integers(1, 4)))
        visible = write(cache, chosen, positions, float(value))
        for row, places in zip(rows, positions, strict=True):
            table[row, places[places < CAPACITY]] = value
        assert torch.equal(visible, table[rows, : visible.shape[1]])


def test_a_query_sees_positions_up_to_its_own() -> None:
    cache = PositionCache(layers=1, rows=2, capacity=CAPACITY, device=torch.device("cpu"))
    mask = cache.aim(torch.tensor([[1, 2], [3, 4]]), None)
    assert mask.shape == (2, 1, 2, 5)
    assert mask.sum(-1).squeeze(1).tolist() == [[2, 3], [4, 5]]


def test_padding_is_seen_only_by_itself_and_goes_with_its_rows() -> None:
    cache = PositionCache(layers=1, rows=2, capacity=CAPACITY, device=torch.device("cpu"))
    cache.pad(torch.tensor([0, 2]))
    positions = torch.arange(4).expand(2, -1)
    mask = cache.aim(positions, None)[:, 0]
    assert torch.equal(mask[0], torch.ones(4, 4, dtype=torch.bool).tril())
    assert mask[1].int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert torch.equal(cache.aim(positions[:1], torch.tensor([1]))[0, 0], mask[1])
    copies = PositionCache(layers=0, rows=3, capacity=CAPACITY, device=torch.device("cpu"))
    cache.layers = []
    copies.fill(cache, torch.tensor([1, 0, 1]))
    assert copies.first is not None
    assert copies.first.tolist() == [2, 0, 2]
