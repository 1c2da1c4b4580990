"""What the token stream of a picture looks like: legal codes, forced tokens, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, eq=False)
class Layout:
    """The stream of generated tokens, by generated index 0 .. length-1.

    Args:
        codes: LongTensor ``[C]``, increasing: the vocabulary ids that are ever drawn.
        forced: LongTensor ``[length]``: the token that stands at an index whatever the model says, -1 where one is
            drawn. Forced tokens need not be among ``codes``.
        above: LongTensor ``[length]``: generated index of the code one row up, -1 where there is none; None where there
            is none anywhere.
        previous: the same of the code at the same place one frame earlier.
        legal: bool ``[K, C]``: K sets of codes; None where every code is legal wherever one is drawn.
        legal_set: LongTensor ``[length]``: which of the K sets holds at an index; needed with ``legal``.
        places: LongTensor ``[length, 3]``: frame, row and column of the code at an index, -1 where a token is forced;
            None where the stream is no grid. Decoding does not look at it.
    """

    codes: Tensor
    forced: Tensor
    above: Tensor | None = None
    previous: Tensor | None = None
    legal: Tensor | None = None
    legal_set: Tensor | None = None
    places: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.codes) == 0 or (self.codes.diff() <= 0).any() or self.codes[0] < 0:
            raise ValueError("codes of a layout: give at least one vocabulary id, increasing and without repeats")
        for name, neighbour in (("above", self.above), ("previous", self.previous)):
            if neighbour is None:
                continue
            if neighbour.shape != self.forced.shape:
                raise ValueError(f"{name} has shape {tuple(neighbour.shape)}: give that of forced, "
                                 f"{tuple(self.forced.shape)}")
            if (neighbour >= torch.arange(len(neighbour))).any():
                raise ValueError(f"{name} points at the index itself or a later one: a neighbour must come earlier")
        if self.places is not None and self.places.shape != (self.length, 3):
            raise ValueError(f"places has shape {tuple(self.places.shape)}: give frame, row and column of each of the "
                             f"{self.length} indices")
        if (self.legal is None) != (self.legal_set is None):
            raise ValueError("legal and legal_set of a layout go together: give both or neither")
        if self.legal is not None and self.legal_set is not None:
            self._check_sets(self.legal, self.legal_set)

    def _check_sets(self, legal: Tensor, legal_set: Tensor) -> None:
        if legal.ndim != 2 or legal.shape[1] != len(self.codes):
            raise ValueError(f"legal has shape {tuple(legal.shape)}: give one row per set, of {len(self.codes)} "
                             "entries, one per code")
        if not legal.any(-1).all():
            raise ValueError("a set of legal codes is empty: give every set at least one code")
        if legal_set.shape != self.forced.shape:
            raise ValueError(f"legal_set has shape {tuple(legal_set.shape)}: give that of forced, "
                             f"{tuple(self.forced.shape)}")
        if (legal_set < 0).any() or (legal_set >= len(legal)).any():
            wrong = legal_set[(legal_set < 0) | (legal_set >= len(legal))][0]
            raise ValueError(f"legal_set names set {int(wrong)}: legal has sets 0 to {len(legal) - 1}")

    @property
    def length(self) -> int:
        return len(self.forced)

    def then(self, other: Layout) -> Layout:
        """This stream and another of the same codes after it; the other's frames follow this one's.

        ValueError where they draw from other codes, or where either has sets of legal codes.
        """
        if not torch.equal(self.codes, other.codes) or self.legal is not None or other.legal is not None:
            raise ValueError("two layouts of one stream must draw from the same codes, without sets of legal ones")
        places = None
        if self.places is not None and other.places is not None:
            later = other.places.clone()
            later[:, 0] += torch.where(later[:, 0] >= 0, 1 + self.places[:, 0].amax(), 0)
            places = torch.cat([self.places, later])
        return Layout(
            codes=self.codes, forced=torch.cat([self.forced, other.forced]),
            above=_joined(self.above, other.above, self, other),
            previous=_joined(self.previous, other.previous, self, other), places=places,
        )

    def drawn_of(self, tokens: Tensor) -> Tensor:
        """Of token streams ``[B, length]`` what is drawn, in order: LongTensor ``[B, n]``."""
        return tokens[:, (self.forced < 0).to(tokens.device)]

    def stream_of(self, drawn: Tensor) -> Tensor:
        """Token streams ``[B, length]`` of what is drawn, LongTensor ``[B, n]``, with the forced tokens between it."""
        forced = self.forced.to(drawn.device)
        tokens = forced.repeat(len(drawn), 1)
        tokens[:, forced < 0] = drawn
        return tokens

    @classmethod
    def free(cls, length: int, codes: int | Tensor) -> Layout:
        """Any of the codes anywhere, and no neighbours. An int n means the ids 0 .. n-1."""
        return cls(codes=_ids(codes), forced=torch.full((length,), -1))

    @classmethod
    def grid(
        cls,
        height: int,
        width: int,
        codes: int | Tensor,
        *,
        row_end: int | None = None,
        prefix: Sequence[int] = (),
        suffix: Sequence[int] = (),
    ) -> Layout:
        """A picture of ``height`` rows of ``width`` codes in raster order.

        Args:
            codes: the drawable vocabulary ids, or a number n for 0 .. n-1.
            row_end: token id forced after each row (Lumina's newline, Emu3's EOL), if any.
            prefix: token ids forced before the first row (size tokens).
            suffix: token ids forced after the last row (end markers).
        """
        if height < 1 or width < 1:
            raise ValueError(f"a grid of {height} x {width} codes: give at least 1 x 1")
        stride = width + (row_end is not None)
        row = [-1] * width + ([] if row_end is None else [row_end])
        forced = torch.tensor([*prefix, *(row * height), *suffix])
        index = torch.arange(len(forced))
        inside = (index >= len(prefix) + stride) & (index < len(prefix) + stride * height) & (forced < 0)
        within = index - len(prefix)
        place = torch.stack([torch.zeros_like(index), within // stride, within % stride], 1)
        return cls(
            codes=_ids(codes), forced=forced, above=torch.where(inside, index - stride, -1),
            places=torch.where((forced < 0).unsqueeze(1), place, -1),
        )

    @classmethod
    def clip(cls, frames: int, height: int, width: int, codes: int | Tensor) -> Layout:
        """``frames`` grids of codes after each other, each in raster order; an int n means the ids 0 .. n-1."""
        if min(frames, height, width) < 1:
            raise ValueError(f"a clip of {frames} x {height} x {width} codes: give at least 1 x 1 x 1")
        index = torch.arange(frames * height * width)
        size = height * width
        return cls(
            codes=_ids(codes),
            forced=torch.full_like(index, -1),
            above=torch.where(index % size >= width, index - width, -1),
            previous=(index - size).clamp(min=-1),
            places=torch.stack([index // size, index % size // width, index % width], 1),
        )


class BatchLayout:
    """The layouts of B rows that draw from the same codes, padded to the longest so far.

    A row can be given another layout at any time.
    """

    def __init__(self, like: Layout, rows: int, device: torch.device) -> None:
        """``rows`` rows that have no layout yet; those to come draw from the codes and legal sets of ``like``."""
        self._like = like
        self.codes = like.codes.to(device)
        """LongTensor ``[C]``."""
        self.legal = None if like.legal is None else like.legal.to(device)
        """bool ``[K, C]``, or None."""
        self.forced = self.above = self.previous = torch.full((rows, 0), -1, device=device)
        """LongTensor ``[B, L]`` each, -1 where there is nothing and past a row's end."""
        self.legal_set = torch.zeros(rows, 0, dtype=torch.long, device=device)
        """LongTensor ``[B, L]``, 0 past a row's end."""

    @classmethod
    def stack(cls, layouts: Sequence[Layout], lengths: Sequence[int], device: torch.device) -> BatchLayout:
        """One row for each layout, of so many tokens; ValueError as of :meth:`put`."""
        batch = cls(layouts[0], len(layouts), device)
        batch.put(range(len(layouts)), layouts, lengths)
        return batch

    _values = (("forced", -1), ("above", -1), ("previous", -1), ("legal_set", 0))
    """What there is per index, by name, and what stands for nothing there."""

    def of(self, rows: Sequence[int]) -> BatchLayout:
        """The layouts of some rows, in this order."""
        some, at = copy(self), torch.tensor(rows, device=self.forced.device)
        for name, _ in self._values:
            setattr(some, name, getattr(self, name)[at])
        return some

    def check(self, rows: Sequence[int], layouts: Sequence[Layout], lengths: Sequence[int]) -> None:
        """ValueError where a row would be longer than its layout, or would draw from other codes."""
        for row, layout, length in zip(rows, layouts, lengths, strict=True):
            if length > layout.length:
                raise ValueError(f"row {row} has length {length}, but its layout ends after {layout.length} tokens")
        for layout in _distinct(layouts):
            if not _same_codes(layout, self._like):
                row = next(row for row, one in zip(rows, layouts, strict=True) if one is layout)
                raise ValueError(f"row {row} draws from other codes than row 0: decode such rows in separate calls")

    def put(self, rows: Sequence[int], layouts: Sequence[Layout], lengths: Sequence[int]) -> None:
        """Let rows have these layouts, up to these lengths; ValueError as of :meth:`check`."""
        self.check(rows, layouts, lengths)
        distinct = _distinct(layouts)  # most batches share one
        number = {id(layout): i for i, layout in enumerate(distinct)}
        which = torch.tensor([number[id(layout)] for layout in layouts])
        device, before = self.forced.device, self.forced.shape[1]
        longest = max(before, *lengths)
        inside = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
        at = torch.tensor(rows, device=device)
        for name, nothing in self._values:
            own = torch.stack([_padded(getattr(layout, name), longest, nothing) for layout in distinct])
            values = pad(getattr(self, name), (0, longest - before), value=nothing)
            values[at] = torch.where(inside, own[which], nothing).to(device)
            setattr(self, name, values)

    def legal_at(self, rows: Tensor, index: Tensor) -> Tensor | None:
        """Which codes may stand at indices, which are clamped: bool, shape of ``index`` + ``[C]``; None: all."""
        if self.legal is None:
            return None
        return self.legal[self.legal_set[rows, index.clamp(max=self.legal_set.shape[1] - 1)]]


def _distinct(layouts: Sequence[Layout]) -> list[Layout]:
    return list({id(layout): layout for layout in layouts}.values())


def _padded(values: Tensor | None, length: int, nothing: int = -1) -> Tensor:
    """LongTensor ``[length]``: values cut or filled up to a length; None stands for no values."""
    if values is None:
        return torch.full((length,), nothing)
    return pad(values[:length], (0, max(0, length - len(values))), value=nothing)


def _joined(one: Tensor | None, other: Tensor | None, first: Layout, second: Layout) -> Tensor | None:
    """Neighbours of two streams after each other; None where neither has any."""
    if one is None and other is None:
        return None
    later = _padded(other, second.length)
    return torch.cat([_padded(one, first.length), torch.where(later < 0, -1, later + first.length)])


def _ids(codes: int | Tensor) -> Tensor:
    return torch.arange(codes) if isinstance(codes, int) else codes


def as_slice(ids: Tensor) -> slice | Tensor:
    """An index for increasing ids: a slice where they are neighbours, which copies nothing, else the ids themselves."""
    first, last = int(ids[0]), int(ids[-1])
    return slice(first, last + 1) if last - first + 1 == len(ids) else ids


def _same_codes(one: Layout, other: Layout) -> bool:
    if not torch.equal(one.codes, other.codes) or (one.legal is None) != (other.legal is None):
        return False
    return one.legal is None or (other.legal is not None and torch.equal(one.legal, other.legal))
