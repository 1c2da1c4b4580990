"""Seconds a picture: every method against AR and against transformers' own ``generate``, on a quiet machine.

    python -m benchmarks.seconds                # writes docs/figures/seconds.json and docs/figures/seconds.md

One picture at a time from prompt to pixels, float32, the methods in turn for each prompt so that a drift of the
machine's speed hits all of them alike; medians over prompts of the ratio to AR. ``generate`` runs the same weights with
its own sampling, nothing cut, restricted to picture codes. Then ours beyond the paper, as it is and with torch.compile,
whose time is not counted. Each prompt's round is kept in build/benchmarks/seconds.json: a run that is cut off goes on
where it was, and without that file all is measured anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.evaluation.bench import fingerprint, rounds
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.generate import Generate
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.methods import compared
from coupled_decoding.evaluation.bench.seconds import report
from coupled_decoding.evaluation.bench.work import PictureWork, Work
from data.prompts import prompts

OUT, BUILD = Path("docs/figures"), Path("build/benchmarks")
WINDOWS = (8, 16, 32, 64)
GENERATES = (Generate("dynamic"), Generate("static"))
OURS = (
    cd.SCD(16, predict=True), cd.SCD(32, predict=True), cd.SeedExact(16, predict=True), cd.SeedExact(32, predict=True),
    cd.SeedExact(16, predict=True, branches=16), cd.SeedExact("auto", predict=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=12)
    args = parser.parse_args()
    work = PictureWork(cd.from_pretrained("emoji"), prompts(args.pictures))
    published = [method for window in WINDOWS for method in compared(window)]
    cases = [Case(decoder, cd.Sampling(), 1.0) for decoder in [cd.AR(), *GENERATES, *published, *OURS]]
    cases += [Case(decoder, cd.Sampling(), 1.0, compiled=True) for decoder in [cd.AR(), *OURS]]
    write(work, cases, "seconds", {"model": fingerprint.of_model("emoji")}, {"AR": 0, "`generate`": 1})


def write(work: Work, cases: Sequence[Case], name: str, of: Mapping[str, Any], bases: Mapping[str, int]) -> None:
    """Measure cases in turn, item by item, and write the figures of this name; ``bases`` as in :func:`report`."""
    with tqdm(total=len(work) * len(cases)) as bar:
        measured = rounds.measure(work, cases, Kept(BUILD / f"{name}.json"), of, done=bar.update)
    by_title = {
        what: {case.title: [value(of_item[0][number]) for of_item in measured] for number, case in enumerate(cases)}
        for what, value in (("seconds", lambda one: one["seconds"]), ("nfe", lambda one: one["nfe"][0]))
    }
    write_text(OUT / f"{name}.json", json.dumps({"machine": in_words(), **by_title}, indent=1) + "\n")
    table = report(measured, [case.title for case in cases], work.drawn, bases, in_words())
    write_text(OUT / f"{name}.md", table)
    print(table)


if __name__ == "__main__":
    main()
