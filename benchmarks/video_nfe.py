"""Forwards of every method on the shipped video model: counts, so the machine need not be quiet.

    python -m benchmarks.video_nfe              # writes docs/figures/video_nfe.{json,md} and docs/images/video_nfe.png

20 held-out clips, 9 frames given and 24 drawn, the same seeds for every method: each method at four windows, at
temperature 1 with nothing cut, and at top-p 0.8 as Cosmos' users sample; each first guess at a window of 64. Results
are kept as they come: a run that is cut off continues where it was, and the table shows as far as it has run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.decoding.named import FIRST_GUESSES
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.plots import save_figure
from coupled_decoding.evaluation.bench.results import Measured
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.tables import markdown
from coupled_decoding.evaluation.bench.work import ClipWork
from coupled_decoding.extras import require_extra
from data.held_out import CONTEXT, FRAMES, read_clips

WINDOWS = (16, 32, 64, 128)
WINDOW_OF_GUESSES = 64
PLAIN, CUT = cd.Sampling(), cd.Sampling(top_p=0.8)
PUBLISHED = {"SJD": (2272.8, 1886.4, 1802.3, 1789.9), "SCD": (1990.5, 1293.7, 835.9, 577.8)}
"""Forwards per clip of Cosmos-1 (arXiv 2510.24211) at the same windows."""
PUBLISHED_LENGTH = 7680

Results = Mapping[tuple[cd.Method, cd.Sampling], Measured]


def cases() -> Iterator[tuple[cd.Method, cd.Sampling]]:
    """Those of most interest first; some twice."""
    for sampling in (PLAIN, CUT):
        yield cd.AR(), sampling
        for window in WINDOWS:
            yield from ((method, sampling) for method in compared(window))
        if sampling == PLAIN:
            for guess in FIRST_GUESSES:
                yield from ((method, sampling) for method in compared(WINDOW_OF_GUESSES, guess))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--model", default="doom")
    args = parser.parse_args(arguments)
    require_extra("matplotlib", "plot", "the plot")
    contexts = [clip[:CONTEXT] for clip in read_clips(most=args.clips)]
    work = ClipWork(cd.from_pretrained(args.model), contexts, FRAMES)
    kept, of = Kept(pages.FIGURES / "video_nfe.json"), {"model": fingerprint.of_model(args.model)}
    said = pages.made_with(pages.weights_of(args.model))
    results: dict[tuple[cd.Method, cd.Sampling], Measured] = {}
    for method, sampling in tqdm(list(dict.fromkeys(cases())), desc="cases"):
        results[method, sampling] = count(work, Case(method, sampling, batch=args.batch), kept, of)
        pages.publish("video_nfe", report(results, said))
    plot(results, pages.IMAGES / "video_nfe.png")
    print(report(results, said))


def report(results: Results, made_with: str) -> str:
    ar = results[cd.AR(), PLAIN]
    windows = [f"window {window}" for window in WINDOWS]
    lines = [
        f"{ar.items} held-out clips of {FRAMES} frames, {CONTEXT} of them given; AR takes {ar.counts.nfe:.0f} forwards "
        f"per clip. Forwards per clip +- standard error (times fewer than AR). {made_with}",
    ]
    for title, sampling in (("Temperature 1, nothing cut", PLAIN), ("Temperature 1, top-p 0.8", CUT)):
        rows = [[of_method[0].name, *(_cell(results.get((method, sampling))) for method in of_method)]
                for of_method in zip(*(compared(window) for window in WINDOWS), strict=True)]
        lines += ["", f"{title}, first guess uniform:", "", markdown(["method", *windows], rows)]
    rows = [[guess, *(_cell(results.get((method, PLAIN))) for method in compared(WINDOW_OF_GUESSES, guess))]
            for guess in FIRST_GUESSES]
    lines += ["", f"Each first guess at a window of {WINDOW_OF_GUESSES}, temperature 1, nothing cut:", "",
              markdown(["first guess", *(method.name for method in compared(1))], rows)]
    rows = [[name, *(f"{nfe} ({PUBLISHED_LENGTH / nfe:.2f}x)" for nfe in forwards)]
            for name, forwards in PUBLISHED.items()]
    lines += ["", f"Cosmos-1 as published (arXiv 2510.24211), of {PUBLISHED_LENGTH}:", "",
              markdown(["method", *windows], rows)]
    return "\n".join(lines) + "\n"


def _cell(one: Measured | None) -> str:
    return "" if one is None else f"{one.counts.nfe:.1f} +- {one.counts.nfe_error:.1f} ({one.counts.ratio:.2f}x)"


def plot(results: Results, path: Path) -> None:
    """Forwards against window, as measured here; and the published ones, as what AR takes divided by them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8))
    here, cut, published = figure.subplots(1, 3)
    for axis, sampling, title in ((here, PLAIN, "temperature 1"), (cut, CUT, "top-p 0.8")):
        for of_method in zip(*(compared(window) for window in WINDOWS), strict=True):
            counts = [results[method, sampling].counts for method in of_method]
            axis.errorbar(WINDOWS, [one.nfe for one in counts], [one.nfe_error for one in counts], marker="o",
                          markersize=4, label=of_method[0].name)
        axis.set(ylabel="forwards per clip", ylim=(0, None),
                 title=f"shipped model, {title} (AR: {results[cd.AR(), sampling].counts.nfe:.0f})")
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
