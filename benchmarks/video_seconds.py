"""Seconds per clip: every method against AR, on a quiet machine.

    python -m benchmarks.video_seconds          # writes docs/figures/video_seconds.{json,md}

One held-out clip at a time from frames to frames, 9 given and 24 drawn, float32, temperature 1, nothing cut; the
methods in turn for each clip so that a drift of the machine's speed hits all of them alike; medians over clips of the
ratio to AR. Each clip's round is kept in build/benchmarks/video_seconds.json: a run that is cut off continues where it
was, and without that file all is measured anew. Nothing else may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.timed import measure
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.work import ClipWork
from data.held_out import CONTEXT, FRAMES, read_clips

WINDOWS = (16, 32, 64)
BASES = {"AR": "AR"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--model", default="doom")
    args = parser.parse_args(arguments)
    contexts = [clip[:CONTEXT] for clip in read_clips(most=args.clips)]
    work = ClipWork(cd.from_pretrained(args.model), contexts, FRAMES)
    methods = [cd.AR(), *(method for window in WINDOWS for method in compared(window))]
    cases = [Case(method, cd.Sampling()) for method in methods]
    print(measure(work, cases, "video_seconds", pages.weights_of(args.model), BASES))


if __name__ == "__main__":
    main()
