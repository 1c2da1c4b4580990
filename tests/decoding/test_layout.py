"""Streams of grids and clips, two of them after each other, and the layouts of a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coupled_decoding import Layout
from coupled_decoding.decoding.layout import BatchLayout

CPU = torch.device("cpu")


@given(height=st.integers(1, 4), width=st.integers(1, 4), row_end=st.sampled_from([None, 30]),
       prefix=st.lists(st.just(31), max_size=2), suffix=st.lists(st.just(32), max_size=2))
def test_places_and_neighbours_of_a_grid_agree(
    height: int, width: int, row_end: int | None, prefix: list[int], suffix: list[int]
) -> None:
    layout = Layout.grid(height, width, 9, row_end=row_end, prefix=prefix, suffix=suffix)
    check(layout, [(0, row, column) for row in range(height) for column in range(width)])


@given(frames=st.integers(1, 3), height=st.integers(1, 3), width=st.integers(1, 3))
def test_places_and_neighbours_of_a_clip_agree(frames: int, height: int, width: int) -> None:
    layout = Layout.clip(frames, height, width, 9)
    check(layout, [(f, r, c) for f in range(frames) for r in range(height) for c in range(width)])


def check(layout: Layout, places: list[tuple[int, int, int]]) -> None:
    """Codes stand at these places in this order, and neighbours are one row up and one frame back."""
    assert layout.places is not None
    drawn = (layout.forced < 0).nonzero().flatten().tolist()
    assert [tuple(layout.places[index].tolist()) for index in drawn] == places
    assert (layout.places[layout.forced >= 0] == -1).all()
    at = dict(zip(places, drawn, strict=True))
    for (frame, row, column), index in at.items():
        assert layout.above is not None
        assert int(layout.above[index]) == at.get((frame, row - 1, column), -1)
        if layout.previous is not None:
            assert int(layout.previous[index]) == at.get((frame - 1, row, column), -1)


def test_two_streams_after_each_other() -> None:
    """Neighbours of the second are its own, and its frames come after those of the first."""
    one = Layout.grid(1, 2, 9, suffix=[20]).then(Layout.grid(2, 2, 9))
    assert one.forced.tolist() == [-1, -1, 20, -1, -1, -1, -1]
    assert one.above is not None
    assert one.above.tolist() == [-1, -1, -1, -1, -1, 3, 4]
    assert one.previous is None
    assert one.places is not None
    assert one.places[:, 0].tolist() == [0, 0, -1, 1, 1, 1, 1]
    assert Layout.clip(2, 1, 1, 9).then(Layout.free(2, 9)).previous.tolist() == [-1, 0, -1, -1]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="must draw from the same codes"):
        one.then(Layout.free(2, 8))


def test_what_is_drawn_and_the_stream_it_is_drawn_in() -> None:
    layout = Layout.grid(2, 1, 9, row_end=20)
    stream = layout.stream_of(torch.tensor([[3, 4]]))
    assert stream.tolist() == [[3, 20, 4, 20]]
    assert layout.drawn_of(stream).tolist() == [[3, 4]]


def test_a_row_of_a_batch_is_given_another_layout() -> None:
    """Shorter and longer ones, without neighbours and with; the other row keeps its own."""
    legal = torch.ones(2, 9, dtype=torch.bool)
    sets = [torch.tensor([0, 1, 0]), torch.tensor([1, 1, 0, 1, 1])]
    short, long = (Layout(torch.arange(9), torch.full((len(one),), -1), legal=legal, legal_set=one) for one in sets)
    batch = BatchLayout.stack([short, short], [3, 2], CPU)
    batch.put([0], [long], [5])
    assert batch.legal_set.tolist() == [[1, 1, 0, 1, 1], [0, 1, 0, 0, 0]]
    batch.put([0], [short], [2])
    assert batch.legal_set[0].tolist() == [0, 1, 0, 0, 0]
    assert batch.of([1]).legal_set.tolist() == [[0, 1, 0, 0, 0]]
    assert batch.above.tolist() == [[-1] * 5] * 2
    with pytest.raises(ValueError, match="row 1 draws from other codes"):
        batch.put([1], [Layout.free(3, 9)], [3])


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"places": torch.zeros(3, 2)}, r"places has shape \(3, 2\): give frame, row and column of each of the 3 indices"),
    ({"previous": torch.tensor([0, -1, -1])}, "previous points at the index itself or a later one"),
])
def test_what_contradicts_itself_is_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Layout(torch.arange(4), torch.full((3,), -1), **arguments)
