"""The methods that the benchmarks compare with AR."""

from __future__ import annotations

import coupled_decoding as cd


def compared(window: int, first_guess: str = "uniform") -> list[cd.Method]:
    return [
        cd.SJD(window=window, first_guess=first_guess),
        cd.SCD(window=window, first_guess=first_guess, coupling="maximal"),
        cd.SCD(window=window, first_guess=first_guess, coupling="gumbel"),
        cd.SeedExact(window=window, first_guess=first_guess),
    ]
