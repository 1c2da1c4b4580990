"""A static key-value cache indexed by position, so that rollback is nothing more than moving a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass(eq=False)
class WriteHead:
    """Where the next forward writes and how far it sees; shared by all layers of a cache."""

    rows: Tensor
    """LongTensor ``[R, 1]``: rows of the working entries, 0 .. R-1."""
    slots: Tensor
    """LongTensor ``[R, T]``: the slot of each token."""
    positions: Tensor
    """LongTensor ``[R, T]``: its position, which differs from its slot for branches."""
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

    def __init__(self, head: WriteHead, rows: int, slots: int) -> None:
        super().__init__()
        self.head, self.rows, self.slots = head, rows, slots
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
            self.select(None, self.head.selected)
        head = self.head
        # layers may lie on several devices, each with its keys and values beside it
        at = head.rows.to(self.keys.device), head.slots.to(self.keys.device)
        self.keys[at] = key_states.transpose(1, 2)
        self.values[at] = value_states.transpose(1, 2)
        return self.keys[:, : head.visible].transpose(1, 2), self.values[:, : head.visible].transpose(1, 2)

    def select(self, old: Tensor | None, new: Tensor | None) -> None:
        """Work on the rows ``new`` from now on (None: all), after ``old``."""
        if self._all is None:
            return
        if old is not None:
            self._all[0][old], self._all[1][old] = self.keys, self.values
        self.keys, self.values = self._all if new is None else (self._all[0][new], self._all[1][new])

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        if self._all is not None:
            if self.keys is not self._all[0]:
                raise ValueError("a layer can grow only while it works on all rows")
            added = self.keys.new_zeros(self.rows, slots - self.slots, *self.keys.shape[2:])
            self._all = self.keys, self.values = torch.cat([self.keys, added], 1), torch.cat([self.values, added], 1)
        self.slots = slots

    def move(self, rows: Tensor, source: Tensor, target: Tensor) -> None:
        """Copy entries from slot to slot, all LongTensor ``[n]``; rows are those of the working entries."""
        for states in (self.keys, self.values):
            here = [index.to(states.device) for index in (rows, source, target)]
            states[here[0], here[2]] = states[here[0], here[1]]

    def fill(self, other: PositionLayer, source: Tensor) -> None:
        """Begin with copies of another layer's rows, LongTensor ``source`` ``[rows]``, in the first slots."""
        self.lazy_initialization(other.keys.transpose(1, 2), other.values.transpose(1, 2))
        slots = min(self.slots, other.slots)
        self.keys[:, :slots], self.values[:, :slots] = other.keys[source, :slots], other.values[source, :slots]

    def adopt(self, rows: Tensor, other: PositionLayer, source: Tensor) -> None:
        """Take over rows of another layer, both LongTensor ``[n]``, while both work on all their rows."""
        if other.is_initialized:  # else there are prompts of one token only, of which nothing was read
            if not self.is_initialized:
                self.lazy_initialization(other.keys.transpose(1, 2), other.values.transpose(1, 2))
            slots = min(self.slots, other.slots)
            self.keys[rows, :slots] = other.keys[source, :slots]
            self.values[rows, :slots] = other.values[source, :slots]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.head.visible, 0

    def get_seq_length(self) -> int:
        return 0  # positions are always given, never counted

    def get_max_length(self) -> int:
        return self.slots


class PositionCache(Cache):
    """A transformers cache of :class:`PositionLayer`, for ``rows`` sequences of up to ``capacity`` tokens."""

    def __init__(self, layers: int, rows: int, capacity: int, device: torch.device) -> None:
        empty = torch.empty(0, 0, dtype=torch.long, device=device)
        self.head = WriteHead(rows=empty, slots=empty, positions=empty, visible=0, selected=None)
        self.rows, self.capacity = rows, capacity
        self.first: Tensor | None = None
        """LongTensor ``[rows]``: slots before it are padding, each seen only by itself; None: no padding."""
        # one slot more, for tokens past the end: no query that counts can see it
        self._slots = capacity + 1
        super().__init__(layers=[PositionLayer(self.head, rows, self._slots) for _ in range(layers)])

    def aim(self, positions: Tensor, rows: Tensor | None, parents: Tensor | None = None) -> Tensor:
        """Set where the next forward writes: positions LongTensor ``[R, T]`` of ``rows`` ``[R]`` (None: all).

        With ``parents`` LongTensor ``[R, M]`` the last M tokens are branches (see
        :class:`coupled_decoding.Session`), which are written behind all others and stay until the next
        forward.

        Returns the mask ``[R, 1, T, visible]``, true where a query may look: at positions up to its own, but padding;
        a branch token at those up to where its branch began, and at its branch before it.
        """
        self._select(rows)
        count = 0 if parents is None else parents.shape[1]
        window = positions[:, : positions.shape[1] - count]
        slots = window.clamp(max=self.capacity)
        if count:
            self._grow(self.capacity + 1 + count)
            slots = torch.cat([slots, slots[:, -1:] + 1 + torch.arange(count, device=slots.device)], 1)
        self.head.rows = torch.arange(len(positions), device=positions.device).unsqueeze(1)
        self.head.slots, self.head.positions = slots, positions
        # reading the largest position costs nothing on a CPU; elsewhere it would wait for the device
        most = self.capacity + 1 + count if count else self.capacity
        self.head.visible = min(int(slots.max()) + 1, most) if positions.device.type == "cpu" else most
        seen = torch.arange(self.head.visible, device=positions.device)
        mask = seen <= window.unsqueeze(-1)  # [R, T - M, visible]
        if parents is not None:
            mask = torch.cat([mask, _branch_mask(seen, window, slots, parents)], 1)
        if self.first is not None:
            first = self.first if rows is None else self.first[rows]
            mask &= (seen >= first.view(-1, 1, 1)) | (seen == slots.unsqueeze(-1))
        return mask.unsqueeze(1)

    @property
    def rows_of_last_forward(self) -> int:
        """How many rows the last forward was about."""
        return len(self.head.slots)

    def pad(self, first: Tensor) -> None:
        """Let each row begin at a slot of its own, LongTensor ``[rows]``: those before it are padding."""
        self.first = first

    def keep(self, which: Tensor, tokens: Tensor) -> None:
        """Let branch tokens of the last forward stand at their positions.

        ``which`` LongTensor ``[n]`` numbers rows of that forward, ``tokens`` ``[n]`` its tokens.
        """
        source, target = self.head.slots[which, tokens], self.head.positions[which, tokens]
        for layer in self.layers:
            layer.move(which, source, target)

    def _select(self, rows: Tensor | None) -> None:
        """Work on these rows from now on; None: all."""
        if not _same(rows, self.head.selected):
            for layer in self.layers:
                layer.select(self.head.selected, rows)
            self.head.selected = rows

    def reserve(self, capacity: int) -> None:
        """Have room for sequences of at least so many tokens."""
        if capacity > self.capacity:
            self._grow(capacity + 1)
            self.capacity = capacity

    def _grow(self, slots: int) -> None:
        """Have at least so many slots."""
        if slots > self._slots:
            selected = self.head.selected
            self._select(None)
            for layer in self.layers:
                layer.grow(slots)
            self._slots = slots
            self._select(selected)

    def fill(self, other: PositionCache, source: Tensor) -> None:
        """Begin with copies of another cache's rows, LongTensor ``source`` ``[rows]``, and their padding."""
        self.first = None if other.first is None else other.first[source]
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.fill(theirs, source)

    def adopt(self, rows: Tensor, other: PositionCache, source: Tensor) -> None:
        """Take over rows of another cache, both LongTensor ``[n]``, with their padding, between two forwards.

        Of longer rows than this cache has room for, the first slots.
        """
        self._select(None)
        other._select(None)
        if self.first is not None and other.first is not None:
            self.first[rows] = other.first[source]
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.adopt(rows, theirs, source)


def _branch_mask(seen: Tensor, window: Tensor, slots: Tensor, parents: Tensor) -> Tensor:
    """Where branch tokens look, bool ``[R, M, visible]``: the window up to where their branch began, and its tokens.

    ``seen`` are slot numbers ``[visible]``, ``window`` positions ``[R, T]``, ``slots`` those of all tokens
    ``[R, T + M]``, ``parents`` LongTensor ``[R, M]``.
    """
    width, count = window.shape[1], parents.shape[1]
    begins = parents < width
    step = torch.nn.functional.one_hot((parents - width).clamp(min=0), count) * ~begins.unsqueeze(-1)
    lineage = (step + torch.eye(count, dtype=step.dtype, device=step.device)).float()  # [R, M, M]
    for _ in range((count - 1).bit_length()):  # each squaring doubles how far back it reaches
        lineage = (lineage @ lineage).clamp(max=1)
    root = (lineage @ torch.where(begins, parents, 0).float().unsqueeze(-1)).squeeze(-1).long()  # [R, M]
    mask = seen <= window.gather(1, root).unsqueeze(-1)
    return mask.scatter(2, slots[:, None, width:].expand(-1, count, -1), lineage.bool())


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (len(one) == len(other) and torch.equal(one, other))
