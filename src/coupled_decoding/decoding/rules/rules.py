"""All that the loop asks of a method."""

from __future__ import annotations

from dataclasses import dataclass

from coupled_decoding.decoding.rules.branches import Growing
from coupled_decoding.decoding.rules.coupling import Coupling
from coupled_decoding.decoding.rules.following import Following, resample
from coupled_decoding.decoding.rules.guesses import Guess
from coupled_decoding.decoding.rules.schedule import Schedule
from coupled_decoding.decoding.rules.verification import Verification


@dataclass(frozen=True, eq=False)
class Rules:
    """What a method is made of. An experiment changes one of them with ``dataclasses.replace``."""

    guess: Guess
    """What a position that enters the window starts from."""
    couple: Coupling
    """How drafts are drawn anew from the target distributions."""
    verify: Verification
    """Which drafts are committed, and what replaces the first that is not."""
    grow: Growing | None = None
    """Which tokens a forward reads beside the window; None: no others."""
    follow: Following = resample
    """Along which branch decoding continues."""
    predict: bool = False
    """Whether the first draft after each commit is redrawn by :mod:`coupled_decoding.decoding.rules.prediction`."""
    remember: bool = False
    """Whether target distributions are kept after their positions have left the window; ``predict`` needs it."""
    keep_labels: bool = True
    """Whether the distributions that drew the drafts are kept from step to step."""
    schedule: Schedule | None = None
    """Which forward decides which position; None: the drafts decide. It belongs to one decode, as these rules do."""
