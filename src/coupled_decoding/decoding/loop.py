"""The decoding loop: window, step, commit, record, slide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import drawable_of, layouts_of, lengths_of, seeds_of
from coupled_decoding.decoding.board import Board
from coupled_decoding.decoding.layout import BatchLayout, Layout
from coupled_decoding.decoding.ledger import Ledger
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.rules.branches import grow
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.sampling import RowSampling, Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.step import Outcome, Setting, step
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.decoding.tuning import LONGEST, Tuner, measure
from coupled_decoding.decoding.windows import Windows

READ_AT_ONCE = 256
"""Given tokens that one forward reads before decoding starts."""

Stop = Callable[[int, Tensor], int | None]
"""Ends rows before their length; see :func:`decode`."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What :func:`decode` returns."""

    tokens: Tensor
    """LongTensor ``[B, length]`` of vocabulary ids, given and forced tokens included; -1 past the end of a shorter row
    and for what was not committed when ``on_step`` stopped the decode."""
    trace: Trace
    seeds: list[int]
    """The seed of each row: what reproduces it."""


def decode(
    session: Session,
    length: int | Sequence[int],
    *,
    method: Method | None = None,
    sampling: Sampling | None = None,
    layout: Layout | Sequence[Layout] | None = None,
    seed: int | Sequence[int] | None = None,
    given: Tensor | Sequence[Tensor] | None = None,
    stop: Stop | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
    chances: Chances = EMOJI,
) -> Decoded:
    """Generate ``length`` tokens for every row of a session, distributed as autoregressive sampling would give them.

    Each step is one forward over a window of each unfinished row (algorithm 1 of arXiv 2510.24211; for one row and
    nothing else it stands in :mod:`coupled_decoding.decoding.reference`). A row's tokens depend on its prompt, seed,
    method, sampling, layout and given tokens, to the precision of the session's logits; not on the other rows, nor on
    PyTorch's generators.

    Args:
        session: the model with its prompts read in; see :class:`Session`.
        length: tokens to generate, one number or one per row.
        method: ``AR()``, ``SJD()``, ``SCD()`` (the default) or ``SeedExact()``.
        sampling: temperature, top-k and top-p; the default applies none.
        layout: legal codes and forced tokens, one for all rows or one per row; None: any token anywhere.
        seed: an int gives row i the seed ``seed + i``, a sequence gives each row its own, None draws them from the
            system. All are recorded in the result.
        given: the first generated tokens, where they are already known: LongTensor ``[B, g]`` or a tensor for each row.
            Decoding continues after them.
        stop: ends rows before their length. After each step it is called for every row that took part, with the row's
            number and its committed tokens, LongTensor ``[n]`` on the CPU; it returns how many of them the row keeps
            (at least one that is new), or None where the row continues. It never sees a draft, so the distribution of
            what is kept is that of autoregressive sampling with the same rule.
        on_step: called after every step; returning False stops, and what is committed is returned.
        chances: what is expected of the model's drafts; they decide the speed, not the output.

    Raises:
        ValueError: an argument does not fit the session or the layout, or the logits are not a number; the sentence
            says which and why.

    Example::

        decoded = cd.decode(session, 256, method=cd.SeedExact(window=32), seed=7)
        decoded.tokens         # LongTensor [B, 256]: what AR() gives for these seeds
        decoded.trace.nfe      # LongTensor [B]: in how many forwards
    """
    batch = len(session.last_token)
    lengths, seeds = lengths_of(length, batch), seeds_of(seed, batch)
    layouts = layouts_of(layout, lengths, session.vocab_size)
    if given is not None and ((isinstance(given, Tensor) and given.ndim == 0) or len(given) != batch):
        rows = 0 if isinstance(given, Tensor) and given.ndim == 0 else len(given)
        raise ValueError(f"given tokens for {rows} rows: the session has {batch}")
    run = Decoding(session, method or SCD(), layouts[0], stop=stop, chances=chances)
    run.open_many(range(batch), seeds, layouts, lengths, [sampling or Sampling()] * batch, given)
    while (report := run.step()) is not None:
        if report.broken:
            raise ValueError(f"the session gave NaN logits for row {report.broken[0]}: float16 may have overflowed, "
                             "try bfloat16")
        if on_step is not None and on_step(run.snapshot()) is False:
            break
    return Decoded(run.committed(), run.trace, seeds)


@dataclass(frozen=True)
class Report:
    """What one step of a :class:`Decoding` did."""

    number: int
    """Forwards so far."""
    rows: list[int]
    """The rows that took part."""
    committed: list[int]
    """Tokens that each of them committed; 0 for a broken one."""
    ended: list[int]
    """Those that have all their tokens now. They are idle, and may be opened again."""
    broken: list[int]
    """Those whose logits were not a number. They are idle, and stand where they stood before the step."""


class Decoding:
    """Rows that decode side by side in one session, each opened and closed by itself.

    At first all B rows are idle. Between two steps any number of them may be opened and closed; a step is one forward
    of all rows that are running, and with none it does nothing. What a row gives depends on its prompt and on what it
    was opened with, not on its neighbours or on when that was; rows may differ in all of that, their sampling included,
    but draw from the same codes. Nothing grows with the number of rows that were ever opened.

    Example::

        run = Decoding(session, cd.SCD(), layout)
        run.open(0, seed=7)
        while run.step():
            ...                               # session.adopt(1, other, 0); run.open(1, seed=8); run.close(0)
        run.tokens(0), run.part(0).nfe

    Not for several threads at once.

    Args:
        session: the model; a row's prompt is what the session holds for it when the row is opened.
        method: of all rows.
        layout: says from which codes and legal sets all rows draw; and the layout of rows opened without one.
        stop, chances: see :func:`decode`.

    Raises:
        ValueError: the session cannot serve the method or the layout.
    """

    def __init__(
        self, session: Session, method: Method, layout: Layout, *, stop: Stop | None = None, chances: Chances = EMOJI,
    ) -> None:
        self.session, self.method, self.stop, self.chances = session, method, stop, chances
        batch, device = len(session.last_token), session.last_token.device
        layouts_of(layout, [1], session.vocab_size)
        self._layout, output_codes = layout, session.output_codes
        self._width = LONGEST if method.window == "auto" else int(method.window)
        self._rules = rules = method.rules(chances)
        stream = BatchLayout(layout, batch, device)
        if len(stream.codes) == 1:  # there are no other candidates
            self._rules = rules = replace(rules, grow=None)
        if rules.grow is not None and not session.reads_branches:
            raise ValueError(f"{type(session).__name__} reads no branches: give a method with branches=0, or a session "
                             "that says reads_branches")
        self._setting = Setting(
            session=session,
            board=Board(stream, session.vocab_size, self._width),
            memory=Memory(batch, 0, len(stream.codes), device) if rules.remember else None,
            sampling=RowSampling(batch),
            drawable=drawable_of(stream.codes, output_codes),
            outputs=session.vocab_size if output_codes is None else len(output_codes),
            chances=chances,
        )
        self._board, self._ledger = self._setting.board, Ledger(batch)
        self._windows = Windows(self._board, self._ledger, rules, self._setting.memory)
        self.trace = Trace(batch)
        """What happened in each row since it was opened."""
        self._tuner: Tuner | None = None
        self._outcome: Outcome | None = None
        self._opened: list[int] = []
        self._steps = 0

    # -- rows --------------------------------------------------------------------------------------------------------

    def open(
        self,
        row: int,
        seed: int,
        *,
        layout: Layout | None = None,
        length: int | None = None,
        sampling: Sampling | None = None,
        given: Tensor | None = None,
    ) -> None:
        """Let an idle row take part from the next step on, behind the prompt that the session holds for it now.

        Args:
            layout: of what is generated; that of the decode unless given.
            length: tokens to generate, the layout's length unless given.
            sampling: the default applies none.
            given: LongTensor ``[g]``: first generated tokens that are already known.

        Raises:
            ValueError: the row is running, or an argument does not fit; the decode is as it was.
        """
        layout = layout or self._layout
        layouts_of(layout, [1], self.session.vocab_size)
        lengths = lengths_of(layout.length if length is None else length, 1)
        known = None if given is None else [given]
        self.open_many([row], seeds_of([seed], 1), [layout], lengths, [sampling or Sampling()], known)

    def open_many(
        self, rows: Sequence[int], seeds: Sequence[int], layouts: Sequence[Layout], lengths: Sequence[int],
        samplings: Sequence[Sampling], given: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """:meth:`open` for several rows at once, one entry of everything per row."""
        ledger, board, device = self._ledger, self._board, self._board.device
        for row in rows:
            if not 0 <= row < len(ledger.start):
                raise ValueError(f"row {row}: the session has rows 0 to {len(ledger.start) - 1}")
            if ledger.start[row] < ledger.lengths[row]:
                raise ValueError(f"row {row} is running: close it before it is opened again")
        board.layout.check(rows, layouts, lengths)
        known = [torch.empty(0, dtype=torch.long, device=device)] * len(rows) if given is None else [
            torch.as_tensor(tokens, device=device) for tokens in given]
        for row, tokens, length in zip(rows, known, lengths, strict=True):
            if tokens.ndim != 1 or len(tokens) > length:
                raise ValueError(f"given tokens of row {row} have shape {tuple(tokens.shape)}: give one dimension of "
                                 f"at most {length}")
        board.open(rows, self.session.last_token[torch.tensor(rows, device=device)], layouts, lengths)
        for row, tokens in zip(rows, known, strict=True):
            if len(tokens):
                board.give(row, tokens)
        if self._setting.memory is not None:
            self._setting.memory.reserve(board.room)
            self._setting.memory.forget(rows)
        self._windows.seed(rows, seeds)
        for row, sampling in zip(rows, samplings, strict=True):
            self._setting.sampling.put(row, self.method.sampling(sampling))
            self.trace.restart(row)
        ledger.restart(rows, lengths, [len(tokens) for tokens in known])
        self._opened += rows

    def close(self, row: int) -> None:
        """Let a row be idle from now on, whether it has ended or not; what it has committed can still be read."""
        self._ledger.end(row, self._ledger.start[row])
        self._opened = [opened for opened in self._opened if opened != row]

    @property
    def running(self) -> list[int]:
        """The rows that take part in the next step."""
        return self._ledger.running

    def tokens(self, row: int, *, drafts: bool = False) -> Tensor:
        """LongTensor ``[length]`` on the CPU: what a row has committed, -1 elsewhere; until it is opened again.

        With ``drafts`` what it is expected to become stands there as far as it is known.
        """
        tokens, start = self._board.row(row, self._board.layout.forced.shape[1]), self._ledger.start[row]
        if not drafts:
            tokens[start:] = -1
        return tokens

    def part(self, row: int) -> Trace:
        """The trace of what a row was opened for last; later rows in its place do not change it."""
        return self.trace.part(row)

    # -- steps -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self) -> Report | None:
        """One forward of all running rows, and what follows from it; None where no row is running."""
        self._begin()
        started = time.perf_counter()  # what happens between two steps is not the decoder's time
        ledger, outcome = self._ledger, self._outcome
        width, rules = self._choice()
        window = self._windows.open(width) if outcome is None else self._windows.slide(outcome, width)
        if window is None:
            self._outcome = None
            return None
        self._outcome = outcome = step(self._setting, rules, window, ledger.active)
        counts = self._board.commit(
            outcome.window, outcome.target, outcome.drawn, outcome.accepted, outcome.token, outcome.fed)
        broken, rows = ledger.advance(counts), ledger.active
        committed = [0 if wrong else count for count, wrong in zip(counts.committed, counts.broken, strict=True)]
        if self.stop is not None:
            committed = self._stopped(committed)
        seconds = outcome.inside, time.perf_counter() - started - outcome.inside
        self.trace.record(rows, committed, counts.changed, counts.pending, counts.read, seconds)
        if self._tuner is not None:
            whole = [n for n, size in zip(committed, ledger.sizes, strict=True) if n and size == width]
            self._tuner.observe(whole, len(rows), seconds[1])
        self._steps += 1
        ended = [row for row in rows if ledger.start[row] >= ledger.lengths[row] and row not in broken]
        return Report(self._steps, rows, committed, ended, broken)

    def snapshot(self) -> Step:
        """What stands now, copied."""
        ledger = self._ledger
        return Step(self._steps, [*ledger.start], [*ledger.lengths], max(ledger.nfe), self._board.sequence())

    def committed(self) -> Tensor:
        """LongTensor ``[B, length]``: committed tokens of all rows, -1 elsewhere; where the session computes."""
        sequence = self._board.sequence()
        start = torch.tensor(self._ledger.start, device=sequence.device).unsqueeze(1)
        return torch.where(torch.arange(sequence.shape[1], device=sequence.device) < start, sequence, -1)

    def _begin(self) -> None:
        """What rows opened since the last step need before their first one."""
        opened, ledger = self._opened, self._ledger
        if not opened:
            return
        self._opened = []
        if self.method.window == "auto" and self._tuner is None:
            trees = self.session.reads_branches and len(self._board.codes) > 1
            self._tuner = Tuner(measure(self.session), len(ledger.start), trees, self.chances)
        start = [ledger.start[row] for row in opened]
        if max(start):
            self._read_given(opened, max(start))
        if self._rules.schedule is not None:
            self._rules.schedule.begin(self._board.layout, opened, start)

    def _read_given(self, opened: Sequence[int], most: int) -> None:
        """Let the session read all but the last of the tokens given to rows, of which one has ``most``."""
        session, device = self.session, self._board.device
        at = torch.tensor(opened, device=device)
        rows = None if len(opened) == len(session.last_token) else at
        for first in range(0, most, READ_AT_ONCE):
            # a row with fewer given tokens reads padding behind them, which its own steps overwrite
            index = torch.arange(first, min(first + READ_AT_ONCE, most), device=device)
            tokens = self._board.before(at, index.expand(len(opened), -1))
            session.forward(tokens, session.last_position[at].unsqueeze(1) + index, rows)

    def _choice(self) -> tuple[int, Rules]:
        """The window of the next step and its rules, with a tree of branches where that is to be chosen."""
        if self._tuner is None:
            return self._width, self._rules
        width, count = self._tuner.choice
        tree = partial(grow, count=count, from_drafts=True, chances=self.chances) if count else None
        return width, replace(self._rules, grow=tree)

    def _stopped(self, committed: list[int]) -> list[int]:
        """End the rows that ``stop`` ends; returns how many tokens of each row's last commit stay."""
        assert self.stop is not None
        ledger, sequence, kept = self._ledger, self._board.sequence().cpu(), []
        for row, count in zip(ledger.active, committed, strict=True):
            start = ledger.start[row]
            end = self.stop(row, sequence[row, :start]) if count else None
            if end is not None:
                if not start - count < end <= start:
                    raise ValueError(f"stop ends row {row} after {end} tokens: give one of {start - count + 1} to "
                                     f"{start}")
                ledger.end(row, end)
                self._board.drop(row, end)
                count -= start - end
            kept.append(count)
        return kept
