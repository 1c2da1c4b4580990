"""Forwards by how drafts are made: as published, with the first draft predicted, and with branches beside the window.

    python -m benchmarks.drafts                 # writes docs/figures/drafts.json and docs/figures/drafts.md

Pictures of the prompts of benchmarks.nfe, without guidance and with a scale of 3, and clips that go on from held-out
ones; the same seeds for every method, temperature 1, nothing cut. Methods stand together that read as many tokens a
forward: what is read is what a forward costs. Counts, so the machine need not be quiet; results are kept as they come,
a run that is cut off goes on where it was, and the tables show as far as it has run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks.nfe import OUT
from coupled_decoding.decoding.peers import PAC
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import describe
from coupled_decoding.evaluation.bench.methods import compared, options
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.work import ClipWork, PictureWork, Work
from data.held_out import CLIPS, CONTEXT, FRAMES, read_clips
from data.prompts import prompts

TREE = 18
"""Tokens of the tree of :class:`PAC`, as published."""

Results = Mapping[cd.Method, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Experiment:
    """One table: methods that read the same number of tokens a forward."""

    drawn: str
    tokens: int
    window: int
    """How many of the tokens are the window's where there are branches too."""
    guidance: float | None = None
    batch: int = 25
    guess: str = "uniform"
    """What ours starts from."""
    whole: bool = True
    """Else only the best of each kind, and what is compared with."""

    def cases(self) -> Iterator[cd.Method]:
        """Methods of others first, then ours, from simple to involved."""
        yield from compared(self.tokens) if self.whole else (cd.SCD(self.tokens), cd.SeedExact(self.tokens))
        yield PAC(self.tokens - TREE)
        for make in (cd.SCD, cd.SeedExact):
            if self.guess != "uniform":
                yield make(self.tokens, self.guess)
            if self.whole:
                yield make(self.tokens, self.guess, predict=True)
            yield make(self.window, self.guess, predict=True, branches=self.tokens - self.window)


EXPERIMENTS = (
    Experiment("picture", 64, 32, guidance=1.0),
    Experiment("picture", 64, 32, guidance=3.0, whole=False),
    Experiment("clip", 64, 48, batch=10, guess="previous-frame-distribution"),
    Experiment("picture", 128, 48, guidance=1.0, whole=False),
    Experiment("picture", 32, 16, guidance=1.0, whole=False),
)


@cache
def work_of(drawn: str, items: int) -> Work:
    if drawn == "picture":
        return PictureWork(cd.from_pretrained("emoji"), prompts(items))
    return ClipWork(cd.from_pretrained("doom"), [clip[:CONTEXT] for clip in read_clips(most=items)], FRAMES)


def measure(experiment: Experiment, method: cd.Method, items: int) -> dict[str, float]:
    case = Case(method, cd.Sampling(), experiment.guidance, experiment.batch)
    return count(work_of(experiment.drawn, items), case)


def name_of(experiment: Experiment, method: cd.Method, items: int) -> str:
    """What a result is kept under."""
    of: dict[str, object]
    if experiment.drawn == "picture":
        of = {"guidance": experiment.guidance, "model": fingerprint.of_model("emoji")}
    else:
        of = {"model": fingerprint.of_model("doom"), "clips_of": fingerprint.of_clips(CLIPS)}
    case = {"method": method.name, **options(method), f"{experiment.drawn}s": items, **of}
    return json.dumps(case, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--clips", type=int, default=20)
    args = parser.parse_args()

    kept = Kept(OUT / "drafts.json")
    results: dict[Experiment, dict[cd.Method, dict[str, float]]] = {}
    todo = [(experiment, method) for experiment in EXPERIMENTS for method in experiment.cases()]
    for experiment, method in tqdm(todo, desc="methods"):
        items = args.pictures if experiment.drawn == "picture" else args.clips
        row = kept.get(name_of(experiment, method, items), partial(measure, experiment, method, items))
        results.setdefault(experiment, {})[method] = row
        write_text(OUT / "drafts.md", report(results, args.pictures, args.clips))
    print((OUT / "drafts.md").read_text())


def report(results: Mapping[Experiment, Results], pictures: int, clips: int) -> str:
    machine = describe()
    lines = [
        "Every token that a forward reads counts. \"Fewer than SCD\" is against SCD-gumbel as published with as many "
        f"tokens a forward. Temperature 1, nothing cut; float32, torch {machine['torch']}, transformers "
        f"{machine['transformers']}.",
    ]
    for experiment, rows in results.items():
        what = (f"{pictures} pictures, guidance {experiment.guidance:g}" if experiment.drawn == "picture"
                else f"{clips} clips of {FRAMES} frames, {CONTEXT} of them given")
        lines += ["", f"### {what}, {experiment.tokens} tokens a forward", "", *table(rows, cd.SCD(experiment.tokens))]
    return "\n".join(lines) + "\n"


def table(rows: Results, published: cd.Method) -> Iterator[str]:
    yield ("| method | window | branches | first guess | first draft | NFE (+- standard error) | AR / NFE | fewer than "
           "SCD | steps that commit one token |")
    yield "| --- " * 9 + "|"
    for method, row in rows.items():
        fewer = f"{rows[published]['nfe'] / row['nfe']:.2f}" if published in rows else ""
        own = asdict(method)
        branches = TREE if isinstance(method, PAC) else own.get("branches", 0)
        made = "predicted" if own.get("predict") else "as published"
        yield (f"| {method.name} | {method.window} | {branches} | {own.get('first_guess')} | {made} | "
               f"{row['nfe']:.1f} +- {row['nfe_error']:.1f} | {row['ratio']:.2f}x | {fewer} | {row['single']:.0%} |")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
