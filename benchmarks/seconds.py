"""Seconds a picture: every method against AR and against transformers' own ``generate``, on a quiet machine.

    python -m benchmarks.seconds                # writes docs/figures/seconds.json and docs/figures/seconds.md

One picture at a time, float32, the methods in turn for each prompt so that a drift of the machine's speed hits all of
them alike; medians over prompts of the ratio to AR. ``generate`` runs the same weights with its own sampling
(``do_sample=True, top_k=0``, since it would apply 50 by itself), restricted to picture codes by suppressing the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks.machine import in_words
from benchmarks.prompts import prompts
from coupled_decoding.pipelines.pictures import PicturePipeline

OUT = Path("docs/figures")
WINDOWS = (8, 16, 32, 64)


def runners(pipe: PicturePipeline) -> dict[str, Callable[[str, int], int | None]]:
    """Name -> a function that draws one picture and returns its NFE."""
    model = pipe.model.backbone.model  # type: ignore[attr-defined]
    length = pipe.layout.length
    others = list(range(int(pipe.layout.codes[-1]) + 1, model.config.vocab_size))

    def generate(cache: str | None) -> Callable[[str, int], int | None]:
        def run(prompt: str, seed: int) -> int | None:
            torch.manual_seed(seed)
            ids = torch.tensor([pipe.model.prompt_ids(prompt)])  # type: ignore[attr-defined]
            model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, min_new_tokens=length,
                max_new_tokens=length, suppress_tokens=others, pad_token_id=0, cache_implementation=cache,
                disable_compile=True,
            )
            return None

        return run

    def ours(method: cd.Method) -> Callable[[str, int], int | None]:
        return lambda prompt, seed: int(pipe(prompt, method=method, seed=seed).trace.nfe[0])

    table: dict[str, Callable[[str, int], int | None]] = {
        "AR": ours(cd.AR()),
        "generate, dynamic cache": generate(None),
        "generate, static cache": generate("static"),
    }
    for window in WINDOWS:
        table[f"SJD, window {window}"] = ours(cd.SJD(window=window))
        table[f"SCD-maximal, window {window}"] = ours(cd.SCD(window=window, coupling="maximal"))
        table[f"SCD-gumbel, window {window}"] = ours(cd.SCD(window=window))
        table[f"SeedExact, window {window}"] = ours(cd.SeedExact(window=window))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=12)
    args = parser.parse_args()
    pipe = cd.from_pretrained("emoji")
    table = runners(pipe)
    for run in table.values():  # warm up
        run("a red heart", 0)
    seconds: dict[str, list[float]] = {name: [] for name in table}
    nfe: dict[str, list[int]] = {name: [] for name in table}
    for seed, prompt in enumerate(tqdm(prompts(args.pictures))):
        for name, run in table.items():
            started = time.perf_counter()
            forwards = run(prompt, seed)
            seconds[name].append(time.perf_counter() - started)
            nfe[name].append(pipe.layout.length if forwards is None else forwards)
    OUT.mkdir(parents=True, exist_ok=True)
    measured = {"machine": in_words(), "seconds": seconds, "nfe": nfe}
    (OUT / "seconds.json").write_text(json.dumps(measured, indent=1) + "\n")
    (OUT / "seconds.md").write_text(report(seconds, nfe))
    print((OUT / "seconds.md").read_text())


def report(seconds: dict[str, list[float]], nfe: dict[str, list[int]]) -> str:
    def ratio(base: str, name: str) -> list[float]:
        return sorted(a / b for a, b in zip(seconds[base], seconds[name], strict=True))

    lines = [
        f"{len(seconds['AR'])} pictures, one at a time. {in_words()}.",
        "",
        "| method | NFE | seconds a picture (median) | times faster than AR (median, smallest to largest) "
        "| times faster than `generate` (median) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in seconds:
        against = ratio("AR", name)
        lines.append(
            f"| {name} | {statistics.mean(nfe[name]):.1f} | {statistics.median(seconds[name]):.2f} | "
            f"{statistics.median(against):.2f} ({against[0]:.2f} to {against[-1]:.2f}) | "
            f"{statistics.median(ratio('generate, dynamic cache', name)):.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
