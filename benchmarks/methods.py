"""The methods that the benchmarks compare with AR."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import coupled_decoding as cd


def compared(window: int, first_guess: str = "uniform") -> list[cd.Method]:
    return [
        cd.SJD(window=window, first_guess=first_guess),
        cd.SCD(window=window, first_guess=first_guess, coupling="maximal"),
        cd.SCD(window=window, first_guess=first_guess, coupling="gumbel"),
        cd.SeedExact(window=window, first_guess=first_guess),
    ]


def options(method: cd.Method) -> dict[str, Any]:
    """What tells a method from others, for the names of kept results.

    Options that came later are left out where they are not used, so that results from before keep their names.
    """
    first = ("window", "first_guess", "coupling")
    values = {field.name: (getattr(method, field.name), field.default) for field in fields(method)}
    return {name: value for name, (value, default) in values.items() if name in first or value != default}
