"""What the speed-up depends on: forwards against the entropy of the distributions that are drawn from.

    python -m benchmarks.entropy                # writes docs/figures/entropy.md

Pictures of the shipped model are sorted by the mean entropy of their own target distributions (which the decoded tokens
give in one forward) and cut into quarters. Counts, so the machine need not be quiet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.evaluation.bench.tables import markdown
from coupled_decoding.evaluation.metrics.entropy import mean_entropy
from data.prompts import prompts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--model", default="emoji")
    args = parser.parse_args(arguments)
    pipe, texts = cd.from_pretrained(args.model), prompts(args.pictures)
    rows = []
    for method in tqdm((cd.SJD(window=args.window), cd.SCD(window=args.window, coupling="maximal"))):
        nats, nfe = [], []
        for i in range(0, len(texts), args.batch):
            some = texts[i : i + args.batch]
            out = pipe(some, method=method, seed=i)
            nats.append(mean_entropy(pipe.model.session(some, 1.0, pipe.model.size), out.tokens))
            nfe.append(out.trace.nfe.double())
        order = torch.cat(nats).argsort()
        quarters = [(torch.cat(nats)[part].mean(), torch.cat(nfe)[part].mean()) for part in order.chunk(4)]
        rows.append([method.name, *(f"{entropy:.2f}, {pipe.layout.length / forwards:.2f}x"
                                    for entropy, forwards in quarters)])
    head = ["method", "least entropy: nats, AR / NFE", "second quarter", "third quarter", "most entropy"]
    page = (f"{args.pictures} pictures per method, window {args.window}, temperature 1, no guidance; AR takes "
            f"{pipe.layout.length} forwards. Quarters by the mean entropy of a picture's target distributions. "
            f"{pages.weights_in_words(pages.weights_of(args.model))}\n\n{markdown(head, rows)}\n")
    pages.publish("entropy", page)
    print(page)


if __name__ == "__main__":
    main()
