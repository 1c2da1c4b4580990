"""The decoding methods: each is a choice of coupling, verification, first guess and window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.rules.branches import Branches, grow
from coupled_decoding.decoding.rules.coupling import COUPLINGS, Coupling
from coupled_decoding.decoding.rules.following import Following, match, resample
from coupled_decoding.decoding.rules.guesses import GUESSES, REMEMBERING, Guess
from coupled_decoding.decoding.rules.schedule import Schedule
from coupled_decoding.decoding.rules.verification import Verification, exact_match, rejection_sampling
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.tuning import LONGEST


@dataclass(frozen=True)
class Method:
    """What varies between the methods; :func:`coupled_decoding.decode` is the one loop that runs them all.

    Args:
        window: positions a forward reads, the last committed token and ``window - 1`` drafts (the paper's L). With a
            window of 1 every method is autoregressive sampling. ``"auto"``, for :class:`SeedExact`: what is fastest on
            this machine, branches included; see :mod:`coupled_decoding.decoding.tuning`.
        first_guess: what a position that enters the window starts from: ``"uniform"``, ``"random"``, ``"repeat"``,
            ``"above"``, ``"previous-frame"`` or ``"previous-frame-distribution"``; see
            :mod:`coupled_decoding.decoding.rules.guesses`.
        predict: redraw the first draft behind each commit from what foretells it best; see
            :mod:`coupled_decoding.decoding.rules.prediction`. False is the method as published.
        branches: tokens of other candidates that a forward reads beside the window, where drafts are likely to fail;
            see :mod:`coupled_decoding.decoding.rules.branches`. The session must
            say ``reads_branches``, as all of this package do.
    """

    window: int | Literal["auto"] = 64
    first_guess: str = "uniform"
    predict: bool = field(default=False, kw_only=True)
    branches: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.window == "auto":
            self._check_auto()
        elif not isinstance(self.window, int) or self.window < 1:
            raise ValueError(f"window is {self.window}: give a whole number of at least 1")
        if self.first_guess not in GUESSES:
            raise ValueError(f"first_guess is {self.first_guess!r}: give one of {', '.join(GUESSES)}")
        if not isinstance(self.branches, int) or self.branches < 0:
            raise ValueError(f"branches is {self.branches}: give a whole number of at least 0")

    def _check_auto(self) -> None:
        if not self.decides_from_drafts:
            raise ValueError(f"window is 'auto' for {self.name}: what a seed gives would depend on the machine's "
                             "speed; give a whole number, or SeedExact, whose output does not depend on the window")
        if self.branches:
            raise ValueError(f"branches is {self.branches} with window='auto', which chooses them too: leave it out")

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def widest(self) -> int:
        """Positions that a window has at most."""
        return LONGEST if self.window == "auto" else self.window

    @property
    def lossless(self) -> bool:
        """Whether what is decoded is distributed as autoregressive sampling would give it."""
        return True

    @property
    def guess_function(self) -> Guess:
        return GUESSES[self.first_guess]

    @property
    def coupling_function(self) -> Coupling:
        raise NotImplementedError

    @property
    def verification_function(self) -> Verification:
        return rejection_sampling

    @property
    def branching_function(self) -> Callable[[Window], Branches] | None:
        """Which tokens a forward reads beside the window; None: no others."""
        return partial(grow, count=self.branches, from_drafts=self.decides_from_drafts) if self.branches else None

    @property
    def following_function(self) -> Following:
        """Which branch decoding goes on along."""
        return resample

    def sampling(self, asked: Sampling) -> Sampling:
        """What makes the target distributions, where another is asked for."""
        return asked

    def schedule(self, layout: BatchLayout, start: list[int]) -> Schedule | None:
        """Which forward decides which position, for rows that stand at ``start``; None: the drafts decide."""
        return None

    @property
    def decides_from_drafts(self) -> bool:
        """Whether something may be decided from drafts that are not verified yet."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether target distributions must be kept after their positions have left the window."""
        return self.predict or self.first_guess in REMEMBERING

    @property
    def needs_labels(self) -> bool:
        """Whether the distributions that drew the drafts must be kept from step to step."""
        return True

    def _check_as_published(self) -> None:
        if self.predict or self.branches:
            raise ValueError(f"predict or branches are given to {self.name}, which is as published: give SCD or "
                             "SeedExact")


@dataclass(frozen=True)
class SJD(Method):
    """Speculative Jacobi Decoding (arXiv 2410.01699): drafts are redrawn independently at each step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_as_published()

    @property
    def coupling_function(self) -> Coupling:
        return COUPLINGS["independent"]


@dataclass(frozen=True)
class SCD(Method):
    """Speculative Coupled Decoding (arXiv 2510.24211): consecutive drafts of a position are coupled.

    Args:
        coupling: ``"gumbel"`` (SCD-GS) or ``"maximal"`` (SCD-MC).
    """

    coupling: str = "gumbel"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coupling not in ("gumbel", "maximal"):
            raise ValueError(f"coupling is {self.coupling!r}: give 'gumbel' or 'maximal'")
        if self.branches and self.coupling == "maximal":
            raise ValueError("branches are given with maximal coupling: candidates are drawn by a position's noise, "
                             "which orders them behind its draft with coupling='gumbel' only")

    @property
    def name(self) -> str:
        return f"SCD-{self.coupling}"

    @property
    def coupling_function(self) -> Coupling:
        return COUPLINGS[self.coupling]


@dataclass(frozen=True)
class SeedExact(Method):
    """Gumbel coupling with exact match: the very tokens that :class:`AR` gives for the same seed, in fewer forwards.

    The promise is of exact arithmetic. In float64 and float32 it holds but for near-ties; in bfloat16 a window and a
    single token round differently, and most pictures differ somewhere.
    """

    @property
    def coupling_function(self) -> Coupling:
        return COUPLINGS["gumbel"]

    @property
    def verification_function(self) -> Verification:
        return exact_match

    @property
    def following_function(self) -> Following:
        return match

    @property
    def decides_from_drafts(self) -> bool:
        return True

    @property
    def needs_labels(self) -> bool:
        return self.branches > 0 or self.window == "auto"


@dataclass(frozen=True)
class AR(SeedExact):
    """Plain autoregressive sampling with this package's noise: one token a forward, nothing drafted."""

    window: int | Literal["auto"] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window != 1:
            raise ValueError(f"window is {self.window}: AR has a window of 1; use SeedExact for a larger one")
