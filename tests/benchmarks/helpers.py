"""The committed figures of the documents, as the benchmarks read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Summary
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import Measured

FIGURES = Path(__file__).parents[2] / "docs/figures"


def kept_of(figure: str, cases: Iterable[Case], items: int) -> list[Measured]:
    """What is kept of each case on so many items, whatever weights it was measured on; the last where that is several.

    KeyError where a case is not kept.
    """
    kept = {}
    for name, counts in Kept(FIGURES / f"{figure}.json").results.items():
        case = json.loads(name)
        if items in (case.pop("pictures", None), case.pop("clips", None)):
            del case["items"], case["model"]
            kept[json.dumps(case, sort_keys=True)] = Summary.read(counts)
    return [Measured(case, items, kept[json.dumps(case.described, sort_keys=True)]) for case in cases]


def tables_of(page: str) -> list[str]:
    """The tables of a page."""
    return [block for block in page.replace("\n#", "\n\n#").split("\n\n") if block.startswith("|")]


def committed(figure: str) -> list[str]:
    """The tables of a committed page."""
    return tables_of((FIGURES / f"{figure}.md").read_text().rstrip())
