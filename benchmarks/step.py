"""What a step costs outside the model: target distribution, verification, coupling, noise, slide.

    python -m benchmarks.step                   # writes docs/figures/step.md

Against a session whose logits are the sum of two table rows, one of the position and one of the token before: seconds
are those of the method, and drafts are accepted and rejected as they change. Beside them a forward of as many tokens of
a random Llama of a billion parameters, and the shipped picture model decoding, whose steps are timed inside and
outside. float32, one row. Nothing else may run meanwhile.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.roofline import random_llama, seconds
from coupled_decoding.evaluation.bench.cases import compared
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.roofline import ModelSize
from coupled_decoding.evaluation.bench.tables import markdown

CODES, LENGTH = 16384, 256
BILLION = ModelSize("1B (Llama 3.2's shape)", 16, 2048, 8192, 32, 8, 64, codes=CODES)


class ReadySession(cd.SessionBase):
    """Logits by position and previous token; costs no more than a sum. It keeps no past, so branches are free too."""

    reads_branches = True

    def __init__(self, codes: int, length: int, window: int) -> None:
        self.vocab_size = codes
        self.last_token = torch.zeros(1, dtype=torch.long)
        self.last_position = torch.zeros(1, dtype=torch.long)
        generator = torch.Generator().manual_seed(0)
        self.by_position = 2 * torch.randn(length + window, codes, generator=generator)
        self.by_token = 1.5 * torch.randn(256, codes, generator=generator)

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        return self.by_position[positions] + self.by_token[tokens % 256]

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """Nothing is remembered."""


def measured(window: int) -> list[cd.Method]:
    half = window // 2
    return [*compared(window), cd.SeedExact(window, predict=True), cd.SeedExact(half, predict=True, branches=half)]


def named(method: cd.Method) -> str:
    own = asdict(method)
    branches = own.get("branches", 0)
    return method.name + ", predicted" * own.get("predict", False) + f", {branches} branch tokens" * (branches > 0)


def main() -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    forward = seconds(random_llama(BILLION), LENGTH, [args.window], args.repeat)[args.window]
    session, pipe = ReadySession(CODES, LENGTH, args.window), cd.from_pretrained("emoji")
    lines = [
        f"Tokens per forward: {args.window}. One row, float32, medians of {args.repeat} runs. {in_words()}. "
        f"{pages.weights_in_words(pages.weights_of('emoji'))}", "",
        f"{CODES} codes, beside a forward of a {BILLION.name} that takes {1000 * forward:.0f} ms:", "",
        table(args.window, args.repeat, lambda method: cd.decode(session, LENGTH, method=method, seed=0).trace,
              lambda _: forward),
        "", f"The shipped picture model, {pipe.layout.codes.numel()} codes, beside its own forwards:", "",
        table(args.window, args.repeat, lambda method: pipe("a red heart", method=method, seed=0).trace,
              lambda trace: trace.seconds_model / trace.steps),
    ]
    pages.publish("step", "\n".join(lines) + "\n")
    print("\n".join(lines))


def table(
    window: int, repeat: int, decode: Callable[[cd.Method], cd.Trace], forward: Callable[[cd.Trace], float]
) -> str:
    """A line per method; ``forward`` says how many seconds a forward took."""
    rows = []
    for method in measured(window):
        decode(method)
        runs = [decode(method) for _ in range(repeat)]
        cost = statistics.median(trace.seconds_outside / trace.steps for trace in runs)
        share = statistics.median(trace.seconds_outside / trace.steps / forward(trace) for trace in runs)
        tokens = int(runs[0].committed.sum()) / runs[0].steps
        rows.append([named(method), f"{tokens:.2f}", f"{1000 * cost:.2f}", f"{share:.1%}"])
    return markdown(["method", "tokens per step", "ms per step outside the model", "share of a forward"], rows)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
