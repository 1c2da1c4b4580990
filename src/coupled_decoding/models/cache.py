"""A static key-value cache indexed by position, so that rollback is nothing more than moving a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass(eq=False)
class Place:
    """Where the next forward writes and how far it sees; shared by all layers of a cache."""

    rows: Tensor
    """LongTensor ``[R, 1]``: rows of the working entries, 0 .. R-1."""
    slots: Tensor
    """LongTensor ``[R, T]``: the slot of each token."""
    visible: int
    """Slots that some query of this forward may see: 0 .. visible-1."""
    selected: Tensor | None
    """LongTensor ``[R]``: which rows of the cache the working entries are; None: all."""


class PositionLayer(CacheLayerMixin):
    """Keys and values of one layer, stored ``[rows, slots, heads, head_dim]``; zero until written.

    Entries are written at their position and read through the caller's mask, so an entry of a rejected draft is
    harmless: it is overwritten before a query may see it. When some rows have left the batch, forwards work on a
    compact copy of the others.
    """

    is_sliding = False

    def __init__(self, place: Place, rows: int, slots: int) -> None:
        super().__init__()
        self.place, self.rows, self.slots = place, rows, slots
        self._all: tuple[Tensor, Tensor] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # zeros, not uninitialised memory: a NaN poisons attention even where the mask hides it
        self.keys, self.values = (
            states.new_zeros(self.rows, self.slots, states.shape[1], states.shape[3])
            for states in (key_states, value_states)
        )
        self._all = self.keys, self.values
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store ``[R, heads, T, head_dim]`` and return all that may be seen, ``[R, heads, visible, head_dim]``."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.select(None, self.place.selected)
        place = self.place
        # layers may lie on several devices, each with its keys and values beside it
        at = place.rows.to(self.keys.device), place.slots.to(self.keys.device)
        self.keys[at] = key_states.transpose(1, 2)
        self.values[at] = value_states.transpose(1, 2)
        return self.keys[:, : place.visible].transpose(1, 2), self.values[:, : place.visible].transpose(1, 2)

    def select(self, old: Tensor | None, new: Tensor | None) -> None:
        """Work on the rows ``new`` from now on (None: all), after ``old``."""
        if self._all is None:
            return
        if old is not None:
            self._all[0][old], self._all[1][old] = self.keys, self.values
        self.keys, self.values = self._all if new is None else (self._all[0][new], self._all[1][new])

    def fill(self, other: PositionLayer, source: Tensor) -> None:
        """Begin with copies of another layer's rows, LongTensor ``source`` ``[rows]``, in the first slots."""
        self.lazy_initialization(other.keys.transpose(1, 2), other.values.transpose(1, 2))
        slots = min(self.slots, other.slots)
        self.keys[:, :slots], self.values[:, :slots] = other.keys[source, :slots], other.values[source, :slots]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.place.visible, 0

    def get_seq_length(self) -> int:
        return 0  # positions are always given, never counted

    def get_max_length(self) -> int:
        return self.slots


class PositionCache(Cache):
    """A transformers cache of :class:`PositionLayer`, for ``rows`` sequences of up to ``capacity`` tokens."""

    def __init__(self, layers: int, rows: int, capacity: int, device: torch.device) -> None:
        empty = torch.empty(0, 0, dtype=torch.long, device=device)
        self.place = Place(rows=empty, slots=empty, visible=0, selected=None)
        self.capacity = capacity
        self.first: Tensor | None = None
        """LongTensor ``[rows]``: slots before it are padding, each seen only by itself; None: no padding."""
        # one slot more, for tokens past the end: no query that counts can see it
        super().__init__(layers=[PositionLayer(self.place, rows, capacity + 1) for _ in range(layers)])

    def aim(self, positions: Tensor, rows: Tensor | None) -> Tensor:
        """Set where the next forward writes: positions LongTensor ``[R, T]`` of ``rows`` ``[R]`` (None: all).

        Returns the mask ``[R, 1, T, visible]``, true where a query may look: at positions up to its own, but padding.
        """
        if not _same(rows, self.place.selected):
            for layer in self.layers:
                layer.select(self.place.selected, rows)
            self.place.selected = rows
        self.place.rows = torch.arange(len(positions), device=positions.device).unsqueeze(1)
        self.place.slots = positions.clamp(max=self.capacity)
        # reading the largest position costs nothing on a CPU; elsewhere it would wait for the device
        on_cpu = positions.device.type == "cpu"
        self.place.visible = min(int(positions.max()) + 1, self.capacity) if on_cpu else self.capacity
        slots = torch.arange(self.place.visible, device=positions.device)
        own = positions[:, None, :, None]
        mask = slots <= own
        if self.first is None:
            return mask
        first = self.first if rows is None else self.first[rows]
        return mask & ((slots >= first.view(-1, 1, 1, 1)) | (slots == own))

    def fill(self, other: PositionCache, source: Tensor) -> None:
        """Begin with copies of another cache's rows, LongTensor ``source`` ``[rows]``, and their padding."""
        self.first = None if other.first is None else other.first[source]
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.fill(theirs, source)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (len(one) == len(other) and torch.equal(one, other))
