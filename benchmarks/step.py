"""What a step costs outside the model: target distribution, verification, coupling, noise, slide.

    python -m benchmarks.step [--window 64] [--codes 16384] [--rows 1] [--threads 2]

Decodes against a session whose logits are the sum of two table rows, one of the position and one of the token before,
so the seconds are those of the method and drafts are accepted and rejected as they change.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.methods import compared


class ReadySession:
    """Logits by position and previous token; costs no more than a sum."""

    def __init__(self, rows: int, codes: int, length: int, window: int) -> None:
        self.vocab_size = codes
        self.last_token = torch.zeros(rows, dtype=torch.long)
        self.last_position = torch.zeros(rows, dtype=torch.long)
        generator = torch.Generator().manual_seed(0)
        self.by_position = 2 * torch.randn(length + window, codes, generator=generator)
        self.by_token = 1.5 * torch.randn(256, codes, generator=generator)

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        return self.by_position[positions] + self.by_token[tokens % 256]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--codes", type=int, default=16384)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    session = ReadySession(args.rows, args.codes, args.length, args.window)
    print(f"window {args.window}, {args.codes} codes, {args.rows} row(s), {args.threads} thread(s), "
          f"torch {torch.__version__}")
    print("| method | tokens a step | ms a step outside the model (median of runs) |\n| --- | --- | --- |")
    for method in compared(args.window):
        cd.decode(session, args.length, method=method, seed=0)
        runs = [cd.decode(session, args.length, method=method, seed=0).trace for _ in range(args.repeat)]
        cost = statistics.median(1000 * trace.seconds_outside / trace.steps for trace in runs)
        print(f"| {method.name} | {args.length / runs[0].steps:.2f} | {cost:.2f} |")


if __name__ == "__main__":
    main()
