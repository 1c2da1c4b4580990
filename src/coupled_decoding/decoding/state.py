"""The state of a decode: what is committed, where each row stands, and the drafts behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.branches import Branches
from coupled_decoding.decoding.rules.following import Path
from coupled_decoding.decoding.rules.guesses import Entering, Guess
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.prediction import NEWEST, predicted
from coupled_decoding.decoding.rules.schedule import Schedule
from coupled_decoding.decoding.rules.window import Window


class State:
    """B rows, each with its own start, end and noise.

    ``tokens[:, 0]`` is the last prompt token and ``tokens[:, 1 + i]`` the generated token i, committed or drafted, so
    committing is moving ``start`` and nothing is ever shifted. What a window needs beside tokens (noise and labels, one
    number a code) slides with it.
    """

    def __init__(
        self,
        last_token: Tensor,
        vocab_size: int,
        lengths: list[int],
        layout: BatchLayout,
        seeds: list[int],
        width: int,
        guess: Guess,
        remembers: bool,
    ) -> None:
        self.device = last_token.device
        self.lengths, self.layout, self.width, self.guess = [*lengths], layout, width, guess
        self.seeds = torch.tensor(seeds, device=self.device)
        self.start = [0] * len(lengths)
        """Generated index of each row's first uncommitted token."""
        self.nfe = [0] * len(lengths)
        self.entered = [0] * len(lengths)
        """Generated index up to which each row's positions have been in a window."""
        self.schedule: Schedule | None = None
        """Which forward decides which position, where that is fixed beforehand."""
        self.active: list[int] = []
        """The rows of the current window."""
        self._rows = torch.empty(0, dtype=torch.long, device=self.device)
        self._bounds: tuple[Tensor, Tensor]
        """LongTensor ``[R]`` on the CPU: where each row of the current window begins and ends, by generated index."""
        self.dtype = torch.float64
        """Of noise and labels: that of the logits, once there are any."""

        room = max(lengths) + width  # windows may reach past the end
        self.tokens = torch.full((len(lengths), 1 + room), -1, device=self.device)
        self.tokens[:, 0] = last_token
        self.tokens[:, 1 : 1 + layout.forced.shape[1]] = layout.forced
        self.forced = self.tokens[:, 1:] >= 0  # [B, room]
        self.vocab_size = vocab_size
        self.column_of = torch.full((vocab_size + 1,), -1, device=self.device)  # the last is of what is no id
        self.column_of[layout.codes] = torch.arange(len(layout.codes), device=self.device)
        self.memory = Memory(len(lengths), room, len(layout.codes), self.device) if remembers else None

    # -- given tokens ------------------------------------------------------------------------------------------------

    def give(self, row: int, known: Tensor) -> None:
        """Commit the first tokens of a row; ValueError where the layout does not allow them."""
        if known.ndim != 1 or len(known) > self.lengths[row]:
            raise ValueError(f"given tokens of row {row} have shape {tuple(known.shape)}: give one dimension of at "
                             f"most {self.lengths[row]}")
        columns = self._column(known)
        legal = columns >= 0
        sets = self.layout.legal_at(torch.tensor(row), torch.arange(len(known), device=self.device))
        if sets is not None:
            legal &= sets.gather(1, columns.clamp(min=0).unsqueeze(1)).squeeze(1)
        forced = self.layout.forced[row, : len(known)]
        fits = torch.where(forced >= 0, known == forced, legal)
        if not fits.all():
            place = int(torch.nonzero(~fits)[0])
            raise ValueError(f"given token {int(known[place])} at index {place} of row {row} is not legal there")
        self.tokens[row, 1 : 1 + len(known)] = known
        self.start[row] = len(known)

    def read(self, rows: Tensor, index: Tensor) -> Tensor:
        """The tokens before generated indices ``[R, T]``: what a forward is fed to give logits there."""
        tokens = self.tokens[rows.unsqueeze(1), index]
        return torch.where(tokens < 0, self.layout.codes[0], tokens)  # padding, where there is no draft

    # -- what stands -------------------------------------------------------------------------------------------------

    def sequence(self) -> Tensor:
        """LongTensor ``[B, length]``: committed tokens and drafts, -1 where there is neither."""
        return self.tokens[:, 1 : 1 + self.layout.forced.shape[1]].clone()

    def committed_tokens(self) -> Tensor:
        """LongTensor ``[B, length]``: committed tokens, -1 elsewhere."""
        sequence = self.sequence()
        start = torch.tensor(self.start, device=self.device).unsqueeze(1)
        return torch.where(torch.arange(sequence.shape[1], device=self.device) < start, sequence, -1)

    # -- windows -----------------------------------------------------------------------------------------------------

    def open_window(self, with_labels: bool, with_averages: bool) -> Window | None:
        """The first window, all of it first guesses; None if nothing is left to generate."""
        window = self._window([row for row, end in enumerate(self.lengths) if self.start[row] < end])
        if window is not None:
            shape = (*window.index.shape, len(self.layout.codes))
            window.noise = torch.zeros(shape, dtype=self.dtype, device=self.device)
            window.labels = torch.zeros_like(window.noise) if with_labels else None
            window.averages = torch.zeros_like(window.noise) if with_averages else None
            self._enter(window)
        return window

    def commit(
        self, window: Window, drawn: Tensor, accepted: Tensor, token: Tensor, broken: Tensor, fed: Tensor
    ) -> list[list[int]]:
        """Write each row's committed token and the new drafts behind it, and move its start.

        ``drawn`` LongTensor ``[R, T]``, ``accepted`` and ``token`` LongTensor ``[R]``, all columns; ``broken`` bool
        ``[R, T]``, positions whose target is not a number; ``fed`` LongTensor ``[R]``, tokens that the forward read.
        Returns for each row of the window how many tokens it committed, how many drafts behind them changed, how many
        there are, how many positions are broken, and how many tokens were read: the one transfer from device to host
        of a step.
        """
        offset = torch.arange(window.index.shape[1], device=self.device)
        behind = offset > accepted.unsqueeze(1)
        pending = behind & (offset < (window.size - 1).unsqueeze(1)) & ~window.forced
        changed = pending & (drawn != window.drafts)

        drawn = torch.where(offset == accepted.unsqueeze(1), token.unsqueeze(1), drawn)
        written = (offset >= accepted.unsqueeze(1)) & (offset < window.size.unsqueeze(1)) & ~window.forced
        rows, places = window.rows.unsqueeze(1), window.index + 1
        self.tokens[rows, places] = torch.where(written, self.layout.codes[drawn], self.tokens[rows, places])

        broken = broken & (offset < window.size.unsqueeze(1))
        counts = torch.stack([accepted + 1, changed.sum(1), pending.sum(1), broken.sum(1), fed]).tolist()
        for row, committed in zip(self.active, counts[0], strict=True):
            self.start[row] += committed
            self.nfe[row] += 1
        return counts

    def end(self, row: int, length: int) -> None:
        """Let a row end after ``length`` tokens, all of them committed; what stood behind them is dropped."""
        self.start[row] = self.lengths[row] = length
        self.tokens[row, 1 + length :] = -1

    def remember(self, window: Window, target: Tensor) -> None:
        """Keep the target distributions ``[R, T, C]`` of a window, where the first guess looks back at them."""
        if self.memory is not None:
            rows = window.rows.unsqueeze(1).expand_as(window.index)
            exists = torch.arange(window.index.shape[1], device=self.device) < window.size.unsqueeze(1)
            self.memory.remember(rows[exists], window.index[exists], target[exists])

    def read_branches(self, window: Window, branches: Branches) -> Tensor:
        """The tokens of branches ``[R, M]``, vocabulary ids."""
        forced = window.forced.gather(1, branches.offset)
        standing = self.tokens[window.rows.unsqueeze(1), window.index[:, :1] + branches.offset + 1]
        return torch.where(forced, standing, self.layout.codes[branches.column])

    def take(self, window: Window, path: Path) -> None:
        """Let the drafts of a window be those of the path that each row goes on along."""
        window.drafts, window.readable = path.drafts, path.readable
        rows, places = window.rows.unsqueeze(1), window.index + 1
        written = window.has_draft & ~window.forced
        self.tokens[rows, places] = torch.where(written, self.layout.codes[window.drafts], self.tokens[rows, places])

    def predict(self, window: Window, target: Tensor, drawn: Tensor, labels: Tensor, accepted: Tensor, token: Tensor
                ) -> None:
        """Put a better draft, and its label, right behind what each row commits now; ``target`` is remembered before.

        ``drawn`` LongTensor ``[R, T]`` and ``labels`` ``[R, T, C]`` of the coupling are written to.
        """
        if window.averages is None or self.memory is None:
            raise ValueError("prediction needs averages and memory")
        window.averages.lerp_(target, NEWEST)
        committed = self._column(self.tokens[window.rows, 1:])
        row, offset, drafts, label = predicted(window, self.memory, committed, accepted, token)
        drawn[row, offset], labels[row, offset] = drafts, label

    def restart(self, row: int, token: Tensor, seed: int) -> None:
        """Let a finished row begin again, behind another last prompt token, with the next window."""
        self.start[row] = self.nfe[row] = self.entered[row] = 0
        self.seeds[row] = seed
        self.tokens[row, 0] = token
        length = self.layout.forced.shape[1]
        self.tokens[row, 1 : 1 + length], self.tokens[row, 1 + length :] = self.layout.forced[row], -1
        if self.memory is not None:
            self.memory.forget(row)

    def slide(self, window: Window, labels: Tensor, committed: list[int]) -> Window | None:
        """The next window: unfinished rows moved by what they committed; None if there are none.

        ``labels`` ``[R, T, C]`` are those of the drafts that the coupling drew.
        """
        staying = [i for i, row in enumerate(self.active) if self.start[row] < self.lengths[row]]
        moved = self._window([self.active[i] for i in staying])
        if moved is None:
            return None
        width = window.index.shape[1]
        number, move = torch.tensor(staying), torch.tensor([committed[i] for i in staying])
        offset = (torch.arange(moved.index.shape[1]) + move.unsqueeze(1)).clamp(max=width - 1)
        source = (width * number.unsqueeze(1) + offset).flatten().to(self.device)  # in a list of all rows' positions

        def slid(values: Tensor) -> Tensor:
            # index_select copies whole rows, several times faster than indexing by two tensors
            return values.flatten(0, 1).index_select(0, source).unflatten(0, offset.shape)

        moved.noise = slid(window.noise)
        if window.labels is not None:
            moved.labels = slid(labels)
        if window.averages is not None:
            moved.averages = slid(window.averages)
        self._enter(moved)
        return moved

    @property
    def sizes(self) -> list[int]:
        """Positions that exist in each row of the current window."""
        start, end = self._bounds
        return (end - start).tolist()

    def _window(self, active: list[int]) -> Window | None:
        """The window of these rows where they stand, without noise and labels."""
        if active != self.active:  # the same tensor as long as the same rows go on: sessions may compare by identity
            self.active = active
            self._rows = torch.tensor(active, dtype=torch.long, device=self.device)
        if not active:
            return None
        # what the host knows is put together there: asking the device would wait for it
        start = self._of_active(self.start)
        end = torch.minimum(start + self.width, self._of_active(self.lengths))
        if self.schedule is not None:
            end = torch.minimum(end, torch.tensor([self.schedule.end(row, self.nfe[row]) for row in active]))
        self._bounds, sizes = (start, end), end - start
        index = (start.unsqueeze(1) + torch.arange(int(sizes.max()))).to(self.device)
        rows = self._rows
        return Window(
            rows=rows,
            seeds=self.seeds[rows],
            visit=self._of_active(self.nfe).to(self.device),
            index=index,
            size=sizes.to(self.device),
            forced=self.forced[rows.unsqueeze(1), index],
            drafts=self._column(self.tokens[rows.unsqueeze(1), index + 1]).clamp(min=0),
            noise=torch.empty(0),
            labels=None,
            turn=None if self.schedule is None else self.schedule.turn_at(rows, index),
        )

    def _enter(self, window: Window) -> None:
        """Give noise, a first guess and its label to the positions of each row that were in no window before."""
        start, end = self._bounds
        index, entered = torch.arange(window.index.shape[1]) + start.unsqueeze(1), self._of_active(self.entered)
        places = ((index >= entered.unsqueeze(1)) & (index < end.unsqueeze(1))).nonzero()
        for active, reached in zip(self.active, end.tolist(), strict=True):
            self.entered[active] = reached
        if not len(places):
            return
        row, offset = places.to(self.device).unbind(1)
        index, batch_row = window.index[row, offset], window.rows[row]
        noise = exponentials(window.seeds[row], index, self.layout.codes)
        before = self.layout.previous[batch_row, index]
        drafts, label = self.guess(Entering(
            noise=noise,
            legal=self.layout.legal_at(batch_row, index),
            last=self._column(self.tokens[batch_row, window.index[row, 0]]),
            above=self._code_at(batch_row, self.layout.above[batch_row, index]),
            previous=self._code_at(batch_row, before),
            remembered=None if self.memory is None else self.memory.recall(batch_row, before, noise.shape[-1]),
        ))
        window.noise[row, offset] = noise.to(self.dtype)
        window.drafts[row, offset] = drafts
        if window.labels is not None:
            window.labels[row, offset] = label.to(self.dtype)
        if window.averages is not None:
            window.averages[row, offset] = 0
        there = self.tokens[batch_row, index + 1]
        self.tokens[batch_row, index + 1] = torch.where(window.forced[row, offset], there, self.layout.codes[drafts])

    def _of_active(self, values: list[int]) -> Tensor:
        """LongTensor ``[R]`` on the CPU: of a list with one entry a row of the batch, those of the current window."""
        return torch.tensor([values[row] for row in self.active], dtype=torch.long)

    def _code_at(self, rows: Tensor, index: Tensor) -> Tensor:
        """Column of what stands at generated indices, LongTensor ``[M]``; -1 where there is nothing or no index."""
        return self._column(torch.where(index >= 0, self.tokens[rows, index + 1], -1))

    def _column(self, tokens: Tensor) -> Tensor:
        """Column of vocabulary ids, -1 where there is none."""
        return self.column_of[tokens.clamp(-1, self.vocab_size)]
