"""What a step costs at least, by model and device, and what speed-up that leaves of forwards saved.

    python -m benchmarks.roofline               # writes docs/figures/roofline.md and docs/images/roofline.png

Bounds by arithmetic alone (coupled_decoding.evaluation.bench.roofline), with as many forwards as were measured on the
shipped models (docs/figures: nfe, drafts, video_nfe). Then the same bound for this machine, from its own bandwidth and
peak, beside forwards measured here: nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.figures import save_figure
from coupled_decoding.evaluation.bench.kept import write_text
from coupled_decoding.evaluation.bench.machine import in_words
from coupled_decoding.evaluation.bench.roofline import (
    DEVICES,
    Device,
    Size,
    arithmetic,
    bytes_moved,
    free_window,
    least_seconds,
    speedup_left,
)
from coupled_decoding.extras import require_extra
from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession

FIGURES, IMAGES = Path("docs/figures"), Path("docs/images")
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHIPPED = Size("shipped emoji", 8, 256, 768, 4, 4, 64, codes=512)
SIZES = {
    SHIPPED: 140,
    Size("1B (Llama 3.2's shape)", 16, 2048, 8192, 32, 8, 64, codes=16384, rows=2): 300,
    Size("Janus-Pro-7B", 30, 4096, 11008, 32, 32, 128, codes=16384, rows=2): 300,
    Size("Lumina-mGPT-7B", 32, 4096, 11008, 32, 32, 128, codes=8192, rows=2): 1200,
    Size("Emu3-8B", 32, 4096, 14336, 32, 8, 128, codes=32768, rows=2): 4100,
    Size("Cosmos-1 4B", 16, 4096, 14336, 32, 8, 128, codes=64000): 8960,
}
"""And the tokens of past halfway through one picture or clip. Two rows where the published default is guidance."""
FLOAT32 = 4
METHOD = {"method": "SCD-gumbel", "first_guess": "uniform"}
LATER_OPTIONS = ("predict", "branches")


def fewer_forwards(*names: str) -> dict[int, float]:
    """How many times fewer forwards than AR the method took at each window, of the figures of these names.

    Where a window was measured several times, over the most pictures or clips.
    """
    found: dict[int, tuple[int, float]] = {}
    for path in (FIGURES / f"{name}.json" for name in names):
        for name, row in (json.loads(path.read_text()) if path.exists() else {}).items():
            case = json.loads(name)
            plain = case.get("guidance", 1) == 1 and case.get("top_p") is None
            if plain and case.items() >= METHOD.items() and not any(case.get(option) for option in LATER_OPTIONS):
                items = case.get("pictures", case.get("clips", 0))
                found[case["window"]] = max(found.get(case["window"], (0, 0.0)), (items, row["ratio"]))
    return {window: ratio for window, (_, ratio) in sorted(found.items())}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16, help="of the random Llama, 12.8 million parameters each")
    parser.add_argument("--most", type=int, default=128, help="tokens a forward of those measured here, up to 128")
    parser.add_argument("--repeat", type=int, default=15)
    args = parser.parse_args(arguments)
    require_extra("matplotlib", "plot", "the plot")
    here = Device("this machine", bandwidth(args.repeat), peak(args.repeat))
    tokens = [count for count in TOKENS if count <= args.most]
    past = SIZES[SHIPPED]
    random = llama_of(args.layers)
    models = {SHIPPED: cd.from_pretrained("emoji").model.backbone, random: random_llama(random)}
    measured = {size: seconds(backbone, past, tokens, args.repeat) for size, backbone in models.items()}
    write_text(FIGURES / "roofline.md", "\n".join([*bounds(), *speedups(), *check(here, measured)]) + "\n")
    plot(IMAGES / "roofline.png")
    print((FIGURES / "roofline.md").read_text())


def bounds() -> Iterator[str]:
    yield ("What a step of T tokens costs at least, in bfloat16, halfway through one picture or clip (with guidance "
           "two rows): milliseconds for one token, then times as much. Up to the free window a step is bound by "
           "memory: further tokens cost hardly anything.")
    yield from ("", _line(["model", "device", "1 token", *(f"T = {count}" for count in TOKENS[1:]), "free window"]),
                "| --- " * (2 + len(TOKENS) + 1) + "|")
    for size, past in SIZES.items():
        for device in DEVICES:
            least = [least_seconds(size, device, count, past, size.rows) for count in TOKENS]
            factors = (f"{one / least[0]:.2f}" for one in least[1:])
            free = free_window(size, device, past, size.rows)
            yield _line([size.name, device.name, f"{1000 * least[0]:.3g} ms", *factors, str(free)])
    yield ""


def speedups() -> Iterator[str]:
    """What is left of measured counts, where a step costs what it must."""
    for what, names in (("pictures of the shipped emoji model", ("nfe", "drafts")),
                        ("clips of the shipped video model", ("video_nfe",))):
        fewer = fewer_forwards(*names)
        if fewer:
            yield (f"Times faster than AR where each step costs its bound, for as few forwards as {METHOD['method']} "
                   f"takes on {what} ({', '.join(f'{ratio:.2f}x at {window}' for window, ratio in fewer.items())}):")
            yield from ("", _line(["model", "device", *(f"window {window}" for window in fewer)]),
                        "| --- " * (2 + len(fewer)) + "|")
            for size, past in SIZES.items():
                for device in DEVICES:
                    left = (speedup_left(size, device, *one, past, size.rows) for one in fewer.items())
                    yield _line([size.name, device.name, *(f"{one:.2f}x" for one in left)])
            yield ""


def check(here: Device, measured: Mapping[Size, Mapping[int, float]]) -> Iterator[str]:
    """The bound of this machine beside what forwards took."""
    yield (f"Measured in float32: {in_words()}. It moves {here.bandwidth / 1e9:.1f} GB a second (copying) and "
           f"computes {here.peak / 1e9:.0f} GFLOPS (multiplying matrices). Milliseconds of a forward, and how many "
           "times its bound that is. A bound by memory can be beaten where weights stay in the processor's cache.")
    counts = [*next(iter(measured.values()))]
    yield from ("", _line(["model", *(f"T = {count}" for count in counts)]), "| --- " * (1 + len(counts)) + "|")
    for size, took in measured.items():
        least = {count: least_seconds(size, here, count, SIZES[SHIPPED], width=FLOAT32) for count in counts}
        yield _line([size.name, *(f"{1000 * took[count]:.1f} ({took[count] / least[count]:.1f})" for count in counts)])
        limits = ("memory" if bytes_moved(size, count, SIZES[SHIPPED], width=FLOAT32) / here.bandwidth
                  >= arithmetic(size, count, SIZES[SHIPPED]) / here.peak else "arithmetic" for count in counts)
        yield _line(["bound by", *limits])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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


def llama_of(layers: int) -> Size:
    return Size(f"random Llama, {12.8 * layers:.0f} million", layers, 1024, 2816, 16, 16, 64, codes=512)


def random_llama(size: Size) -> CausalLM:
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

    return {count: statistics.median(times(lambda count=count: forward(count), repeat)) for count in tokens}


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
        axis.set(xlabel="tokens a forward", title=device.name)
    figure.axes[0].set_ylabel("least cost, in forwards of one token")
    figure.axes[0].legend(fontsize=7)
    save_figure(figure, path)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
