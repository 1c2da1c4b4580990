"""What the token stream of a picture looks like: legal codes, forced tokens, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """The stream of generated tokens, by generated index 0 .. length-1.

    Args:
        codes: LongTensor ``[C]``, increasing: the vocabulary ids that are ever drawn.
        forced: LongTensor ``[length]``: the token that stands at an index whatever the model says, -1 where one is
            drawn. Forced tokens need not be among ``codes``.
        above: LongTensor ``[length]``: generated index of the code one row up, -1 where there is none.
        previous: LongTensor ``[length]``: generated index of the code at the same place one frame earlier, -1 where
            there is none; None where there is none anywhere.
        legal: bool ``[K, C]``: K sets of codes; None where every code is legal wherever one is drawn.
        kind: LongTensor ``[length]``: which of the K sets holds at an index; needed with ``legal``.
    """

    codes: Tensor
    forced: Tensor
    above: Tensor
    legal: Tensor | None = None
    kind: Tensor | None = None
    previous: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.codes) == 0 or (self.codes.diff() <= 0).any() or self.codes[0] < 0:
            raise ValueError("codes of a layout: give at least one vocabulary id, increasing and without repeats")
        for name, neighbour in (("above", self.above), ("previous", self.before)):
            if neighbour.shape != self.forced.shape:
                raise ValueError(f"{name} has shape {tuple(neighbour.shape)}: give that of forced, "
                                 f"{tuple(self.forced.shape)}")
            if (neighbour >= torch.arange(len(neighbour))).any():
                raise ValueError(f"{name} points at the index itself or a later one: a neighbour must come earlier")
        if (self.legal is None) != (self.kind is None):
            raise ValueError("legal and kind of a layout go together: give both or neither")
        if self.legal is not None and self.kind is not None:
            self._check_sets(self.legal, self.kind)

    def _check_sets(self, legal: Tensor, kind: Tensor) -> None:
        if legal.ndim != 2 or legal.shape[1] != len(self.codes):
            raise ValueError(f"legal has shape {tuple(legal.shape)}: give one row a set and {len(self.codes)} columns, "
                             "one a code")
        if not legal.any(-1).all():
            raise ValueError("a set of legal codes is empty: give every set at least one code")
        if kind.shape != self.forced.shape:
            raise ValueError(f"kind has shape {tuple(kind.shape)}: give that of forced, {tuple(self.forced.shape)}")
        if (kind < 0).any() or (kind >= len(legal)).any():
            wrong = kind[(kind < 0) | (kind >= len(legal))][0]
            raise ValueError(f"kind names set {int(wrong)}: legal has sets 0 to {len(legal) - 1}")

    @property
    def length(self) -> int:
        return len(self.forced)

    @property
    def before(self) -> Tensor:
        """``previous``, with -1 everywhere where there is none."""
        return torch.full_like(self.forced, -1) if self.previous is None else self.previous

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
        ids = torch.arange(codes) if isinstance(codes, int) else codes
        nothing = torch.full((length,), -1)
        return cls(codes=ids, forced=nothing, above=nothing)

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
        ids = torch.arange(codes) if isinstance(codes, int) else codes
        stride = width + (row_end is not None)
        row = [-1] * width + ([] if row_end is None else [row_end])
        forced = torch.tensor([*prefix, *(row * height), *suffix])
        index = torch.arange(len(forced))
        inside = (index >= len(prefix) + stride) & (index < len(prefix) + stride * height) & (forced < 0)
        return cls(codes=ids, forced=forced, above=torch.where(inside, index - stride, -1))

    @classmethod
    def clip(cls, frames: int, height: int, width: int, codes: int | Tensor) -> Layout:
        """``frames`` grids of codes after each other, each in raster order; an int n means the ids 0 .. n-1."""
        if min(frames, height, width) < 1:
            raise ValueError(f"a clip of {frames} x {height} x {width} codes: give at least 1 x 1 x 1")
        ids = torch.arange(codes) if isinstance(codes, int) else codes
        index = torch.arange(frames * height * width)
        size = height * width
        return cls(
            codes=ids,
            forced=torch.full_like(index, -1),
            above=torch.where(index % size >= width, index - width, -1),
            previous=(index - size).clamp(min=-1),
        )


@dataclass(frozen=True, eq=False)
class BatchLayout:
    """The layouts of a batch, padded to the longest: all but ``codes`` and ``legal`` are ``[B, L]``."""

    codes: Tensor
    forced: Tensor
    above: Tensor
    previous: Tensor
    legal: Tensor | None
    kind: Tensor | None

    @classmethod
    def stack(cls, layouts: Sequence[Layout], lengths: Sequence[int], device: torch.device) -> BatchLayout:
        """Raises ValueError where a row is longer than its layout, or rows draw from different sets of codes."""
        distinct = list({id(layout): layout for layout in layouts}.values())  # most batches share one
        number = {id(layout): i for i, layout in enumerate(distinct)}
        first, longest = layouts[0], max(lengths)
        for row, (layout, length) in enumerate(zip(layouts, lengths, strict=True)):
            if length > layout.length:
                raise ValueError(f"row {row} has length {length}, but its layout ends after {layout.length} tokens")
        for layout in distinct[1:]:
            if not _same_codes(layout, first):
                row = next(i for i, one in enumerate(layouts) if one is layout)
                raise ValueError(f"row {row} draws from other codes than row 0: decode such rows in separate calls")
        which = torch.tensor([number[id(layout)] for layout in layouts])
        inside = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)

        def stacked(rows: list[Tensor], value: int) -> Tensor:
            """``[B, longest]``, ``value`` past a row's end."""
            padded = [torch.nn.functional.pad(row[:longest], (0, max(0, longest - len(row)))) for row in rows]
            return torch.where(inside, torch.stack(padded)[which], value).to(device)

        kinds = [layout.kind for layout in distinct if layout.kind is not None]
        return cls(
            codes=first.codes.to(device),
            forced=stacked([layout.forced for layout in distinct], -1),
            above=stacked([layout.above for layout in distinct], -1),
            previous=stacked([layout.before for layout in distinct], -1),
            legal=None if first.legal is None else first.legal.to(device),
            kind=stacked(kinds, 0) if kinds else None,
        )

    def legal_at(self, rows: Tensor, index: Tensor) -> Tensor | None:
        """Which codes may stand at these places: bool, shape of ``index`` + ``[C]``; None: all. Indices are clamped."""
        if self.legal is None or self.kind is None:
            return None
        return self.legal[self.kind[rows, index.clamp(max=self.kind.shape[1] - 1)]]


def as_slice(ids: Tensor) -> slice | Tensor:
    """An index for increasing ids: a slice where they are neighbours, which copies nothing, else the ids themselves."""
    first, last = int(ids[0]), int(ids[-1])
    return slice(first, last + 1) if last - first + 1 == len(ids) else ids


def _same_codes(one: Layout, other: Layout) -> bool:
    if not torch.equal(one.codes, other.codes) or (one.legal is None) != (other.legal is None):
        return False
    return one.legal is None or (other.legal is not None and torch.equal(one.legal, other.legal))
