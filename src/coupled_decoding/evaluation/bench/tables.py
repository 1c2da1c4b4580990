"""Tables in Markdown: a choice of columns, and a line for each thing measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coupled_decoding.evaluation.bench.results import Measured, varying
from coupled_decoding.evaluation.bench.seconds import Median

Line = TypeVar("Line")


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column of a table."""

    head: str
    cell: Callable[[Line], str]
    """What stands in a line."""


def table(columns: Sequence[Column[Line]], lines: Iterable[Line]) -> str:
    """These columns of these lines."""
    return markdown([column.head for column in columns], ([column.cell(line) for column in columns] for line in lines))


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table, without a newline at its end."""
    return "\n".join([_line(head), "| --- " * len(head) + "|", *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


WORDS = {"first_guess": "first guess", "top_k": "top-k", "top_p": "top-p"}
"""Options whose names in tables are not those of the fields."""


def option(name: str, head: str | None = None) -> Column[Measured]:
    """An option of a case; empty where the case has none of this name."""
    return Column(head or WORDS.get(name, name), lambda one: _in_words(one.case.options.get(name)))


def nfe(head: str = "NFE") -> Column[Measured]:
    return Column(head, lambda one: f"{one.counts.nfe:.1f} +- {one.counts.nfe_error:.1f}")


RATIO: Column[Measured] = Column("AR / NFE", lambda one: f"{one.counts.ratio:.2f}x")
SINGLE: Column[Measured] = Column("steps that commit one token", lambda one: f"{one.counts.single:.0%}")
CHANGED: Column[Measured] = Column("drafts changed per step", lambda one: f"{one.counts.changed:.0%}")


def report(what: str, circumstances: Mapping[str, Any], measured: Sequence[Measured], images: Mapping[str, str]) -> str:
    """The whole page of ``scd bench``.

    Args:
        what: one item in a word, such as ``"picture"``.
        circumstances: in words, and what each was.
        images: file names, and what each shows.
    """
    lines = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in circumstances.items()), ""]
    lines += [*_common(measured), "", cases_table(what, measured), "", *_reading(what, measured)]
    for name, shown in images.items():
        lines += ["", f"![{shown}]({name})", "", shown]
    return "\n".join(lines) + "\n"


def cases_table(what: str, measured: Sequence[Measured]) -> str:
    """The options in which cases differ, then all that was measured of each."""
    columns = [option(name) for name in varying(measured)]
    columns += [nfe(), RATIO, Column(f"tokens fed per {what}", _fed), SINGLE, CHANGED]
    if any(one.timings for one in measured):
        columns += [Column(f"seconds per {what}", lambda one: interval(one.timings.seconds if one.timings else None)),
                    Column("times faster than AR", lambda one: interval(one.times_faster, "x")),
                    Column("seconds outside the model", _outside)]
    return table(columns, measured)


def interval(median: Median | None, unit: str = "") -> str:
    """A median and its interval; empty where there is none."""
    return "" if median is None else f"{median.value:.2f}{unit} ({median.low:.2f} to {median.high:.2f})"


def _fed(one: Measured) -> str:
    return "" if one.counts.fed is None else f"{one.counts.fed:.0f}"


def _outside(one: Measured) -> str:
    outside = one.timings.outside if one.timings else None
    return "" if outside is None else f"{outside:.0%}"


SHARED = ("lossless", "window", "first_guess", "predict", "branches", "guidance", "temperature", "top_k", "top_p",
          "batch", "compiled")
"""Options that are said in the sentence above the table, where all cases share them."""


def _common(measured: Sequence[Measured]) -> Iterator[str]:
    """What all cases share, in a sentence."""
    options = varying(measured)
    common = {name: value for one in measured for name, value in one.case.options.items()
              if name not in options and value is not None}
    shared = [f"{WORDS.get(name, name)} {_in_words(common[name])}" for name in SHARED if name in common]
    if shared:
        yield f"All cases: {', '.join(shared)}."


def _reading(what: str, measured: Sequence[Measured]) -> Iterator[str]:
    """What the columns mean."""
    yield (f"NFE: forwards of the model per {what}, mean +- standard error; AR takes one for each token. Tokens fed: "
           "what its forwards read, which is what they cost where arithmetic decides.")
    probabilities = sorted({one.timings.seconds.probability for one in measured if one.timings})
    if probabilities:
        said = " or ".join(f"{probability:.0%}" for probability in probabilities)
        yield ""
        yield (f"Seconds: medians; in brackets two of the values measured, which hold the median of all such {what}s "
               f"with a probability of {said}. Times faster than AR: of each round's own pair.")


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
