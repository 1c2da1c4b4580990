"""What is expected of drafts. It decides how fast decoding is, never what is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chances:
    """How drafts behave in a model: shape of the tree, weights of predictions, expectations of the tuner.

    ``python -m benchmarks.tree`` fits them to a model. A family that differs brings its own with
    ``dataclasses.replace(EMOJI, ...)``, which :func:`coupled_decoding.decode` takes as ``chances``.

    Of the tree, three entries each: of the first draft after a commit, whose past has changed, of the second, and of
    all later ones, each given that all before it are right.
    """

    spread: tuple[float, ...]
    """By how much the true ``log p + G`` of a code may lie off the ``log q + G`` that drew the draft."""
    missed: tuple[float, ...]
    """How often the true code is none of the candidates."""
    holds: tuple[float, ...]
    """How often the draft is right."""
    ranked: tuple[tuple[float, ...], ...]
    """How often each candidate is right, the likeliest first. No two are equal: a candidate is tried only after all
    before it, so it is of no use without them."""
    shaken: tuple[float, ...]
    """How much is left of the chances of the first, second and later drafts after a candidate: they were made for
    another code in its place."""

    newest: float
    """Prediction: weight of the newest label in a position's average."""
    followers: float
    """Prediction: exponent of what has followed the committed code, since labels know some of it already."""
    prior: float
    """Prediction: times that any code is taken to have followed a code, all together, before anything is known."""

    settling: float
    """Tuner: how many positions of a window a token that is committed in the end has cost, since drafts settle while
    they wait."""
    cured: float
    """Tuner: by how much branches lengthen the run of right drafts at most,"""
    half_cured: float
    """and how many of them give half of it."""
    expected: float
    """Tuner: tokens that an endless window without branches is taken to commit before anything is known."""


EMOJI = Chances(
    spread=(1.0, 0.7, 0.5),
    missed=(0.1, 0.1, 0.05),
    holds=(0.5, 0.65, 0.82),
    ranked=(
        (0.17, 0.075, 0.050, 0.034, 0.026, 0.021, 0.017, 0.010, 0.0080, 0.0070, 0.0060, 0.0050),
        (0.12, 0.055, 0.035, 0.015, 0.012, 0.010, 0.008, 0.006, 0.0050, 0.0045, 0.0040, 0.0035),
        (0.07, 0.024, 0.016, 0.009, 0.008, 0.006, 0.005, 0.003, 0.0025, 0.0020, 0.0015, 0.0010),
    ),
    shaken=(0.8, 0.9, 0.95),
    newest=0.4,
    followers=0.5,
    prior=0.3,
    # 2.4, 2.75 and 3.05 tokens per step at windows of 16, 32 and 64, and with as many branch tokens as window 1.4 times
    # as many as an endless window of as good drafts
    settling=1.7,
    cured=0.55,
    half_cured=12.0,
    expected=3.5,
)
"""Measured on the shipped picture model."""
