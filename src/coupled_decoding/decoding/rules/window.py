"""The window of one step: the positions that a forward reads, and all that is known about their drafts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from coupled_decoding.decoding.noise import Purpose, uniforms


@dataclass(frozen=True, eq=False)
class Learned:
    """What earlier steps have left about the drafts of a window, as far as the method's rules ask for it."""

    labels: Tensor | None = None
    """``[R, T, C]``: the distribution that each draft was really drawn from."""
    averages: Tensor | None = None
    """``[R, T, C]``: of the target distributions that each position has had, newer ones weighing more; not normalised.
    Prediction moves them in place."""


@dataclass(frozen=True, eq=False)
class Window:
    """R rows of T positions each; C is the number of drawable codes.

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
    """LongTensor ``[R, T]``: code of each draft; meaningless for forced positions and where there is none."""
    noise: Tensor
    """``[R, T, C]``: exponential noise of each position, the same at every step."""
    learned: Learned = field(default_factory=Learned)
    readable: Tensor | None = None
    """LongTensor ``[R]``: how many drafts could be verified, where a route was followed that ends before the window
    does; None: all."""
    settled: Tensor | None = None
    """bool ``[R, T]``: positions whose draft the route has decided already, distributed as the target: verification
    passes them. None: no route was followed."""

    @property
    def labels(self) -> Tensor:
        """``[R, T, C]``: the distribution that each draft was really drawn from; ValueError where none are kept."""
        if self.learned.labels is None:
            raise ValueError("this rule needs the labels of the drafts: give Rules with keep_labels=True")
        return self.learned.labels

    @property
    def averages(self) -> Tensor:
        """``[R, T, C]``: averages of each position's target distributions; ValueError where none are kept."""
        if self.learned.averages is None:
            raise ValueError("prediction needs averages of the target distributions: give Rules with predict=True")
        return self.learned.averages

    @property
    def has_draft(self) -> Tensor:
        """bool ``[R, T]``: positions whose draft can be verified."""
        last = self.size - 1 if self.readable is None else self.readable
        return torch.arange(self.index.shape[1], device=self.index.device) < last.unsqueeze(1)

    def to(self, dtype: torch.dtype) -> Window:
        """The same window with noise, labels and averages in the precision of the target distributions."""
        if self.noise.dtype == dtype:
            return self
        labels, averages = (None if one is None else one.to(dtype) for one in (self.learned.labels,
                                                                               self.learned.averages))
        return replace(self, noise=self.noise.to(dtype), learned=Learned(labels, averages))

    def along(self, drafts: Tensor, readable: Tensor, settled: Tensor) -> Window:
        """The same window with the drafts of a route; see :class:`coupled_decoding.decoding.rules.following.Route`."""
        window = replace(self, drafts=drafts, readable=readable, settled=settled)
        if "rejection_uniforms" in vars(self):  # their addresses are those of the positions, which stay
            vars(window)["rejection_uniforms"] = self.rejection_uniforms
        return window

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
