"""The decoding methods by name, as benchmarks ask for them: what makes each, and which options it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from coupled_decoding.decoding.methods import AR, SCD, SJD, Method, SeedExact
from coupled_decoding.decoding.peers import GSD, PAC, Jacobi, ZipAR


@dataclass(frozen=True)
class Kind:
    """One line of the table of methods."""

    make: Callable[..., Method]
    crossed: tuple[str, ...] = ("window", "first_guess")
    """Which options of a :class:`coupled_decoding.evaluation.bench.cases.Grid` mean something to it."""

    def defaults(self) -> dict[str, Any]:
        """The options that may be given to it, and what each is otherwise."""
        base, fixed = (self.make.func, self.make.keywords) if isinstance(self.make, partial) else (self.make, {})
        return {one.name: one.default for one in fields(base) if one.name not in fixed}  # type: ignore[arg-type]


METHODS: dict[str, Kind] = {
    "ar": Kind(AR, ()),
    "sjd": Kind(SJD),
    "scd-maximal": Kind(partial(SCD, coupling="maximal"), ("window", "first_guess", "predict")),
    "scd-gumbel": Kind(partial(SCD, coupling="gumbel"), ("window", "first_guess", "predict", "branches")),
    "seed-exact": Kind(SeedExact, ("window", "first_guess", "predict", "branches")),
    "jacobi": Kind(Jacobi),
    "pac": Kind(PAC),
    "gsd": Kind(GSD),
    "zipar": Kind(ZipAR, ("window",)),
}
"""Every method that can be measured; a further one is a further line."""


@dataclass(frozen=True)
class Asked:
    """A method with some of its options fixed; the others are crossed."""

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Asked:
        """What ``"seed-exact:window=32,branches=96,predict"`` asks for. ValueError says what cannot be read."""
        name, _, rest = text.partition(":")
        if name not in METHODS:
            raise ValueError(f"there is no method {name!r}: give one of {', '.join(METHODS)}")
        known = METHODS[name].defaults()
        fixed = {}
        for part in filter(None, rest.split(",")):
            option, equals, value = part.partition("=")
            option = option.strip().replace("-", "_")
            if option not in known:
                raise ValueError(f"{text!r} fixes {option!r}: {name} has {', '.join(known)}")
            fixed[option] = _read(text, option, value.strip() if equals else None, known[option])
        method = cls(name, fixed)
        method.make({})
        return method

    def make(self, options: Mapping[str, Any]) -> Method:
        """The method with those of the options that mean something to it and are not fixed."""
        kind = METHODS[self.name]
        crossed = {key: options[key] for key in kind.crossed if key in options}
        return kind.make(**{**crossed, **self.fixed})


def _read(text: str, option: str, value: str | None, default: Any) -> Any:
    """An option's value in the type of its default."""
    if isinstance(default, bool):
        if value is not None:
            raise ValueError(f"{text!r} gives {option} a value: it has none, and is on where it stands")
        return True
    if not value:
        raise ValueError(f"{text!r} gives {option} no value: write {option}={default}")
    if (option, value) == ("window", "auto"):
        return value
    try:
        return type(default)(value)
    except ValueError as error:
        raise ValueError(f"{text!r} fixes {option}={value}: expected a value such as {default}") from error


def compared(window: int, first_guess: str = "uniform") -> list[Method]:
    """The published methods and ours, as published, with one window: what stands beside AR in the documents."""
    options = {"window": window, "first_guess": first_guess}
    return [Asked(name).make(options) for name in ("sjd", "scd-maximal", "scd-gumbel", "seed-exact")]
