"""The pages of seconds: cases measured in turn, item by item, and a table made of the file of results alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks import pages
from coupled_decoding.evaluation.bench import rounds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.seconds import Timed, Timings
from coupled_decoding.evaluation.bench.tables import Column, interval, table
from coupled_decoding.evaluation.bench.work import Work


@dataclass(frozen=True)
class Results:
    """What is in the file: by the title of each case, what each item took. Every item was drawn alone."""

    drawn: str
    """One item in a word."""
    machine: str
    weights: dict[str, str]
    seconds: dict[str, list[float]]
    nfe: dict[str, list[int]]
    """Forwards."""

    @classmethod
    def read(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def timings(self, title: str) -> Timings:
        return Timings([[Timed(seconds, [nfe])] for seconds, nfe in zip(self.seconds[title], self.nfe[title],
                                                                        strict=True)])


def measure(work: Work, cases: Sequence[Case], name: str, weights: dict[str, str], bases: Mapping[str, str]) -> str:
    """Measure cases in turn and write the file and the page of this name; returns the page.

    Args:
        bases: in words, and the title of a case: what the others are compared with.
    """
    with tqdm(total=len(work) * len(cases)) as bar:
        kept = Kept(pages.BUILD / f"{name}.json")
        measured = rounds.measure(work, cases, kept, {"weights": weights}, done=bar.update)
    timings = {case.title: of_case for case, of_case in zip(cases, measured, strict=True)}
    results = Results(
        work.drawn, in_words(), weights,
        seconds={title: [batch[0].seconds for batch in one.batches] for title, one in timings.items()},
        nfe={title: [batch[0].nfe[0] for batch in one.batches] for title, one in timings.items()},
    )
    write_text(pages.FIGURES / f"{name}.json", json.dumps(asdict(results), indent=1) + "\n")
    page = report(results, bases)
    pages.publish(name, page)
    return page


def report(results: Results, bases: Mapping[str, str]) -> str:
    """A table in Markdown, and what it is of."""
    timings = {title: results.timings(title) for title in results.seconds}
    first = next(iter(timings.values()))
    what, share = results.drawn, first.seconds.probability
    columns = [
        Column[str]("method", str),
        Column[str]("NFE", lambda title: f"{timings[title].nfe:.1f}"),
        Column[str](f"seconds per {what} (median)", lambda title: f"{timings[title].seconds.value:.2f}"),
        *(_against(timings, name, base) for name, base in bases.items()),
    ]
    return (f"{len(first.batches)} {what}s, one at a time. {results.machine}. Intervals hold the median of all such "
            f"{what}s with probability {share:.0%}. {pages.weights_in_words(results.weights)}\n\n"
            f"{table(columns, timings)}\n")


def _against(timings: Mapping[str, Timings], name: str, base: str) -> Column[str]:
    return Column(f"times faster than {name} (median, interval)",
                  lambda title: interval(timings[title].times_faster(timings[base])))
