"""Seconds per picture: every method against AR and against transformers' own ``generate``, on a quiet machine.

    python -m benchmarks.seconds                # writes docs/figures/seconds.json and docs/figures/seconds.md

One picture at a time from prompt to pixels, float32, the methods in turn for each prompt so that a drift of the
machine's speed hits all of them alike; medians over prompts of the ratio to AR. ``generate`` runs the same weights with
its own sampling, nothing cut, restricted to picture codes. Then ours beyond the paper, as it is and with torch.compile,
whose time is not counted. Each prompt's round is kept in build/benchmarks/seconds.json: a run that is cut off continues
where it was, and without that file all is measured anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.timed import measure
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.transformers_generate import Generate
from coupled_decoding.evaluation.bench.work import PictureWork
from data.prompts import prompts

WINDOWS = (8, 16, 32, 64)
GENERATES = (Generate("dynamic"), Generate("static"))
OURS = (
    cd.SCD(16, predict=True), cd.SCD(32, predict=True), cd.SeedExact(16, predict=True), cd.SeedExact(32, predict=True),
    cd.SeedExact(16, predict=True, branches=16), cd.SeedExact("auto", predict=True),
)
BASES = {"AR": "AR", "`generate`": GENERATES[0].name}


def main() -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=12)
    args = parser.parse_args()
    work = PictureWork(cd.from_pretrained("emoji"), prompts(args.pictures))
    print(measure(work, cases(), "seconds", pages.weights_of("emoji"), BASES))


def cases() -> Sequence[Case]:
    """AR and ``generate``, the published methods at each window, then ours, compiled and not."""
    published = [method for window in WINDOWS for method in compared(window)]
    plain: list[cd.Method | Generate] = [cd.AR(), *GENERATES, *published, *OURS]
    return [*(Case(decoder, cd.Sampling(), 1.0) for decoder in plain),
            *(Case(method, cd.Sampling(), 1.0, compiled=True) for method in (cd.AR(), *OURS))]


if __name__ == "__main__":
    main()
