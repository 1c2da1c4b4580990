"""Seconds a clip: every method against AR, on a quiet machine.

    python -m benchmarks.video_seconds          # writes docs/figures/video_seconds.{json,md}

One held-out clip at a time from frames to frames, 9 given and 24 drawn, float32, temperature 1, nothing cut; the
methods in turn for each clip so that a drift of the machine's speed hits all of them alike; medians over clips of the
ratio to AR. Each clip's round is kept in build/benchmarks/video_seconds.json: a run that is cut off goes on where it
was, and without that file all is measured anew. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import coupled_decoding as cd
from benchmarks import fingerprint
from benchmarks.held_out import CLIPS, CONTEXT, FRAMES, Clip, read_clips
from benchmarks.kept import Kept, write_text
from benchmarks.machine import in_words
from benchmarks.methods import compared
from benchmarks.timing import measure, report

OUT, BUILD = Path("docs/figures"), Path("build/benchmarks")
WINDOWS = (16, 32, 64)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--model", default="doom")
    args = parser.parse_args(arguments)
    pipe, clips = cd.from_pretrained(args.model), read_clips(most=args.clips)
    methods: dict[str, cd.Method] = {"AR": cd.AR()}
    for window in WINDOWS:
        methods |= {f"{method.name}, window {window}": method for method in compared(window)}

    def runner(method: cd.Method, num_frames: int) -> Callable[[Clip, int], int]:
        return lambda clip, seed: int(
            pipe(clip[:CONTEXT], num_frames=num_frames, method=method, sampling=cd.Sampling(), seed=seed).trace.nfe[0]
        )

    for method in methods.values():  # warm up
        runner(method, CONTEXT + 1)(clips[0], 0)
    of = {"model": fingerprint.of_model(args.model), "clips_of": fingerprint.of_clips(CLIPS)}
    runners = {name: runner(method, FRAMES) for name, method in methods.items()}
    measured = measure(runners, clips, Kept(BUILD / "video_seconds.json"), of)
    write_text(OUT / "video_seconds.json", json.dumps({"machine": in_words(), **measured}, indent=1) + "\n")
    write_text(OUT / "video_seconds.md", report(measured, "clip", {"AR": "AR"}))
    print((OUT / "video_seconds.md").read_text())


if __name__ == "__main__":
    main()
