"""What is measured: every combination of what was asked for that means something, once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from coupled_decoding.decoding.methods import AR, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.evaluation.bench.generate import Generate
from coupled_decoding.evaluation.bench.methods import Asked, options


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
    def described(self) -> dict[str, Any]:
        """All that tells this case from others, as JSON has it."""
        own = options(self.decoder) if isinstance(self.decoder, Method) else {}
        # an option that came later is left out where it is not used, so that results from before keep their names
        compiled = {"compiled": True} if self.compiled else {}
        return {"method": self.decoder.name, **own, "guidance": self.guidance, **asdict(self.sampling),
                "batch": self.batch, **compiled}

    @property
    def name(self) -> str:
        return json.dumps(self.described, sort_keys=True)

    @property
    def options(self) -> dict[str, Any]:
        """The same with every option of the method: a line of a table. The method's name tells its coupling."""
        own: dict[str, Any] = {}
        if isinstance(self.decoder, Method):  # one that lacks an option is in line with those that leave it alone
            own = {"window": self.decoder.window, "first_guess": "uniform", "predict": False, "branches": 0,
                   **asdict(self.decoder)}
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
        compiled = ", compiled" * self.compiled
        if isinstance(self.decoder, Generate) or self.decoder.window == 1:
            return self.decoder.name + compiled
        own = asdict(self.decoder)
        ours = ", predicted" * own.get("predict", False) + f" + {own.get('branches')}" * bool(own.get("branches"))
        return f"{self.decoder.name}, window {self.decoder.window}{ours}{compiled}"

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

        An option that says nothing about a method is left out of it: AR, crossed with two windows, is one case.
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
