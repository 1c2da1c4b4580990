"""The decoding loop: forward, verify, commit, couple, slide."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from coupled_decoding.decoding.arguments import columns_of, layouts_of, lengths_of, seeds_of
from coupled_decoding.decoding.layout import BatchLayout, Layout
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.rules.branches import Branches, grow
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.following import Path
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.decoding.sampling import Sampling, target_distribution
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.state import State
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.decoding.tuning import Tuner, measure

READ_AT_ONCE = 256
"""Given tokens that one forward reads before decoding starts."""


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
    stop: Callable[[int, Tensor], int | None] | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
) -> Decoded:
    """Generate ``length`` tokens for every row of a session, distributed as autoregressive sampling would give them.

    Each step is one forward over a window of each unfinished row (algorithm 1 of arXiv 2510.24211). A row's tokens
    depend on its prompt, seed, method, sampling, layout and given tokens, to the precision of the session's logits; not
    on the other rows, nor on PyTorch's generators.

    Args:
        session: the model with its prompts read in; see :class:`Session`.
        length: tokens to generate, one number or one a row.
        method: ``AR()``, ``SJD()``, ``SCD()`` (the default) or ``SeedExact()``.
        sampling: temperature, top-k and top-p; the default applies none.
        layout: legal codes and forced tokens, one for all rows or one a row; None: any token anywhere.
        seed: an int gives row i the seed ``seed + i``, a sequence gives each row its own, None draws them from the
            system. All are recorded in the result.
        given: the first generated tokens, where they are already known: LongTensor ``[B, g]`` or a tensor for each row.
            Decoding continues after them.
        stop: ends rows before their length. After each step it is called for every row that took part, with the row's
            number and its committed tokens, LongTensor ``[n]`` on the CPU; it returns how many of them the row keeps
            (at least one that is new), or None where the row goes on. It never sees a draft, so the distribution of
            what is kept is that of autoregressive sampling with the same rule.
        on_step: called after every step; returning False stops, and what is committed is returned.

    Raises:
        ValueError: an argument does not fit the session or the layout, or the logits are not a number; the sentence
            says which and why.
    """
    run = Decoding(session, length, method or SCD(), sampling or Sampling(), layout, seed, stop)
    if given is not None:
        run.read_given(given)
    for step in run.steps():
        if on_step is not None and on_step(step) is False:
            break
    return Decoded(run.state.committed_tokens(), run.trace, run.seeds)


class Decoding:
    """A decode under way; for the arguments see :func:`decode`."""

    def __init__(
        self,
        session: Session,
        length: int | Sequence[int],
        method: Method,
        sampling: Sampling,
        layout: Layout | Sequence[Layout] | None,
        seed: int | Sequence[int] | None,
        stop: Callable[[int, Tensor], int | None] | None = None,
    ) -> None:
        self.session, self.method, self.sampling, self.stop = session, method, method.sampling(sampling), stop
        batch, device = len(session.last_token), session.last_token.device
        lengths, self.seeds = lengths_of(length, batch), seeds_of(seed, batch)
        stream = BatchLayout.stack(layouts_of(layout, lengths, session.vocab_size), lengths, device)
        self.columns = columns_of(stream.codes, session.output_codes)
        self.outputs = session.vocab_size if session.output_codes is None else len(session.output_codes)
        self.branching = method.branching_function if len(stream.codes) > 1 else None
        if self.branching is not None and not session.reads_branches:
            raise ValueError(f"{type(session).__name__} reads no branches: give a method with branches=0, or a session "
                             "that says reads_branches")
        self.state = State(session.last_token, session.vocab_size, lengths, stream, self.seeds, method.widest,
                           method.guess_function, method.remembers)
        self.trace = Trace(batch)
        self.tuner: Tuner | None = None
        if method.window == "auto":
            trees = session.reads_branches and len(stream.codes) > 1
            self.tuner = Tuner(measure(session), batch, trees)

    @torch.no_grad()
    def read_given(self, given: Tensor | Sequence[Tensor]) -> None:
        """Commit tokens that are already known, and let the session read all but the last of each row."""
        session, state = self.session, self.state
        batch, device = len(session.last_token), session.last_token.device
        rows = 0 if isinstance(given, Tensor) and given.ndim == 0 else len(given)
        if rows != batch:
            raise ValueError(f"given tokens for {rows} rows: the session has {batch}")
        for row, known in enumerate(given):
            state.give(row, torch.as_tensor(known, device=device))
        everyone = torch.arange(batch, device=device)
        for first in range(0, max(state.start), READ_AT_ONCE):
            # a row with fewer given tokens reads padding behind them, which its own steps overwrite
            index = torch.arange(first, min(first + READ_AT_ONCE, max(state.start)), device=device)
            session.forward(state.read(everyone, index.expand(batch, -1)), session.last_position.unsqueeze(1) + index)

    @torch.no_grad()
    def steps(self) -> Iterator[Step]:
        """Decode step by step, to be gone through once; what happens between two steps is not the decoder's time."""
        method, state, trace = self.method, self.state, self.trace
        started = time.perf_counter()
        state.schedule = method.schedule(state.layout, state.start)
        self._tune()
        window = state.open_window(method.needs_labels, method.predict)
        while window is not None:
            branches = None if self.branching is None else self.branching(window)
            index = window.index if branches is None else branches.index(window)
            before = time.perf_counter()
            logits = self._forward(window, index, branches)[..., self.columns]  # [R, T + branches, C]
            inside = time.perf_counter() - before

            target = target_distribution(logits, self.sampling, state.layout.legal_at(window.rows.unsqueeze(1), index))
            window.cast(target.dtype)
            state.dtype = target.dtype
            if branches is not None:
                target = self._follow(window, method.following_function(window, branches, target), target)
            drawn, labels = method.coupling_function(window, target)
            drawn = _with_bonus(window, target, drawn)
            accepted, token = method.verification_function(window, target, drawn)
            state.remember(window, target)
            if method.predict:
                state.predict(window, target, drawn, labels, accepted, token)

            active = state.active
            fed = window.size if branches is None else window.size + branches.exists.sum(1)
            counts = state.commit(window, drawn, accepted, token, target[..., 0].isnan(), fed)
            committed, changed, pending, broken, read = counts
            if any(broken):
                row = next(row for row, count in zip(active, broken, strict=True) if count)
                raise ValueError(f"the session gave NaN logits for row {row}: float16 may have overflowed, try "
                                 "bfloat16")
            if self.stop is not None:
                committed = _stopped(state, active, committed, self.stop)
            seconds = inside, time.perf_counter() - started - inside
            trace.record(active, committed, changed, pending, read, seconds)
            if self.tuner is not None:
                whole = [n for n, size in zip(committed, state.sizes, strict=True) if size == state.width]
                self.tuner.observe(whole, len(active), seconds[1])
            yield Step(trace.steps, [*state.start], [*state.lengths], max(state.nfe), state.sequence)
            started = time.perf_counter()
            self._tune()
            window = state.slide(window, labels, committed)

    def _tune(self) -> None:
        """Choose the window and the branches of the next step, where they are to be chosen."""
        if self.tuner is not None:
            self.state.width, count = self.tuner.choice
            self.branching = partial(grow, count=count, from_drafts=True) if count else None

    @property
    def finished(self) -> list[int]:
        """The rows that ended with the last step."""
        return [row for row in self.state.active if self.state.start[row] >= self.state.lengths[row]]

    def restart(self, row: int, seed: int) -> None:
        """Begin again in a row that has ended, behind the prompt that the session holds for it by now.

        To be called between two steps. What the row gives is what :func:`decode` would give for that prompt and seed.
        """
        self.state.restart(row, self.session.last_token[row], seed)

    def _forward(self, window: Window, index: Tensor, branches: Branches | None) -> Tensor:
        """One forward of the model: logits at ``index`` of the window and its branches, ``[R, T + M, outputs]``."""
        session = self.session
        tokens = self.state.read(window.rows, window.index)
        positions = session.last_position[window.rows].unsqueeze(1) + index
        everyone = len(window.rows) == len(session.last_token)
        rows = None if everyone else window.rows
        if branches is None:
            logits = session.forward(tokens, positions, rows)
        else:
            tokens = torch.cat([tokens, self.state.read_branches(window, branches)], 1)
            logits = session.forward(tokens, positions, rows, branches.parent)
        if logits.device.type != "cpu":
            torch.accelerator.synchronize(logits.device)  # so that the seconds of the model are its own
        expected = (*tokens.shape, self.outputs)
        if logits.shape != expected or logits.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the session gave {logits.dtype} logits of shape {tuple(logits.shape)}: expected "
                             f"{expected} in float32 or float64")
        return logits

    def _follow(self, window: Window, path: Path, target: Tensor) -> Tensor:
        """Go on along these paths: their target distributions ``[R, T, C]`` out of ``[R, T + M, C]``."""
        self.state.take(window, path)
        if len(path.which):
            self.session.keep(path.which, path.kept)
        row = torch.arange(len(target), device=target.device).unsqueeze(1)
        source = (row * target.shape[1] + path.columns).flatten()
        return target.flatten(0, 1).index_select(0, source).unflatten(0, path.columns.shape)


def _stopped(
    state: State, active: list[int], committed: list[int], stop: Callable[[int, Tensor], int | None]
) -> list[int]:
    """End the rows that ``stop`` ends; returns how many tokens of each row's last commit stay."""
    sequence, kept = state.sequence().cpu(), []
    for row, count in zip(active, committed, strict=True):
        start = state.start[row]
        end = stop(row, sequence[row, :start])
        if end is not None:
            if not start - count < end <= start:
                raise ValueError(f"stop ends row {row} after {end} tokens: give one of {start - count + 1} to {start}")
            state.end(row, end)
            count -= start - end
        kept.append(count)
    return kept


def _with_bonus(window: Window, target: Tensor, drawn: Tensor) -> Tensor:
    """The new drafts with each row's last position drawn by its own noise, whatever the coupling.

    No draft was fed there, so there is nothing to couple with. A window of 1 has only this position: every method is
    then autoregressive sampling, with the same tokens.
    """
    row = torch.arange(len(drawn), device=drawn.device)
    last = window.size - 1
    return drawn.index_put((row, last), race(target[row, last], window.noise[row, last]))
