"""How often a picture differs where exact arithmetic says it must not, by precision.

    python -m benchmarks.promise                # writes docs/figures/promise.md

SeedExact against AR with the same seeds, and a batch against each picture alone, on the shipped model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.machine import in_words
from data.prompts import prompts

OUT = Path("docs/figures")


def differing(one: Tensor, other: Tensor) -> str:
    return f"{int((one != other).any(1).sum())} of {len(one)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--alone", type=int, default=10, help="pictures that are also decoded alone")
    args = parser.parse_args()
    texts = prompts(args.pictures)
    lines = [
        f"{args.pictures} pictures of 256 tokens. {in_words()}.",
        "",
        "| precision | SeedExact, window 16, against AR | SeedExact, window 64, against AR "
        "| SCD, window 64, in a batch against alone |",
        "| --- | --- | --- | --- |",
    ]
    for dtype in tqdm(("float64", "float32", "bfloat16")):
        pipe = cd.from_pretrained("emoji", dtype=dtype)
        ar = pipe(texts, method=cd.AR(), seed=0).tokens
        exact = [pipe(texts, method=cd.SeedExact(window=window), seed=0).tokens for window in (16, 64)]
        batch = pipe(texts[: args.alone], method=cd.SCD(), seed=0).tokens
        alone = [pipe(text, method=cd.SCD(), seed=i).tokens for i, text in enumerate(texts[: args.alone])]
        same = sum(int((batch[i] != one[0]).any()) for i, one in enumerate(alone))
        lines.append(f"| {dtype} | {differing(exact[0], ar)} differ | {differing(exact[1], ar)} differ | "
                     f"{same} of {args.alone} differ |")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "promise.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
