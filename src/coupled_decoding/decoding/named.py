"""Methods as people type them: ``scd generate --method scd-maximal``, ``scd bench``, ``custom_generate``.

This is the one table of them. It holds strings only and imports no torch, so that a command line can show its help at
once; a method's class is imported when its options are asked for or the method is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coupled_decoding.decoding.methods import Method

DEFAULT = "scd-gumbel"
"""The method where none is asked for."""

FIRST_GUESSES = ("uniform", "random", "repeat", "above", "previous-frame", "previous-frame-distribution")
"""What a position that enters the window may start from; the functions are in
:mod:`coupled_decoding.decoding.rules.guesses`."""


@dataclass(frozen=True)
class Named:
    """Which method a name stands for."""

    module: str
    """Where its class stands, below ``coupled_decoding.decoding``."""
    cls: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the name settles; they cannot be asked for beside it."""

    def resolve(self) -> type[Method]:
        """The class; imports torch."""
        cls: type[Method] = getattr(import_module(f"coupled_decoding.decoding.{self.module}"), self.cls)
        return cls


METHODS: dict[str, Named] = {
    "ar": Named("methods", "AR"),
    "sjd": Named("methods", "SJD"),
    "scd-maximal": Named("methods", "SCD", {"coupling": "maximal", "branches": 0}),
    "scd-gumbel": Named("methods", "SCD", {"coupling": "gumbel"}),
    "seed-exact": Named("methods", "SeedExact"),
    "jacobi": Named("peers.jacobi", "Jacobi"),
    "pac": Named("peers.pac", "PAC"),
    "gsd": Named("peers.gsd", "GSD"),
    "zipar": Named("peers.zipar", "ZipAR"),
}
"""Every method by its name; a further method is a further line."""

COUPLINGS = tuple(sorted(named.fixed["coupling"] for named in METHODS.values() if "coupling" in named.fixed))
"""The couplings of SCD; the functions are in :mod:`coupled_decoding.decoding.rules.coupling`."""


def options_of(name: str) -> dict[str, Any]:
    """The options that the method of this name takes, each with its default; imports torch.

    They are the fields of the method's dataclass, but for those that the name settles. ValueError where there is no
    such method.
    """
    named = _named(name)
    options = {}
    for one in fields(named.resolve()):
        if one.init and one.name not in named.fixed:
            options[one.name] = None if one.default is MISSING else one.default
    return options


def method_named(name: str, **options: Any) -> Method:
    """The method of this name with these options; what is left out has the method's own default. Imports torch.

    Raises:
        ValueError: there is no such method, an option means nothing to it, or a value does not fit; one sentence says
            which, and what to give instead.
    """
    named, known = _named(name), options_of(name)
    for option in options:
        if option not in known:
            raise ValueError(f"{option} means nothing to {name}, which takes {_in_words(list(known))}: leave it out")
    return named.resolve()(**{**named.fixed, **options})


def _named(name: str) -> Named:
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}: give one of {', '.join(METHODS)}")
    return METHODS[name]


def _in_words(options: list[str]) -> str:
    """``window, first_guess and predict``."""
    if len(options) < 2:
        return options[0] if options else "no options"
    return f"{', '.join(options[:-1])} and {options[-1]}"
