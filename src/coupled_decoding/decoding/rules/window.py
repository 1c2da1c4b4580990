"""The window of one step: the positions that a forward reads, and all that is known about their drafts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from coupled_decoding.decoding.noise import Purpose, uniforms


@dataclass(eq=False)
class Window:
    """R rows of T positions each; C is the number of drawable codes, and codes are named by their column 0 .. C-1.

    Each row has its own first index and its own number of positions that exist, ``size``; what lies beyond is padding.
    A row's last existing position has no draft that could be verified: nothing was fed for it, and if all drafts before
    it are accepted, the token committed there is the bonus.
    """

    rows: Tensor
    """LongTensor ``[R]``: which rows of the batch."""
    seeds: Tensor
    """LongTensor ``[R]``."""
    visit: Tensor
    """LongTensor ``[R]``: how many forwards each row has had before this one."""
    index: Tensor
    """LongTensor ``[R, T]``: generated index of each position."""
    size: Tensor
    """LongTensor ``[R]``: how many of the T positions exist, at least one."""
    forced: Tensor
    """bool ``[R, T]``: positions whose token the layout fixes. Their draft is that token."""
    drafts: Tensor
    """LongTensor ``[R, T]``: column of each draft; meaningless for forced positions and where there is none."""
    labels: Tensor | None
    """``[R, T, C]``: the distribution that each draft was really drawn from; None where nothing asks for it."""
    noise: Tensor
    """``[R, T, C]``: exponential noise of each position, the same at every step."""
    readable: Tensor | None = None
    """LongTensor ``[R]``: how many drafts could be verified, where a branch was followed that ends before the window
    does; None: all."""
    averages: Tensor | None = None
    """``[R, T, C]``: of the target distributions that each position has had, newer ones weighing more; not normalised.
    None where nothing asks for it."""
    turn: Tensor | None = None
    """LongTensor ``[R, T]``: the visit that decides each position, where a schedule says so beforehand."""

    @property
    def has_draft(self) -> Tensor:
        """bool ``[R, T]``: positions whose draft can be verified."""
        last = self.size - 1 if self.readable is None else self.readable
        return torch.arange(self.index.shape[1], device=self.index.device) < last.unsqueeze(1)

    def cast(self, dtype: torch.dtype) -> None:
        """Bring noise and labels to the precision of the target distributions."""
        self.noise = self.noise.to(dtype)
        self.labels = None if self.labels is None else self.labels.to(dtype)
        self.averages = None if self.averages is None else self.averages.to(dtype)

    def uniforms(self, *purposes: Purpose) -> Tensor:
        """A number in (0, 1) for each purpose and position at this visit: float64 ``[len(purposes), R, T]``."""
        wanted = torch.tensor(purposes, device=self.index.device).view(-1, 1, 1)
        return uniforms(self.seeds.unsqueeze(1), self.index, self.visit.unsqueeze(1), wanted)

    @cached_property
    def rejection_uniforms(self) -> Tensor:
        """Float64 ``[2, R, T]``: what accepts each draft or not, and what draws in its place.

        Verification uses them up to the first rejection and maximal coupling after it, each once.
        """
        return self.uniforms(Purpose.ACCEPTANCE, Purpose.RESIDUAL)
