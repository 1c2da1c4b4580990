"""Forwards of every method on the shipped picture model: counts, so the machine need not be quiet.

    python -m benchmarks.nfe                    # writes docs/figures/nfe.json and docs/figures/nfe.md

100 prompts (half of subjects the model never saw), one picture each, the same seeds for every method, temperature 1,
nothing cut, window 64, guidance 1 and 3; first guess as published (a random code taken for certain) and ours (the same
code with its honest uniform label), and the two that copy a neighbour. Results are kept as they come: a run that is cut
off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.kept import Kept, write_text
from coupled_decoding.evaluation.bench.machine import describe
from coupled_decoding.evaluation.bench.methods import compared, options
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.work import PictureWork
from data.prompts import prompts

OUT = Path("docs/figures")


def cases(window: int) -> list[tuple[cd.Method, float]]:
    main = [(method, scale) for scale in (1.0, 3.0) for guess in ("random", "uniform")
            for method in compared(window, guess)]
    copies = [(cd.SCD(window=window, first_guess=guess), 1.0) for guess in ("repeat", "above")]
    return main + copies


def key(method: cd.Method, scale: float) -> str:
    return json.dumps({"method": method.name, **options(method), "guidance": scale}, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    work = PictureWork(cd.from_pretrained("emoji"), prompts(args.pictures), args.seed)
    kept = Kept(OUT / "nfe.json")
    for method, scale in tqdm(cases(args.window), desc="methods"):
        kept.get(key(method, scale), partial(count, work, Case(method, cd.Sampling(), scale, args.batch)))
    write_text(OUT / "nfe.md", table(kept.results, len(work), work.length))
    print((OUT / "nfe.md").read_text())


def table(results: dict[str, dict[str, float]], pictures: int, length: int) -> str:
    machine = describe()
    lines = [
        f"{pictures} pictures, one for each prompt of data/prompts.json; {length} tokens a picture, so AR takes "
        f"{length} forwards. float32, torch {machine['torch']}, transformers {machine['transformers']}.",
        "",
        "| guidance | method | window | first guess | NFE (+- standard error) | AR / NFE | steps that commit one token "
        "| drafts changed a step |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in results.items():
        case = json.loads(name)
        lines.append(
            f"| {case['guidance']:g} | {case['method']} | {case['window']} | {case['first_guess']} | {row['nfe']:.1f} "
            f"+- {row['nfe_error']:.1f} | {row['ratio']:.2f}x | {row['single']:.0%} | {row['changed']:.0%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
