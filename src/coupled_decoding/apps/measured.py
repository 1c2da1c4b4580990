"""What was measured of a decode: one line, a table, a document for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import Pictures
    from coupled_decoding.pipelines.video import Videos


@dataclass(frozen=True)
class Measured:
    """What one method took for some pictures or clips."""

    method: cd.Method
    tokens: int
    """Of one picture or clip: the forwards that plain autoregressive sampling takes."""
    nfe: Sequence[int]
    """Forwards of each picture or clip."""
    seconds: float
    """Of all together."""
    seconds_model: float | None = None
    """Of these, in forwards; None where pictures shared them with others."""
    seconds_outside: float | None = None

    @classmethod
    def of(cls, method: cd.Method, out: Pictures | Videos) -> Measured:
        """Of pictures or clips that were drawn together."""
        trace = out.trace
        return cls(method, out.tokens.shape[1], trace.nfe.tolist(), trace.seconds_model + trace.seconds_outside,
                   trace.seconds_model, trace.seconds_outside)

    @property
    def nfe_mean(self) -> float:
        return sum(self.nfe) / len(self.nfe)

    @property
    def speedup(self) -> float:
        """Tokens per forward: how many times fewer forwards than plain autoregressive sampling takes."""
        return self.tokens / self.nfe_mean

    @property
    def options(self) -> dict[str, Any]:
        """The method's name, its window and its other options."""
        return {"name": self.method.name, "window": self.method.window, **dataclasses.asdict(self.method)}

    @property
    def label(self) -> str:
        """The method's name, and what is not as published."""
        predict, branches = self.options.get("predict", False), self.options.get("branches", 0)
        return self.method.name + " +predict" * predict + f" +{branches}" * (branches > 0)

    def document(self) -> dict[str, Any]:
        """For programs."""
        seconds = {"seconds": self.seconds, "seconds_model": self.seconds_model,
                   "seconds_outside": self.seconds_outside}
        return {
            "method": self.options, "tokens_each": self.tokens, "nfe": list(self.nfe), "nfe_mean": self.nfe_mean,
            "speedup_in_forwards": self.speedup,
            **{name: value for name, value in seconds.items() if value is not None},
        }


def summary(measured: Measured) -> str:
    """One line about one method."""
    return (f"{measured.label}, window {measured.method.window}: NFE {measured.nfe_mean:.1f} for {measured.tokens} "
            f"tokens, {measured.speedup:.2f}x fewer forwards than AR, {measured.seconds:.1f} s")


def heading(measured: Measured) -> tuple[str, str]:
    """What stands above a column of a comparison: the method, and what it took."""
    fewer = f", {measured.speedup:.2f}x fewer" if measured.method.window != 1 else ""
    return measured.label, f"NFE {measured.nfe_mean:.1f}{fewer}"


def table(rows: Sequence[Measured]) -> str:
    """One line per method; seconds are compared with those of the first."""
    lines = [("method", "NFE", "AR/NFE", "seconds", "AR/seconds")]
    lines += [(row.label, f"{row.nfe_mean:.1f}", f"{row.speedup:.2f}x", f"{row.seconds:.2f}",
               f"{rows[0].seconds / row.seconds:.2f}x") for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    first, *others = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) for cells in lines]
    return "\n".join([first, "  ".join("-" * width for width in widths), *others])


def documents(rows: Sequence[Measured]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{**row.document(), "speedup_in_seconds": rows[0].seconds / row.seconds} for row in rows]


def same_tokens(one: Pictures | Videos, other: Pictures | Videos) -> int:
    """How many pictures or clips two methods drew alike."""
    return sum(a == b for a, b in zip(one.tokens.tolist(), other.tokens.tolist(), strict=True))


def sameness(same: int, total: int, drawn: str = "picture") -> str:
    """Whether SeedExact kept its promise, as it stands in exact arithmetic."""
    if same == total:
        return f"AR and SeedExact drew the same {drawn}s, token for token."
    return (f"AR and SeedExact drew the same {drawn} in {same} of {total} cases: where two tokens are nearly tied, "
            "rounding decides.")
