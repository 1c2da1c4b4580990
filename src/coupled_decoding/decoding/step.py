"""One step: a forward over a window, and what it decides (algorithm 1 of arXiv 2510.24211, lines of its loop)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.board import Board
from coupled_decoding.decoding.rules.branches import Branches
from coupled_decoding.decoding.rules.chances import Chances
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.following import Route
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.prediction import predicted
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.decoding.sampling import RowSampling
from coupled_decoding.decoding.session import Session


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a step decided, for R rows of T positions."""

    window: Window
    """As it was verified: with the drafts of the route, in the precision of the logits."""
    target: Tensor
    """``[R, T, C]``: the target distributions, not a number where the session's logits are not."""
    drawn: Tensor
    """LongTensor ``[R, T]``: codes of the new drafts."""
    labels: Tensor
    """``[R, T, C]``: the distributions that drew them."""
    accepted: Tensor
    """LongTensor ``[R]``: how many drafts of each row are committed."""
    token: Tensor
    """LongTensor ``[R]``: the code that is committed after them."""
    fed: Tensor
    """LongTensor ``[R]``: tokens that the forward read, branches included."""
    inside: float
    """Seconds inside the model."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What stays the same from step to step of one decode."""

    session: Session
    board: Board
    memory: Memory | None
    sampling: RowSampling
    drawable: slice | Tensor
    """Which of the session's logits are of drawable codes."""
    outputs: int
    """Logits that the session gives per token."""
    chances: Chances


def step(setting: Setting, rules: Rules, window: Window, active: Sequence[int]) -> Outcome:
    """One forward over a window, whose rows are ``active``, and what follows from it.

    Writes the drafts of the route that was followed to the board, and target distributions to the memory; commits
    nothing.
    """
    board, memory = setting.board, setting.memory
    branches = None if rules.grow is None else rules.grow(window)
    index = window.index if branches is None else branches.index(window)
    before = time.perf_counter()
    logits = _forward(setting, window, index, branches)[..., setting.drawable]  # [R, T + M, C]
    inside = time.perf_counter() - before

    legal = board.layout.legal_at(window.rows.unsqueeze(1), index)
    target = setting.sampling.targets(active, logits, legal)
    window = window.to(target.dtype)
    if branches is not None:
        route = rules.follow(window, branches, target)
        window, target = window.along(route.drafts, route.readable, route.settled), _along(route, target)
        board.follow(window)
        if len(route.which):
            setting.session.keep(route.which, route.kept)
    drawn, labels = rules.couple(window, target)
    drawn = _with_bonus(window, target, drawn)
    accepted, token = rules.verify(window, target, drawn)
    if memory is not None:
        _remember(memory, window, target)
        if rules.predict:
            window.averages.lerp_(target, setting.chances.newest)
            row, offset, drafts, label = predicted(
                window, memory, board.codes_in(window.rows), accepted, token, setting.chances)
            drawn[row, offset], labels[row, offset] = drafts, label
    fed = window.size if branches is None else window.size + branches.exists.sum(1)
    return Outcome(window, target, drawn, labels, accepted, token, fed, inside)


def _forward(setting: Setting, window: Window, index: Tensor, branches: Branches | None) -> Tensor:
    """One forward of the model: logits at ``index`` of the window and its branches, ``[R, T + M, outputs]``."""
    session = setting.session
    tokens = setting.board.before(window.rows, window.index)
    positions = session.last_position[window.rows].unsqueeze(1) + index
    rows = None if len(window.rows) == len(session.last_token) else window.rows
    if branches is None:
        logits = session.forward(tokens, positions, rows)
    else:
        tokens = torch.cat([tokens, setting.board.read_branches(window, branches)], 1)
        logits = session.forward(tokens, positions, rows, branches.parent)
    if logits.device.type != "cpu":
        torch.accelerator.synchronize(logits.device)  # so that the seconds of the model are its own
    expected = (*tokens.shape, setting.outputs)
    if logits.shape != expected or logits.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the session gave {logits.dtype} logits of shape {tuple(logits.shape)}: expected {expected} "
                         "in float32 or float64")
    return logits


def _along(route: Route, target: Tensor) -> Tensor:
    """The target distributions ``[R, T, C]`` along a route, out of ``[R, T + M, C]``."""
    row = torch.arange(len(target), device=target.device).unsqueeze(1)
    source = (row * target.shape[1] + route.slots).flatten()
    return target.flatten(0, 1).index_select(0, source).unflatten(0, route.slots.shape)


def _with_bonus(window: Window, target: Tensor, drawn: Tensor) -> Tensor:
    """The new drafts with each row's last position drawn by its own noise, whatever the coupling.

    No draft was fed there, so there is nothing to couple with. A window of 1 has only this position: every method is
    then autoregressive sampling, with the same tokens.
    """
    row = torch.arange(len(drawn), device=drawn.device)
    last = window.size - 1
    return drawn.index_put((row, last), race(target[row, last], window.noise[row, last]))


def _remember(memory: Memory, window: Window, target: Tensor) -> None:
    """Keep the target distributions ``[R, T, C]`` of the positions that exist."""
    rows = window.rows.unsqueeze(1).expand_as(window.index)
    exists = torch.arange(window.index.shape[1], device=window.index.device) < window.size.unsqueeze(1)
    memory.remember(rows[exists], window.index[exists], target[exists])
