"""Seconds a picture: every method against AR and against transformers' own ``generate``, on a quiet machine.

    python -m benchmarks.seconds                # writes docs/figures/seconds.json and docs/figures/seconds.md

One picture at a time, float32, the methods in turn for each prompt so that a drift of the machine's speed hits all of
them alike; medians over prompts of the ratio to AR. ``generate`` runs the same weights with its own sampling
(``do_sample=True, top_k=0``, since it would apply 50 by itself), restricted to picture codes by suppressing the others.
Each prompt's round is kept in build/benchmarks/seconds.json: a run that is cut off goes on where it was, and without
that file all is measured anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch

import coupled_decoding as cd
from benchmarks import fingerprint
from benchmarks.kept import Kept, write_text
from benchmarks.machine import in_words
from benchmarks.methods import compared
from benchmarks.prompts import prompts
from benchmarks.timing import measure, report
from coupled_decoding.pipelines.pictures import PicturePipeline

OUT, BUILD = Path("docs/figures"), Path("build/benchmarks")
WINDOWS = (8, 16, 32, 64)
GENERATE = "generate, dynamic cache"


def runners(pipe: PicturePipeline) -> dict[str, Callable[[str, int], int]]:
    """Name -> a function that draws one picture and returns its NFE."""
    model = pipe.model.backbone.model  # type: ignore[attr-defined]
    length = pipe.layout.length
    others = list(range(int(pipe.layout.codes[-1]) + 1, model.config.vocab_size))

    def generate(cache: str | None) -> Callable[[str, int], int]:
        def run(prompt: str, seed: int) -> int:
            torch.manual_seed(seed)
            ids = torch.tensor([pipe.model.prompt_ids(prompt)])  # type: ignore[attr-defined]
            model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, min_new_tokens=length,
                max_new_tokens=length, suppress_tokens=others, pad_token_id=0, cache_implementation=cache,
                disable_compile=True,
            )
            return length

        return run

    def ours(method: cd.Method) -> Callable[[str, int], int]:
        return lambda prompt, seed: int(pipe(prompt, method=method, seed=seed).trace.nfe[0])

    table = {"AR": ours(cd.AR()), GENERATE: generate(None), "generate, static cache": generate("static")}
    for window in WINDOWS:
        table |= {f"{method.name}, window {window}": ours(method) for method in compared(window)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=12)
    args = parser.parse_args()
    pipe = cd.from_pretrained("emoji")
    table = runners(pipe)
    for run in table.values():  # warm up
        run("a red heart", 0)
    of = {"model": fingerprint.of_model("emoji")}
    measured = measure(table, prompts(args.pictures), Kept(BUILD / "seconds.json"), of)
    write_text(OUT / "seconds.json", json.dumps({"machine": in_words(), **measured}, indent=1) + "\n")
    write_text(OUT / "seconds.md", report(measured, "picture", {"AR": "AR", "`generate`": GENERATE}))
    print((OUT / "seconds.md").read_text())


if __name__ == "__main__":
    main()
