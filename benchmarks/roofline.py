"""What a step costs at least, by model and device, and what speed-up that leaves of forwards saved.

    python -m benchmarks.roofline               # writes docs/figures/roofline.md and docs/images/roofline.png

Bounds by arithmetic alone (coupled_decoding.evaluation.bench.roofline), with as many forwards as were measured on the
shipped models (docs/figures: nfe, drafts, video_nfe). Then the same bound for this machine, from its own bandwidth and
peak, beside forwards measured here: nothing else may run meanwhile.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.plots import save_figure
from coupled_decoding.evaluation.bench.roofline import (
    DEVICES,
    Device,
    ModelSize,
    arithmetic,
    bytes_moved,
    free_window,
    least_seconds,
    speedup_left,
)
from coupled_decoding.evaluation.bench.tables import markdown
from coupled_decoding.extras import require_extra
from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHIPPED = ModelSize("shipped emoji", 8, 256, 768, 4, 4, 64, codes=512)
SIZES = {
    SHIPPED: 140,
    ModelSize("1B (Llama 3.2's shape)", 16, 2048, 8192, 32, 8, 64, codes=16384, rows=2): 300,
    ModelSize("Janus-Pro-7B", 30, 4096, 11008, 32, 32, 128, codes=16384, rows=2): 300,
    ModelSize("Lumina-mGPT-7B", 32, 4096, 11008, 32, 32, 128, codes=8192, rows=2): 1200,
    ModelSize("Emu3-8B", 32, 4096, 14336, 32, 8, 128, codes=32768, rows=2): 4100,
    ModelSize("Cosmos-1 4B", 16, 4096, 14336, 32, 8, 128, codes=64000): 8960,
}
"""And the tokens of past halfway through one picture or clip. Two rows where the published default is guidance."""
FLOAT32 = 4
METHOD = {"method": "SCD-gumbel", "first_guess": "uniform", "predict": False, "branches": 0}
FIGURES_OF = {
    "pictures of the shipped emoji model": ("emoji", ("nfe", "drafts")),
    "clips of the shipped video model": ("doom", ("video_nfe",)),
}
"""In words, and where forwards were counted: the model, and the names of figures."""


def fewer_forwards(model: str, *names: str) -> dict[int, float]:
    """How many times fewer forwards than AR the method took at each window, of the figures of these names.

    Where a window was measured several times, over the most pictures or clips.

    Args:
        model: digest of the weights; what was measured on others does not count.
    """
    found: dict[int, tuple[int, float]] = {}
    for name, counts in (kept for figure in names for kept in Kept(pages.FIGURES / f"{figure}.json").results.items()):
        case = json.loads(name)
        plain = case["guidance"] in (1, None) and case["top_p"] is None and case["model"] == model
        if plain and case.items() >= METHOD.items():
            items = case.get("pictures", case.get("clips"))
            found[case["window"]] = max(found.get(case["window"], (0, 0.0)), (items, counts["ratio"]))
    return {window: ratio for window, (_, ratio) in sorted(found.items())}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--layers", type=int, default=16, help="of the random Llama, 12.8 million parameters each")
    parser.add_argument("--most", type=int, default=128, help="tokens per forward of those measured here, up to 128")
    parser.add_argument("--repeat", type=int, default=15)
    args = parser.parse_args(arguments)
    require_extra("matplotlib", "plot", "the plot")
    here = Device("this machine", bandwidth(args.repeat), peak(args.repeat))
    tokens = [count for count in TOKENS if count <= args.most]
    past = SIZES[SHIPPED]
    random = llama_of(args.layers)
    models = {SHIPPED: shipped_backbone(), random: random_llama(random)}
    measured = {size: seconds(backbone, past, tokens, args.repeat) for size, backbone in models.items()}
    weights = pages.weights_of("emoji", "doom")
    parts = [*bounds(), *speedups(weights), *check(here, measured), pages.weights_in_words(weights)]
    page = "\n\n".join(parts) + "\n"
    pages.publish("roofline", page)
    plot(pages.IMAGES / "roofline.png")
    print(page)


def bounds() -> Iterator[str]:
    yield ("What a step of T tokens costs at least, in bfloat16, halfway through one picture or clip (with guidance "
           "two rows): milliseconds for one token, then times as much. Up to the free window a step is bound by "
           "memory: further tokens cost hardly anything.")
    rows = []
    for size, past in SIZES.items():
        for device in DEVICES:
            least = [least_seconds(size, device, count, past, size.rows) for count in TOKENS]
            factors = (f"{one / least[0]:.2f}" for one in least[1:])
            free = free_window(size, device, past, size.rows)
            rows.append([size.name, device.name, f"{1000 * least[0]:.3g} ms", *factors, str(free)])
    yield markdown(["model", "device", "1 token", *(f"T = {count}" for count in TOKENS[1:]), "free window"], rows)


def speedups(weights: Mapping[str, str]) -> Iterator[str]:
    """What is left of counts measured on these weights, where a step costs what it must."""
    for what, (model, names) in FIGURES_OF.items():
        fewer = fewer_forwards(weights[model], *names)
        if fewer:
            yield (f"Times faster than AR where each step costs its bound, for as few forwards as {METHOD['method']} "
                   f"takes on {what} ({', '.join(f'{ratio:.2f}x at {window}' for window, ratio in fewer.items())}):")
            rows = []
            for size, past in SIZES.items():
                for device in DEVICES:
                    left = (speedup_left(size, device, *one, past, size.rows) for one in fewer.items())
                    rows.append([size.name, device.name, *(f"{one:.2f}x" for one in left)])
            yield markdown(["model", "device", *(f"window {window}" for window in fewer)], rows)


def check(here: Device, measured: Mapping[ModelSize, Mapping[int, float]]) -> Iterator[str]:
    """The bound of this machine beside what forwards took."""
    yield (f"Measured in float32: {in_words()}. It moves {here.bandwidth / 1e9:.1f} GB a second (copying) and "
           f"computes {here.peak / 1e9:.0f} GFLOPS (multiplying matrices). Milliseconds of a forward, and how many "
           "times its bound that is. A bound by memory can be beaten where weights stay in the processor's cache.")
    counts, past, rows = [*next(iter(measured.values()))], SIZES[SHIPPED], []
    for size, took in measured.items():
        least = {count: least_seconds(size, here, count, past, width=FLOAT32) for count in counts}
        rows.append([size.name, *(f"{1000 * took[count]:.1f} ({took[count] / least[count]:.1f})" for count in counts)])
        limits = ("memory" if bytes_moved(size, count, past, width=FLOAT32) / here.bandwidth
                  >= arithmetic(size, count, past) / here.peak else "arithmetic" for count in counts)
        rows.append(["bound by", *limits])
    yield markdown(["model", *(f"T = {count}" for count in counts)], rows)


def fastest(run: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of some runs."""
    return min(times(run, repeat))


def times(run: Callable[[], object], repeat: int) -> list[float]:
    """Seconds of each of some runs, after one that warms up."""
    run()
    took = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return took


def bandwidth(repeat: int, numbers: int = 2**25) -> float:
    """Bytes a second of a copy far larger than caches, each number read and written."""
    source = torch.ones(numbers)
    target = torch.empty_like(source)
    return 2 * FLOAT32 * numbers / fastest(lambda: target.copy_(source), repeat)


def peak(repeat: int, width: int = 1024) -> float:
    """Operations a second of a product of float32 matrices."""
    one = torch.rand(width, width)
    out = torch.empty_like(one)
    return 2 * width**3 / fastest(lambda: torch.mm(one, one, out=out), repeat)


def shipped_backbone() -> Backbone:
    """The transformer of the shipped picture model."""
    return cd.from_pretrained("emoji").model.backbone


def llama_of(layers: int) -> ModelSize:
    return ModelSize(f"random Llama, {12.8 * layers:.0f} million", layers, 1024, 2816, 16, 16, 64, codes=512)


def random_llama(size: ModelSize) -> CausalLM:
    """A model without training."""
    config = LlamaConfig(
        vocab_size=size.codes, hidden_size=size.hidden, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.key_heads, head_dim=size.head_dim,
    )
    with no_init_weights():  # transformers' own takes minutes for a billion
        model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():  # pages that were never written to are read at no cost
        torch.nn.init.uniform_(weight, -0.02, 0.02)
    return CausalLM(model)


def seconds(backbone: Backbone, past: int, tokens: Sequence[int], repeat: int) -> dict[int, float]:
    """Median seconds of a forward of each number of tokens of one row behind ``past``."""
    session = TransformersSession(backbone, [[0]], past + max(tokens))

    def forward(count: int) -> None:
        session.forward(torch.zeros(1, count, dtype=torch.long), torch.arange(past, past + count).unsqueeze(0))

    return {count: statistics.median(times(partial(forward, count), repeat)) for count in tokens}


def plot(path: Path) -> None:
    """A step's least cost against its tokens, relative to one token."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8))
    for axis, device in zip(figure.subplots(1, len(DEVICES), sharey=True), DEVICES, strict=True):
        for size, past in SIZES.items():
            least = [least_seconds(size, device, count, past, size.rows) for count in TOKENS]
            axis.plot(TOKENS, [one / least[0] for one in least], marker="o", markersize=3, label=size.name)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(TOKENS, [str(count) for count in TOKENS])
        axis.set(xlabel="tokens per forward", title=device.name)
    figure.axes[0].set_ylabel("least cost, in forwards of one token")
    figure.axes[0].legend(fontsize=7)
    save_figure(figure, path)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
