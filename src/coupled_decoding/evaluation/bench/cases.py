"""What is measured: every combination of what was asked for that means something, once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

from coupled_decoding.decoding.methods import AR, Method
from coupled_decoding.decoding.named import method_named, options_of
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.evaluation.bench.transformers_generate import Generate


@dataclass(frozen=True)
class Asked:
    """A method with some of its options fixed; the others are crossed."""

    name: str
    """One of :data:`coupled_decoding.decoding.named.METHODS`."""
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Asked:
        """What ``"seed-exact:window=32,branches=96,predict"`` asks for. ValueError says what cannot be read."""
        name, _, rest = text.partition(":")
        known = options_of(name)
        fixed = {}
        for part in filter(None, rest.split(",")):
            option, equals, value = part.partition("=")
            option = option.strip().replace("-", "_")
            if option not in known:
                raise ValueError(f"{text!r} fixes {option!r}: {name} has {', '.join(known) or 'no options'}")
            fixed[option] = _read(text, option, value.strip() if equals else None, known[option])
        method_named(name, **fixed)
        return cls(name, fixed)

    def make(self, options: Mapping[str, Any]) -> Method:
        """The method with those of the options that mean something to it and are not fixed."""
        known = options_of(self.name)
        crossed = {option: value for option, value in options.items() if option in known}
        return method_named(self.name, **{**crossed, **self.fixed})


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
    return [method_named(name, window=window, first_guess=first_guess)
            for name in ("sjd", "scd-maximal", "scd-gumbel", "seed-exact")]


@dataclass(frozen=True)
class Case:
    """One way of drawing."""

    decoder: Method | Generate
    sampling: Sampling
    guidance: float | None = None
    """Scale of classifier-free guidance; None for models that have none."""
    batch: int = 1
    """Pictures or clips that are drawn together."""
    compiled: bool = False
    """Whether torch.compile makes the forwards."""

    @property
    def own(self) -> dict[str, Any]:
        """The method's own options; empty for transformers' ``generate``."""
        return asdict(self.decoder) if isinstance(self.decoder, Method) else {}

    @property
    def described(self) -> dict[str, Any]:
        """All that decides what is drawn, as JSON has it. The batch does not."""
        return {"method": self.decoder.name, **self.own, "guidance": self.guidance, **asdict(self.sampling),
                "compiled": self.compiled}

    @property
    def name(self) -> str:
        """What tells this case from all others."""
        return json.dumps({**self.described, "batch": self.batch}, sort_keys=True)

    @property
    def options(self) -> dict[str, Any]:
        """Every option as a column of a table. The method's name tells its coupling.

        A method that cannot be given predictions or branches has none of them, in line with those that could.
        """
        own: dict[str, Any] = {}
        if isinstance(self.decoder, Method):
            own = {"window": self.decoder.window, "first_guess": None, "predict": False, "branches": 0, **self.own}
            own.pop("coupling", None)
        return {"method": self.decoder.name, "lossless": self.decoder.lossless, **own, "guidance": self.guidance,
                **asdict(self.sampling), "batch": self.batch, "compiled": self.compiled}

    @property
    def plain(self) -> bool:
        """Whether this is AR of ours, with which the others are compared."""
        return isinstance(self.decoder, AR)

    @property
    def title(self) -> str:
        """For readers who know the guidance, the sampling and the batch."""
        window, branches = self.own.get("window", 1), self.own.get("branches", 0)
        drafted = "" if window == 1 else f", window {window}"
        ours = ", predicted" * self.own.get("predict", False) + f" + {branches}" * (branches > 0)
        return self.decoder.name + drafted + ours + ", compiled" * self.compiled

    def pairs_with(self, other: Case) -> bool:
        """Whether the two draw the same thing together, so that their seconds may be compared."""
        return (self.guidance, self.sampling, self.batch) == (other.guidance, other.sampling, other.batch)


@dataclass(frozen=True)
class Grid:
    """What is crossed."""

    methods: Sequence[Asked]
    samplings: Sequence[Sampling]
    windows: Sequence[int] = (64,)
    first_guesses: Sequence[str] = ("uniform",)
    predicts: Sequence[bool] = (False,)
    branches: Sequence[int] = (0,)
    guidances: Sequence[float | None] = (None,)
    batches: Sequence[int] = (1,)
    compiled: Sequence[bool] = (False,)
    generates: Sequence[Generate] = ()

    def cases(self) -> list[Case]:
        """All cases, each once.

        An option that means nothing to a method is left out of it: AR, crossed with two windows, is one case.
        ValueError where a method is given what it refuses.
        """
        return list(dict.fromkeys(self._crossed()))

    def _crossed(self) -> Iterator[Case]:
        names = ("window", "first_guess", "predict", "branches")
        for batch, guidance, sampling in product(self.batches, self.guidances, self.samplings):
            yield from (Case(generate, sampling, guidance, batch) for generate in self.generates)
            for values in product(self.windows, self.first_guesses, self.predicts, self.branches):
                methods = [method.make(dict(zip(names, values, strict=True))) for method in self.methods]
                yield from (Case(method, sampling, guidance, batch, compiled)
                            for compiled in self.compiled for method in methods)
