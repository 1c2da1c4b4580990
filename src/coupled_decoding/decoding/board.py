"""The tokens of a decode: what is committed and the drafts behind it, ids in the vocabulary and codes 0 .. C-1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from coupled_decoding.decoding.layout import BatchLayout, Layout
from coupled_decoding.decoding.ledger import Counts
from coupled_decoding.decoding.rules.branches import Branches
from coupled_decoding.decoding.rules.window import Window


class Board:
    """The tokens of B rows by generated index; committing is moving a row's start, and nothing is ever shifted.

    A draft stands here as a vocabulary id, to be fed, and in the :class:`Window` as a code. The window is made from the
    board and rules until its step is over; :meth:`commit` and :meth:`follow` write back what it has become.

    Args:
        layout: of the rows, which may have none yet.
        vocab_size: ids are 0 .. vocab_size-1.
        width: positions of a window at most; windows may reach past the end of a row.
    """

    def __init__(self, layout: BatchLayout, vocab_size: int, width: int) -> None:
        self.layout, self.codes, self._width, self._vocab_size = layout, layout.codes, width, vocab_size
        rows, self.device = len(layout.forced), layout.codes.device
        # [:, 0] is the last prompt token and [:, 1 + i] the generated token i: only methods of this class know of it
        self._tokens = torch.full((rows, 1), -1, device=self.device)
        self.forced = torch.zeros(rows, 0, dtype=torch.bool, device=self.device)
        """bool ``[B, room]``: indices whose token the layout fixes."""
        self._code_of = torch.full((vocab_size + 1,), -1, device=self.device)  # the last is of what is no id
        self._code_of[self.codes] = torch.arange(len(self.codes), device=self.device)

    @property
    def room(self) -> int:
        """Generated indices that there are."""
        return self.forced.shape[1]

    # -- rows that begin ---------------------------------------------------------------------------------------------

    def open(self, rows: Sequence[int], last_token: Tensor, layouts: Sequence[Layout], lengths: Sequence[int]) -> None:
        """Let rows begin, or begin again, behind their last prompt tokens, LongTensor ``[len(rows)]``."""
        self.layout.put(rows, layouts, lengths)
        more = max(lengths) + self._width - self.room
        if more > 0:
            self._tokens, self.forced = pad(self._tokens, (0, more), value=-1), pad(self.forced, (0, more))
        at = torch.tensor(rows, device=self.device)
        forced = self.layout.forced[at]
        self._tokens[at, 0] = last_token
        self._tokens[at, 1:] = pad(forced, (0, self.room - forced.shape[1]), value=-1)
        self.forced[at] = self._tokens[at, 1:] >= 0

    def give(self, row: int, known: Tensor) -> None:
        """Put the first tokens of a row, LongTensor ``[g]``; ValueError where the layout does not allow them."""
        codes = self.codes_of(known)
        legal = codes >= 0
        sets = self.layout.legal_at(torch.tensor(row), torch.arange(len(known), device=self.device))
        if sets is not None:
            legal &= sets.gather(1, codes.clamp(min=0).unsqueeze(1)).squeeze(1)
        forced = self.layout.forced[row, : len(known)]
        fits = torch.where(forced >= 0, known == forced, legal)
        if not fits.all():
            index = int(torch.nonzero(~fits)[0])
            raise ValueError(f"given token {int(known[index])} at index {index} of row {row} is not legal there")
        self._tokens[row, 1 : 1 + len(known)] = known

    # -- reading -----------------------------------------------------------------------------------------------------

    def before(self, rows: Tensor, index: Tensor) -> Tensor:
        """The tokens before indices ``[R, T]`` of rows ``[R]``: what a forward is fed to give logits there."""
        tokens = self._tokens[rows.unsqueeze(1), index]
        return torch.where(tokens < 0, self.codes[0], tokens)  # padding, where there is no draft

    def code_before(self, rows: Tensor, index: Tensor) -> Tensor:
        """Code of the token before generated indices, LongTensor ``[M]`` of rows ``[M]``; -1 where it is no code."""
        return self.codes_of(self._tokens[rows, index])

    def at(self, rows: Tensor, index: Tensor) -> Tensor:
        """Code of what stands at generated indices, shapes that broadcast; -1 where it is none."""
        return self.codes_of(self._tokens[rows, index + 1])

    def neighbour(self, rows: Tensor, index: Tensor) -> Tensor:
        """As :meth:`at`, of neighbours; -1 too where the index is -1, which means that there is none."""
        return torch.where(index >= 0, self.at(rows, index), -1)

    def codes_in(self, rows: Tensor) -> Tensor:
        """Code of what stands at every index of rows ``[R]``, LongTensor ``[R, room]``; -1 where it is none."""
        return self.codes_of(self._tokens[rows, 1:])

    def read_branches(self, window: Window, branches: Branches) -> Tensor:
        """The tokens of branches ``[R, M]``, vocabulary ids."""
        forced = window.forced.gather(1, branches.offset)
        standing = self._tokens[window.rows.unsqueeze(1), window.index[:, :1] + branches.offset + 1]
        return torch.where(forced, standing, self.codes[branches.code])

    def codes_of(self, tokens: Tensor) -> Tensor:
        """Codes of vocabulary ids, -1 where there is none."""
        return self._code_of[tokens.clamp(-1, self._vocab_size)]

    def sequence(self) -> Tensor:
        """LongTensor ``[B, L]``: a copy of committed tokens and drafts, -1 where there is neither."""
        return self._tokens[:, 1 : 1 + self.layout.forced.shape[1]].clone()

    def row(self, row: int, length: int) -> Tensor:
        """LongTensor ``[length]`` on the CPU: committed tokens and drafts of a row, -1 where there is neither."""
        return self._tokens[row, 1 : 1 + length].to("cpu", copy=True)

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(self, rows: Tensor, index: Tensor, codes: Tensor, where: Tensor) -> None:
        """Write codes at generated indices where ``where`` is True; all shapes broadcast to that of ``index``."""
        self._tokens[rows, index + 1] = torch.where(where, self.codes[codes], self._tokens[rows, index + 1])

    def follow(self, window: Window) -> None:
        """Write the drafts of the route that each row of a window continues along."""
        self.put(window.rows.unsqueeze(1), window.index, window.drafts, window.has_draft & ~window.forced)

    def commit(
        self, window: Window, target: Tensor, drawn: Tensor, accepted: Tensor, token: Tensor, fed: Tensor
    ) -> Counts:
        """Write each row's committed token and the new drafts behind it.

        Args:
            target: ``[R, T, C]``.
            drawn: LongTensor ``[R, T]``: the new drafts.
            accepted, token: LongTensor ``[R]``: drafts that stand, and the code committed after them.
            fed: LongTensor ``[R]``: tokens that the forward read.

        Returns:
            The counts, whose transfer from device to host is the only one of a step.
        """
        offset = torch.arange(window.index.shape[1], device=self.device)
        behind = offset > accepted.unsqueeze(1)
        pending = behind & (offset < (window.size - 1).unsqueeze(1)) & ~window.forced
        changed = pending & (drawn != window.drafts)

        drawn = torch.where(offset == accepted.unsqueeze(1), token.unsqueeze(1), drawn)
        exists = offset < window.size.unsqueeze(1)
        written = (offset >= accepted.unsqueeze(1)) & exists & ~window.forced
        self.put(window.rows.unsqueeze(1), window.index, drawn, written)

        broken = target[..., 0].isnan() & exists
        counts = torch.stack([accepted + 1, changed.sum(1), pending.sum(1), broken.sum(1), fed]).tolist()
        return Counts(*counts)

    def drop(self, row: int, index: int) -> None:
        """Let nothing stand in a row from a generated index on."""
        self._tokens[row, 1 + index :] = -1
