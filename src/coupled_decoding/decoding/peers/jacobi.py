"""Plain Jacobi decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from coupled_decoding.decoding.arguments import check_window
from coupled_decoding.decoding.methods import Method
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.coupling import COUPLINGS
from coupled_decoding.decoding.rules.guesses import GUESSES, REMEMBERING, check_first_guess
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import exact_match
from coupled_decoding.decoding.sampling import Sampling


@final
@dataclass(frozen=True)
class Jacobi(Method):
    """Greedy decoding by fixed-point iteration (arXiv 2305.10427; Song et al., ICML 2021): lossy under sampling.

    Each draft is the argmax of its position's last distribution, and stands where the new argmax is the same. That is
    :class:`coupled_decoding.SeedExact` at temperature 0, and so it is built: whatever sampling is asked for, the output
    is that of greedy AR, legal codes applied, and no seed changes it.

    Args:
        window, first_guess: see :class:`coupled_decoding.SJD`.
    """

    window: int = 64
    first_guess: str = "uniform"

    def __post_init__(self) -> None:
        check_window(self.window)
        check_first_guess(self.first_guess)

    @property
    def lossless(self) -> bool:
        return False

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return Rules(
            guess=GUESSES[self.first_guess], couple=COUPLINGS["gumbel"], verify=exact_match, keep_labels=False,
            remember=self.first_guess in REMEMBERING,
        )

    def sampling(self, asked: Sampling) -> Sampling:
        return Sampling(temperature=0)
