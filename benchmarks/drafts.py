"""Forwards by how drafts are made: as published, with the first draft predicted, and with branches beside the window.

    python -m benchmarks.drafts                 # writes docs/figures/drafts.json and docs/figures/drafts.md

The prompts of benchmarks.nfe, one picture each, the same seeds for every method, temperature 1, nothing cut. Methods
stand together that read as many tokens a forward: what is read is what a forward costs. Counts, so the machine need not
be quiet; results are kept as they come, and a run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks.nfe import OUT
from benchmarks.prompts import prompts
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import describe
from coupled_decoding.evaluation.bench.methods import options
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.work import PictureWork

SPLITS = [(64, 0), (32, 32), (48, 80), (128, 0), (32, 0), (16, 16), (32, 96), (64, 64), (16, 0)]
"""Tokens a forward: of the window, and of branches. Those of most interest first."""


def cases() -> Iterator[cd.Method]:
    for window, branches in SPLITS:
        if not branches:
            yield from (cd.SJD(window), cd.SCD(window, coupling="maximal"), cd.SCD(window), cd.SeedExact(window))
            yield cd.SCD(window, coupling="maximal", predict=True)
        yield cd.SCD(window, predict=True, branches=branches)
        yield cd.SeedExact(window, predict=True, branches=branches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=1.0)
    args = parser.parse_args()

    work = PictureWork(cd.from_pretrained("emoji"), prompts(args.pictures))
    of = {"pictures": args.pictures, "guidance": args.guidance, "model": fingerprint.of_model("emoji")}
    kept = Kept(OUT / "drafts.json")
    results: dict[cd.Method, dict[str, float]] = {}
    for method in tqdm(list(cases()), desc="methods"):
        name = json.dumps({"method": method.name, **options(method), **of}, sort_keys=True)
        case = Case(method, cd.Sampling(), args.guidance, args.batch)
        results[method] = kept.get(name, partial(count, work, case))
        write_text(OUT / "drafts.md", table(results, args.pictures, args.guidance, work.length))
    print((OUT / "drafts.md").read_text())


def table(results: dict[cd.Method, dict[str, float]], pictures: int, guidance: float, length: int) -> str:
    machine = describe()
    lines = [
        f"{pictures} pictures, guidance {guidance:g}, temperature 1, nothing cut; {length} tokens a picture, so AR "
        f"takes {length} forwards. float32, torch {machine['torch']}, transformers {machine['transformers']}.",
        "",
        "| tokens a forward | method | window | branches | first draft | NFE (+- standard error) | AR / NFE | steps "
        "that commit one token |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, row in sorted(results.items(), key=lambda case: case[0].window + case[0].branches):
        lines.append(
            f"| {method.window + method.branches} | {method.name} | {method.window} | {method.branches} | "
            f"{'predicted' if method.predict else 'as published'} | {row['nfe']:.1f} +- {row['nfe_error']:.1f} | "
            f"{row['ratio']:.2f}x | {row['single']:.0%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
