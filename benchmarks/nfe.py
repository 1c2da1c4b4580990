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
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks.machine import describe
from benchmarks.prompts import prompts

OUT = Path("docs/figures")


def cases(window: int) -> list[tuple[cd.Method, float]]:
    def four(first_guess: str) -> list[cd.Method]:
        return [
            cd.SJD(window=window, first_guess=first_guess),
            cd.SCD(window=window, first_guess=first_guess, coupling="maximal"),
            cd.SCD(window=window, first_guess=first_guess, coupling="gumbel"),
            cd.SeedExact(window=window, first_guess=first_guess),
        ]

    main = [(method, scale) for scale in (1.0, 3.0) for guess in ("random", "uniform") for method in four(guess)]
    copies = [(cd.SCD(window=window, first_guess=guess), 1.0) for guess in ("repeat", "above")]
    return main + copies


def summary(trace: cd.Trace, length: int) -> dict[str, float]:
    """Means over pictures, with the standard error of the mean NFE."""
    nfe = trace.nfe.double()
    active = trace.committed > 0
    behind = trace.pending > 0
    return {
        "nfe": nfe.mean().item(),
        "nfe_error": (nfe.std() / len(nfe) ** 0.5).item() if len(nfe) > 1 else 0.0,
        "ratio": length / nfe.mean().item(),
        "single": (trace.committed == 1).sum().item() / active.sum().item(),
        "changed": (trace.changed[behind] / trace.pending[behind]).mean().item(),
    }


def key(method: cd.Method, scale: float) -> str:
    return json.dumps({"method": method.name, **asdict(method), "guidance": scale}, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    pipe = cd.from_pretrained("emoji")
    texts = prompts(args.pictures)
    OUT.mkdir(parents=True, exist_ok=True)
    store = OUT / "nfe.json"
    results = json.loads(store.read_text()) if store.exists() else {}
    for method, scale in tqdm(cases(args.window), desc="methods"):
        if key(method, scale) in results:
            continue
        traces = [
            pipe(texts[i : i + args.batch], method=method, guidance_scale=scale, seed=args.seed + i).trace
            for i in range(0, len(texts), args.batch)
        ]
        results[key(method, scale)] = summary(joined(traces), pipe.layout.length)
        partial = store.with_suffix(".partial")
        partial.write_text(json.dumps(results, indent=1) + "\n")
        partial.replace(store)
    (OUT / "nfe.md").write_text(table(results, len(texts), pipe.layout.length))
    print((OUT / "nfe.md").read_text())


def joined(traces: list[cd.Trace]) -> cd.Trace:
    """One trace over the rows of all; batches stop at different steps."""
    whole = cd.Trace(sum(trace.rows for trace in traces))
    for step in range(max(trace.steps for trace in traces)):
        counts: list[list[int]] = []
        for name in ("committed", "changed", "pending"):
            rows = [getattr(t, name)[step].tolist() if step < t.steps else [0] * t.rows for t in traces]
            counts.append([count for row in rows for count in row])
        whole.record(list(range(whole.rows)), *counts)
    return whole


def table(results: dict[str, dict[str, float]], pictures: int, length: int) -> str:
    machine = describe()
    lines = [
        f"{pictures} pictures, one for each prompt of benchmarks/prompts.json; {length} tokens a picture, so AR takes "
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
