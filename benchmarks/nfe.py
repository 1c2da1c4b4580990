"""Forwards of every method on the shipped picture model: counts, so the machine need not be quiet.

    python -m benchmarks.nfe                    # writes docs/figures/nfe.json and docs/figures/nfe.md

100 prompts (half of subjects the model never saw), one picture each, the same seeds for every method, temperature 1,
nothing cut, window 64, guidance 1 and 3; first guess as published (a random code taken for certain) and ours (the same
code with its honest uniform label), and the two that copy a neighbour. Results are kept as they come: a run that is cut
off continues where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.evaluation.bench import fingerprint, tables
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import Measured
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.work import PictureWork
from data.prompts import prompts

COLUMNS = (
    tables.option("guidance"), tables.option("method"), tables.option("window"), tables.option("first_guess"),
    tables.nfe("NFE (+- standard error)"), tables.RATIO, tables.SINGLE, tables.CHANGED,
)


def cases(window: int, batch: int = 1) -> list[Case]:
    """Each method with either guess at both scales of guidance, then what copies a neighbour."""
    methods = [(method, scale) for scale in (1.0, 3.0) for guess in ("random", "uniform")
               for method in compared(window, guess)]
    methods += [(cd.SCD(window=window, first_guess=guess), 1.0) for guess in ("repeat", "above")]
    return [Case(method, cd.Sampling(), scale, batch) for method, scale in methods]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="emoji")
    args = parser.parse_args(arguments)
    work = PictureWork(cd.from_pretrained(args.model), prompts(args.pictures), args.seed)
    kept, of = Kept(pages.FIGURES / "nfe.json"), {"model": fingerprint.of_model(args.model)}
    measured = [count(work, case, kept, of) for case in tqdm(cases(args.window, args.batch), desc="methods")]
    page = report(measured, work.length, pages.made_with(pages.weights_of(args.model)))
    pages.publish("nfe", page)
    print(page)


def report(measured: Sequence[Measured], length: int, made_with: str) -> str:
    return (f"{measured[0].items} pictures, one for each prompt of data/prompts.json; {length} tokens per picture, so "
            f"AR takes {length} forwards. {made_with}\n\n{tables.table(COLUMNS, measured)}\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
