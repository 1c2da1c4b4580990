"""Where the time of a forward of the shipped picture model goes on this machine, and how short it would have to be.

    python -m benchmarks.forward                # writes docs/figures/forward.md; after benchmarks.seconds

Milliseconds of its matrix products alone, of its attention alone, and of the whole forward, as it is and compiled,
beside the roofline's bound; then what a step took in docs/figures/seconds.json, and what it might take for three times
the speed of transformers' ``generate``. Nothing else may run meanwhile.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks import pages
from benchmarks.roofline import FLOAT32, SHIPPED, SIZES, bandwidth, peak, seconds, shipped_backbone, times
from benchmarks.timed import Results
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.roofline import Device, least_seconds
from coupled_decoding.evaluation.bench.tables import markdown

TOKENS = (1, 8, 16, 32, 64)
PAST = SIZES[SHIPPED]
WISH = 3
"""Times the speed of ``generate``."""
GENERATE = "generate, dynamic cache"


def main() -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=30)
    args = parser.parse_args()
    here = Device("this machine", bandwidth(args.repeat), peak(args.repeat))
    backbone = shipped_backbone()
    took = {
        "bound": {count: least_seconds(SHIPPED, here, count, PAST, width=FLOAT32) for count in TOKENS},
        "matrix products alone": {count: products(backbone.decoder, count, args.repeat) for count in TOKENS},
        "attention alone": {count: attention(count, args.repeat) for count in TOKENS},
        "forward": seconds(backbone, PAST, TOKENS, args.repeat),
    }
    backbone.compile()
    took["forward, compiled"] = seconds(backbone, PAST, TOKENS, args.repeat)
    kept = Results.read(pages.FIGURES / "seconds.json")
    lines = [
        f"Milliseconds, medians of {args.repeat} runs, float32, behind {PAST} tokens of past. {in_words()}. It moves "
        f"{here.bandwidth / 1e9:.1f} GB a second and computes {here.peak / 1e9:.0f} GFLOPS. "
        f"{pages.weights_in_words(pages.weights_of('emoji'))}", "",
        markdown(["", *(f"T = {count}" for count in TOKENS)],
                 ([name, *(f"{1000 * of_part[count]:.2f}" for count in TOKENS)] for name, of_part in took.items())),
        "", f"Milliseconds per step of whole pictures (docs/figures/seconds.md), and how many it may take for {WISH} "
        "times the speed of `generate`:", "", allowed(kept.seconds, kept.nfe),
    ]
    pages.publish("forward", "\n".join(lines) + "\n")
    print("\n".join(lines))


def products(decoder: nn.Module, count: int, repeat: int) -> float:
    """Median seconds of all linear layers, one after the other, of ``count`` tokens."""
    layers = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
    inputs = {width: torch.rand(1, count, width) for width in {layer.in_features for layer in layers}}
    return statistics.median(times(lambda: [layer(inputs[layer.in_features]) for layer in layers], repeat))


def attention(count: int, repeat: int) -> float:
    """Median seconds of the attention of all layers, of ``count`` tokens behind the past."""
    query = torch.rand(1, SHIPPED.heads, count, SHIPPED.head_dim)
    # laid out as in the cache
    keys, values = torch.rand(2, 1, PAST + count, SHIPPED.key_heads, SHIPPED.head_dim).transpose(2, 3)
    mask = torch.arange(PAST + count) <= torch.arange(PAST, PAST + count).view(1, 1, -1, 1)
    return statistics.median(times(
        lambda: [scaled_dot_product_attention(query, keys, values, mask) for _ in range(SHIPPED.layers)], repeat))


def allowed(took: Mapping[str, Sequence[float]], nfe: Mapping[str, Sequence[int]]) -> str:
    """A line per method, by its seconds per picture and its forwards."""
    rows = []
    base = statistics.median(took[GENERATE])
    for name, values in took.items():
        steps = statistics.mean(nfe[name])
        rows.append([name, f"{steps:.1f}", f"{1000 * statistics.median(values) / steps:.1f}",
                     f"{1000 * base / WISH / steps:.1f}"])
    return markdown(["method", "NFE", "ms per step", f"ms per step for {WISH}x"], rows)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
