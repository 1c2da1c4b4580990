"""Forwards of every method on the shipped video model: counts, so the machine need not be quiet.

    python -m benchmarks.video_nfe              # writes docs/figures/video_nfe.{json,md} and docs/images/video_nfe.png

20 held-out clips, 9 frames given and 24 drawn, the same seeds for every method: each method at four windows, at
temperature 1 with nothing cut, and at top-p 0.8 as Cosmos' users sample; each first guess at a window of 64. Results
are kept as they come: a run that is cut off goes on where it was, and the table shows as far as it has run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.decoding.rules.guesses import GUESSES
from coupled_decoding.evaluation.bench import cases as bench
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.figures import save_figure
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import describe
from coupled_decoding.evaluation.bench.methods import compared, options
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.work import ClipWork
from coupled_decoding.extras import require_extra
from coupled_decoding.pipelines.video import VideoPipeline
from data.held_out import CLIPS, CONTEXT, FRAMES, Clip, read_clips

FIGURES, IMAGES = Path("docs/figures"), Path("docs/images")
WINDOWS = (16, 32, 64, 128)
WINDOW_OF_GUESSES = 64
PLAIN, CUT = cd.Sampling(), cd.Sampling(top_p=0.8)
PUBLISHED = {"SJD": (2272.8, 1886.4, 1802.3, 1789.9), "SCD": (1990.5, 1293.7, 835.9, 577.8)}
"""Forwards a clip of Cosmos-1 (arXiv 2510.24211) at the same windows."""
PUBLISHED_LENGTH = 7680

Case = tuple[cd.Method, cd.Sampling]
Results = Mapping[Case, Mapping[str, float]]


def cases() -> Iterator[Case]:
    """Those of most interest first."""
    for sampling in (PLAIN, CUT):
        yield cd.AR(), sampling
        for window in WINDOWS:
            yield from ((method, sampling) for method in compared(window))
        if sampling == PLAIN:
            for guess in GUESSES:
                yield from ((method, sampling) for method in compared(WINDOW_OF_GUESSES, guess))


def name_of(case: Case, of: Mapping[str, str | int]) -> str:
    method, sampling = case
    return json.dumps({"method": method.name, **options(method), **asdict(sampling), **of}, sort_keys=True)


def measure(pipe: VideoPipeline, clips: Sequence[Clip], batch: int, case: Case) -> dict[str, float]:
    work = ClipWork(pipe, [clip[:CONTEXT] for clip in clips], FRAMES)
    return count(work, bench.Case(*case, batch=batch))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--model", default="doom")
    args = parser.parse_args(arguments)
    require_extra("matplotlib", "plot", "the plot")
    pipe, clips = cd.from_pretrained(args.model), read_clips(most=args.clips)
    of = {"clips": args.clips, "model": fingerprint.of_model(args.model), "clips_of": fingerprint.of_clips(CLIPS)}
    kept = Kept(FIGURES / "video_nfe.json")
    results: dict[Case, dict[str, float]] = {}
    for case in tqdm(list(dict.fromkeys(cases())), desc="cases"):
        results[case] = kept.get(name_of(case, of), partial(measure, pipe, clips, args.batch, case))
        write_text(FIGURES / "video_nfe.md", report(results, args.clips))
    plot(results, IMAGES / "video_nfe.png")
    print((FIGURES / "video_nfe.md").read_text())


def report(results: Results, clips: int) -> str:
    machine, length = describe(), results[cd.AR(), PLAIN]["nfe"]
    head = "| " + " | ".join(f"window {window}" for window in WINDOWS) + " |"
    rule = "| --- " * (1 + len(WINDOWS)) + "|"
    lines = [
        f"{clips} held-out clips of {FRAMES} frames, {CONTEXT} of them given; AR takes {length:.0f} forwards a clip. "
        f"Forwards a clip +- standard error (times fewer than AR). float32, torch {machine['torch']}, transformers "
        f"{machine['transformers']}.",
    ]
    for title, sampling in (("Temperature 1, nothing cut", PLAIN), ("Temperature 1, top-p 0.8", CUT)):
        lines += ["", f"{title}, first guess uniform:", "", f"| method {head}", rule]
        for of_method in zip(*(compared(window) for window in WINDOWS), strict=True):
            cells = (_cell(results.get((method, sampling))) for method in of_method)
            lines.append(f"| {of_method[0].name} | " + " | ".join(cells) + " |")
    names = [method.name for method in compared(1)]
    lines += [
        "", f"Each first guess at a window of {WINDOW_OF_GUESSES}, temperature 1, nothing cut:", "",
        "| first guess | " + " | ".join(names) + " |", "| --- " * (1 + len(names)) + "|",
    ]
    for guess in GUESSES:
        cells = (_cell(results.get((method, PLAIN))) for method in compared(WINDOW_OF_GUESSES, guess))
        lines.append(f"| {guess} | " + " | ".join(cells) + " |")
    lines += ["", f"Cosmos-1 as published (arXiv 2510.24211), of {PUBLISHED_LENGTH}:", "", f"| method {head}", rule]
    for name, forwards in PUBLISHED.items():
        cells = (f"{nfe} ({PUBLISHED_LENGTH / nfe:.2f}x)" for nfe in forwards)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, float] | None) -> str:
    return "" if row is None else f"{row['nfe']:.1f} +- {row['nfe_error']:.1f} ({row['ratio']:.2f}x)"


def plot(results: Results, path: Path) -> None:
    """Forwards against window, as measured here; and the published ones, as what AR takes divided by them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8))
    here, cut, published = figure.subplots(1, 3)
    for axis, sampling, title in ((here, PLAIN, "temperature 1"), (cut, CUT, "top-p 0.8")):
        for of_method in zip(*(compared(window) for window in WINDOWS), strict=True):
            rows = [results[method, sampling] for method in of_method]
            axis.errorbar(WINDOWS, [row["nfe"] for row in rows], [row["nfe_error"] for row in rows], marker="o",
                          markersize=4, label=of_method[0].name)
        axis.set(ylabel="forwards a clip", ylim=(0, None),
                 title=f"shipped model, {title} (AR: {results[cd.AR(), sampling]['nfe']:.0f})")
    for name, forwards in PUBLISHED.items():
        published.plot(WINDOWS, [PUBLISHED_LENGTH / nfe for nfe in forwards], marker="o", markersize=4, label=name)
    published.set(ylabel="AR's forwards / forwards", ylim=(0, None), title="Cosmos-1, as published")
    for axis in (here, cut, published):
        axis.set_xscale("log", base=2)
        axis.set_xticks(WINDOWS, [str(window) for window in WINDOWS])
        axis.set_xlabel("window")
        axis.legend(fontsize=8)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
