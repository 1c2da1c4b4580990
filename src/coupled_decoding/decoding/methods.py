"""The decoding methods: each says which rules it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, final

from coupled_decoding.decoding.arguments import check_whole, check_window
from coupled_decoding.decoding.named import COUPLINGS as COUPLING_NAMES
from coupled_decoding.decoding.rules.branches import grow
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.coupling import COUPLINGS, independent
from coupled_decoding.decoding.rules.following import match
from coupled_decoding.decoding.rules.guesses import GUESSES, REMEMBERING, check_first_guess
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import exact_match, rejection_sampling
from coupled_decoding.decoding.sampling import Sampling


@dataclass(frozen=True)
class Method(ABC):
    """What varies between the methods; :func:`coupled_decoding.decode` is the one loop that runs them all.

    A method is a frozen dataclass, and a field of it means something to it. The loop asks for nothing but what is
    declared here.
    """

    @property
    @abstractmethod
    def window(self) -> int | Literal["auto"]:
        """Positions that a forward reads at most, the last committed token and ``window - 1`` drafts (the paper's L).

        With a window of 1 every method is autoregressive sampling. ``"auto"`` is what is fastest on this machine, found
        while decoding; see :mod:`coupled_decoding.decoding.tuning`.
        """

    @property
    def name(self) -> str:
        """What results of it are filed under."""
        return type(self).__name__

    @property
    def lossless(self) -> bool:
        """Whether what is decoded is distributed as autoregressive sampling would give it."""
        return True

    @abstractmethod
    def rules(self, chances: Chances = EMOJI) -> Rules:
        """What the method is made of, asked for once per decode. ``chances`` decide its speed, never its output."""

    def sampling(self, asked: Sampling) -> Sampling:
        """What makes the target distributions, where ``asked`` is asked for."""
        return asked


@final
@dataclass(frozen=True)
class AR(Method):
    """Plain autoregressive sampling with this package's noise: one token per forward, nothing drafted."""

    @property
    def window(self) -> int:
        return 1

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return Rules(guess=GUESSES["uniform"], couple=COUPLINGS["gumbel"], verify=exact_match, keep_labels=False)


@final
@dataclass(frozen=True)
class SJD(Method):
    """Speculative Jacobi Decoding (arXiv 2410.01699): drafts are redrawn independently at each step.

    Args:
        window: positions that a forward reads, the last committed token and ``window - 1`` drafts (the paper's L). With
            a window of 1 every method is autoregressive sampling.
        first_guess: what a position that enters the window starts from: ``"uniform"``, ``"random"``, ``"repeat"``,
            ``"above"``, ``"previous-frame"`` or ``"previous-frame-distribution"``; see
            :mod:`coupled_decoding.decoding.rules.guesses`.
    """

    window: int = 64
    first_guess: str = "uniform"

    def __post_init__(self) -> None:
        check_window(self.window)
        check_first_guess(self.first_guess)

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return Rules(
            guess=GUESSES[self.first_guess], couple=independent, verify=rejection_sampling,
            remember=self.first_guess in REMEMBERING,
        )


@final
@dataclass(frozen=True)
class SCD(Method):
    """Speculative Coupled Decoding (arXiv 2510.24211): consecutive drafts of a position are coupled.

    Args:
        window, first_guess: see :class:`SJD`.
        coupling: ``"gumbel"`` (SCD-GS) or ``"maximal"`` (SCD-MC).
        predict: redraw the first draft after each commit from what predicts it best; see
            :mod:`coupled_decoding.decoding.rules.prediction`. False is the method as published.
        branches: tokens of other candidates that a forward reads beside the window, where drafts are likely to fail;
            for Gumbel coupling only, see :mod:`coupled_decoding.decoding.rules.branches`. The session must read
            branches, as all of this package do.
    """

    window: int = 64
    first_guess: str = "uniform"
    coupling: str = "gumbel"
    predict: bool = field(default=False, kw_only=True)
    branches: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_window(self.window)
        check_first_guess(self.first_guess)
        check_whole("branches", self.branches, 0)
        if self.coupling not in COUPLING_NAMES:
            raise ValueError(f"coupling is {self.coupling!r}: give {' or '.join(map(repr, COUPLING_NAMES))}")
        if self.branches and self.coupling != "gumbel":
            raise ValueError(f"branches are given with {self.coupling} coupling: candidates are drawn by a position's "
                             "noise, which orders them behind its draft with coupling='gumbel' only")

    @property
    def name(self) -> str:
        return f"SCD-{self.coupling}"

    def rules(self, chances: Chances = EMOJI) -> Rules:
        tree = partial(grow, count=self.branches, from_drafts=False, chances=chances) if self.branches else None
        return Rules(
            guess=GUESSES[self.first_guess], couple=COUPLINGS[self.coupling], verify=rejection_sampling, grow=tree,
            predict=self.predict, remember=self.predict or self.first_guess in REMEMBERING,
        )


@final
@dataclass(frozen=True)
class SeedExact(Method):
    """Gumbel coupling with exact match: the very tokens that :class:`AR` gives for the same seed, in fewer forwards.

    The promise is of exact arithmetic. In float64 and float32 it holds but for near-ties; in bfloat16 a window and a
    single token round differently, and most pictures differ somewhere.

    Args:
        window: see :class:`SJD`; ``"auto"``: what is fastest on this machine, branches included. What a seed gives does
            not depend on it.
        first_guess: see :class:`SJD`.
        predict, branches: see :class:`SCD`.
    """

    window: int | Literal["auto"] = 64
    first_guess: str = "uniform"
    predict: bool = field(default=False, kw_only=True)
    branches: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.window != "auto":
            check_window(self.window)
        check_first_guess(self.first_guess)
        check_whole("branches", self.branches, 0)
        if self.window == "auto" and self.branches:
            raise ValueError(f"branches is {self.branches} with window='auto', which chooses them too: leave it out")

    def rules(self, chances: Chances = EMOJI) -> Rules:
        tree = partial(grow, count=self.branches, from_drafts=True, chances=chances) if self.branches else None
        return Rules(
            guess=GUESSES[self.first_guess], couple=COUPLINGS["gumbel"], verify=exact_match, grow=tree, follow=match,
            predict=self.predict, remember=self.predict or self.first_guess in REMEMBERING,
            keep_labels=self.branches > 0 or self.window == "auto",  # a tree is made of them
        )
