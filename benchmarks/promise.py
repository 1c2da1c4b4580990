"""How often a picture differs where exact arithmetic says it must not, by precision.

    python -m benchmarks.promise                # writes docs/figures/promise.md

SeedExact against AR with the same seeds, and a batch against each picture alone, on the shipped model.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.tables import markdown
from data.prompts import prompts

HEAD = ("precision", "SeedExact, window 16, against AR", "SeedExact, window 64, against AR",
        "SCD, window 64, in a batch against alone")


def differing(one: Tensor, other: Tensor) -> str:
    """How many rows of two batches of tokens ``[B, length]`` differ."""
    return f"{int((one != other).any(1).sum())} of {len(one)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--alone", type=int, default=10, help="pictures that are also decoded alone")
    parser.add_argument("--model", default="emoji")
    args = parser.parse_args(arguments)
    texts = prompts(args.pictures)
    rows = []
    for dtype in tqdm(("float64", "float32", "bfloat16")):
        pipe = cd.from_pretrained(args.model, dtype=dtype)
        ar = pipe(texts, method=cd.AR(), seed=0).tokens
        exact = [pipe(texts, method=cd.SeedExact(window=window), seed=0).tokens for window in (16, 64)]
        batch = pipe(texts[: args.alone], method=cd.SCD(), seed=0).tokens
        alone = [pipe(text, method=cd.SCD(), seed=i).tokens for i, text in enumerate(texts[: args.alone])]
        apart = sum(int((batch[i] != one[0]).any()) for i, one in enumerate(alone))
        rows.append([dtype, f"{differing(exact[0], ar)} differ", f"{differing(exact[1], ar)} differ",
                     f"{apart} of {args.alone} differ"])
    page = (f"{args.pictures} pictures of {ar.shape[1]} tokens. {in_words()}. "
            f"{pages.weights_in_words(pages.weights_of(args.model))}\n\n{markdown(HEAD, rows)}\n")
    pages.publish("promise", page)
    print(page)


if __name__ == "__main__":
    main()
