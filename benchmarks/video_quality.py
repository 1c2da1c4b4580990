"""What the methods draw against what really came: evidence of losslessness, where the exactness tests are proof.

    python -m benchmarks.video_quality                                    # writes docs/figures/video_quality.md
    python -m benchmarks.video_quality --folder build/doom/held_out       # on all held-out clips there are

From 9 frames of each held-out clip 24 are drawn by AR, by AR with other seeds, by SJD and by SCD, each with seeds of
its own, since methods with one seed share their noise. Each frame's PSNR against the true one; and the Frechet distance
of features of frames (FD-Lite0), and of differences between frames, to the held-out clips and to those of AR. Intervals
by resampling clips. Tokens and features are kept in build/benchmarks: a run that is cut off continues where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.video_rows import AR, HELD_OUT, Row, make_rows
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.tables import markdown
from coupled_decoding.evaluation.metrics.bootstrap import bootstrap
from coupled_decoding.evaluation.metrics.clips import Projection, mean_statistic, psnr
from coupled_decoding.evaluation.metrics.features import Lite0
from coupled_decoding.evaluation.metrics.frechet import frechet_distance, frechet_statistic
from data.held_out import CLIPS, CONTEXT, read_clips

MOST_COMPONENTS, CLIPS_PER_COMPONENT = 32, 3
SHOWN = (1, 2, 3, 4, 6, 8)
"""Drawn frames whose PSNR the table shows; later on every future is another one."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--clips", type=int, help="how many, of those in the folder; all by default")
    parser.add_argument("--folder", type=Path, default=CLIPS, help="of held-out clips")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--model", default="doom")
    args = parser.parse_args(arguments)
    pipe, clips, network = cd.from_pretrained(args.model), read_clips(args.folder, args.clips), Lite0()
    kinds = fingerprint.of_model(args.model), fingerprint.of_clips(args.folder)
    of = "-".join(map(str, (*kinds, len(clips), args.batch, args.window)))
    rows = make_rows(pipe, clips, args.batch, args.window, network, pages.BUILD / "video_quality" / of)
    page = report(rows, args.window, pages.made_with(pages.weights_of(args.model)))
    pages.publish("video_quality", page)
    print(page)


def report(rows: Mapping[str, Row], window: int, made_with: str) -> str:
    held_out = rows[HELD_OUT]
    clips, drawn = held_out.pixels.shape[:2]
    components = min(MOST_COMPONENTS, clips // CLIPS_PER_COMPONENT)
    projection = Projection(held_out.features, components)
    features = {name: projection(row.features) for name, row in rows.items()}
    lines = [
        f"{clips} held-out clips, {CONTEXT} frames given and {drawn} drawn; windows of {window}, temperature 1, "
        f"nothing cut; each row with seeds of its own. In brackets 95% intervals by resampling clips. {made_with}",
        "", "PSNR in dB of a drawn frame against the true one:", "", _psnr_table(rows), "",
        f"FD-Lite0: Frechet distance of EfficientNet-Lite0's features on {components} principal components, those of "
        f"the held-out clips ({projection.frames.share:.0%} of the variance of their frames, "
        f"{projection.differences.share:.0%} of that of their differences). It is no FID, and compares within a table "
        "only. What a finite number of clips adds to a distance was taken off, as resampling shows it, but in the last "
        "column.",
        "", "FD-Lite0 of frames:", "", _distance_table({name: of.frames for name, of in features.items()}),
        "", "FD-Lite0 of differences between a frame and the next:", "",
        _distance_table({name: of.differences for name, of in features.items()}),
    ]
    return "\n".join(lines) + "\n"


def _psnr_table(rows: Mapping[str, Row]) -> str:
    lines = []
    truth = rows[HELD_OUT].pixels
    for name, row in rows.items():
        if name != HELD_OUT:
            values = psnr(row.pixels, truth)
            means = (bootstrap(mean_statistic(values[:, frame - 1]), len(truth)) for frame in SHOWN)
            lines.append([name, *(f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})" for mean in means)])
    return markdown(["frames by", *(f"frame {frame}" for frame in SHOWN)], lines)


def _distance_table(features: Mapping[str, Tensor]) -> str:
    """Of features ``[clips, frames, components]`` by row."""
    lines = []
    truth, base = features[HELD_OUT], features[AR]
    least = frechet_statistic(base, truth)

    def cell(one: Tensor, other: Tensor, less_base: bool = False) -> str:
        distance = frechet_statistic(one, other)
        figure = bootstrap((lambda counts: distance(counts) - least(counts)) if less_base else distance, len(truth))
        return f"{figure.corrected:.3f} ({figure.low:.3f} to {figure.high:.3f})"

    for name, own in features.items():
        if name != HELD_OUT:
            beside = ("", "") if name == AR else (cell(own, truth, less_base=True), cell(own, base))
            plain = frechet_distance(own.flatten(0, 1), truth.flatten(0, 1))
            lines.append([name, cell(own, truth), *beside, f"{plain:.3f}"])
    return markdown(["frames by", "to the held-out clips", "the same less AR's", "to AR's",
                     "to the held-out clips, as it comes"], lines)


if __name__ == "__main__":
    main()
