"""What is pinned: small decodes in float64 of every method and option, in groups, each with a name that can be read.

Of every row there is one line: the digest of its tokens, its forwards, and the tokens that these read. Windows that
tune themselves are left out, since they follow the machine's speed, and so are pixels, which are float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageSequence
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import coupled_decoding as cd

# Where internals are found: whoever moves one changes its line here.
from coupled_decoding.decoding.peers import GSD, PAC, Jacobi, ZipAR
from tests.conftest import write_tiny_doom, write_tiny_emoji
from tests.decoding.helpers import SCENARIOS, ChainSession  # the scenarios decode tabular sessions

SHIPPED = {name: Path(cd.__file__).parent / "pretrained" / name for name in ("emoji", "doom")}
TINY = {"tiny_emoji": write_tiny_emoji, "tiny_doom": write_tiny_doom}

Rows = list[str]
Group = Callable[[Any], Iterator[tuple[str, Rows]]]
"""Gives names of cases and what they decode to; it is called with the pipeline of its section, None if it has none."""


def write_tiny(section: str, folder: Path) -> Path:
    """The checkpoint of a section of :data:`TINY`, drawn in float64: in float32 not all processors draw the same."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return TINY[section](folder)
    finally:
        torch.set_default_dtype(before)


@cache
def pipeline(folder: Path) -> Any:
    return cd.from_pretrained(folder, dtype="float64")


def rows_of(tokens: Tensor, trace: cd.Trace, kinds: int | None = None) -> Rows:
    """``"digest forwards fed"`` of each row; with ``kinds``, of all rows of a kind together, which come in turns."""
    kinds = len(tokens) if kinds is None else kinds
    nfe, fed = trace.nfe, trace.fed.sum(0)
    return [f"{_digest(tokens[kind::kinds])} {int(nfe[kind::kinds].sum())} {int(fed[kind::kinds].sum())}"
            for kind in range(kinds)]


def _digest(tokens: Tensor) -> str:
    """The first digits of the SHA-256 of tokens ``[B, n]`` as text."""
    text = "\n".join(" ".join(map(str, row)) for row in tokens.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# -- methods -----------------------------------------------------------------------------------------------------------


def methods(*calls: tuple[Any, ...]) -> dict[str, cd.Method]:
    """Methods by name. A call is a class, its arguments, and at last a dict of keyword arguments where it has some."""
    made: dict[str, cd.Method] = {}
    for kind, *values in calls:
        options = values.pop() if values and isinstance(values[-1], dict) else {}
        words = [*map(str, values), *(f"{key}={value}" for key, value in options.items() if value)]
        made[f"{kind.__name__}({', '.join(words)})"] = kind(*values, **options)
    return made


def drafting(window: int, guesses: Sequence[str], branches: int = 4) -> dict[str, cd.Method]:
    """Every method of the package that drafts, with every first guess, with and without prediction and branches."""
    calls: list[tuple[Any, ...]] = []
    for guess in guesses:
        calls.append((cd.SJD, window, guess))
        for predict in (False, True):
            calls.append((cd.SCD, window, guess, {"coupling": "maximal", "predict": predict}))
            for beside in (0, branches):
                calls.append((cd.SCD, window, guess, {"coupling": "gumbel", "predict": predict, "branches": beside}))
                calls.append((cd.SeedExact, window, guess, {"predict": predict, "branches": beside}))
    return methods(*calls)


IN_A_PICTURE = ("uniform", "random", "repeat", "above")
IN_A_CLIP = (*IN_A_PICTURE, "previous-frame", "previous-frame-distribution")

PEERS = methods(
    (PAC,), (PAC, 5), (PAC, 8, "above", {"tree_width": 3, "tree_depth": 4}), (Jacobi, 5), (Jacobi, 8, "repeat"),
    (GSD, 5), (GSD, 8, "above", {"group": 4}), (GSD, 8, {"group": 1}), (ZipAR,), (ZipAR, 16, {"ahead": 1}),
    (ZipAR, 8, {"ahead": 2}),
)
SOME = methods(
    (cd.AR,), (cd.SJD, 5), (cd.SCD, 5), (cd.SCD, 4, "above", {"coupling": "maximal", "predict": True}),
    (cd.SCD, 6, "repeat", {"predict": True, "branches": 5}), (cd.SeedExact, 5, "random"),
    (cd.SeedExact, 6, {"predict": True, "branches": 6}),
)
MORE = SOME | methods(
    (cd.SCD,), (cd.SCD, 8, {"coupling": "maximal"}), (PAC, 5), (Jacobi, 5), (GSD, 5, {"group": 3}),
    (ZipAR, {"ahead": 2}),
)

SAMPLINGS = {
    "temperature 0": cd.Sampling(temperature=0), "temperature 0.7": cd.Sampling(temperature=0.7),
    "temperature 1.4": cd.Sampling(temperature=1.4), "top_k 5": cd.Sampling(top_k=5),
    "top_p 0.8": cd.Sampling(top_p=0.8), "all three": cd.Sampling(temperature=0.9, top_k=8, top_p=0.9),
}

# -- the method alone, on sessions whose logits come from tables -------------------------------------------------------


def scenario(name: str, _: object) -> Iterator[tuple[str, Rows]]:
    """Rows of several prompts, layouts and lengths in one batch; a line for all rows of a kind."""
    made = SCENARIOS[name]
    kinds = [made.kind_of(row) for row in range(8 * len(made.kinds))]
    given = [torch.tensor(kind.given, dtype=torch.long) for kind in kinds]
    tried = MORE | drafting(3, ("previous-frame", "previous-frame-distribution") if name == "clip" else ("above",))
    for sampling_name, sampling in {"": cd.Sampling(), ", top_k 2": cd.Sampling(temperature=0.8, top_k=2)}.items():
        for method_name, method in tried.items():
            decoded = cd.decode(
                made.session(len(kinds)), [kind.length for kind in kinds], method=method, sampling=sampling,
                layout=[kind.layout for kind in kinds], seed=5,
                given=given if any(kind.given for kind in kinds) else None,
            )
            yield method_name + sampling_name, rows_of(decoded.tokens, decoded.trace, len(made.kinds))


WIDE_CODES = torch.arange(10, 190)
WIDE_LAYOUTS = [
    cd.Layout.grid(height, width, WIDE_CODES, row_end=3, prefix=[1, 2], suffix=[0])
    for height, width in [(4, 5), (1, 1), (6, 2), (3, 8)]
]
WIDE_LENGTHS = [27, 5, 17, 30]  # the third ends before its grid does
WIDE_SEEDS = [11, 5, 2**63 - 1, 0]
WIDE = MORE | PEERS | drafting(16, ("uniform", "above"), 12)


def wide(_: object) -> Iterator[tuple[str, Rows]]:
    """180 codes in the middle of a vocabulary, in grids of several shapes with forced tokens around their rows."""
    for sampling_name, sampling in {"": cd.Sampling(), ", top_p 0.9": cd.Sampling(top_p=0.9)}.items():
        for method_name, method in WIDE.items():
            decoded = cd.decode(
                ChainSession(200, torch.tensor([0, 9, 4, 7]), torch.float64), WIDE_LENGTHS, method=method,
                sampling=sampling, layout=WIDE_LAYOUTS, seed=WIDE_SEEDS,
            )
            yield method_name + sampling_name, rows_of(decoded.tokens, decoded.trace)


def at_code(row: int, tokens: Tensor) -> int | None:
    """Ends a row with its first token below 6."""
    found = (tokens < 6).nonzero()
    return int(found[0]) + 1 if len(found) else None


def at_length(row: int, tokens: Tensor) -> int | None:
    """Ends each row at a length of its own, or with what is committed beyond it."""
    return len(tokens) if len(tokens) >= 7 + 9 * row else None


def stopping(_: object) -> Iterator[tuple[str, Rows]]:
    """Rows that end by themselves, and a decode that its listener stops."""
    for method_name, method in (SOME | drafting(8, ("uniform",))).items():
        session = ChainSession(60, torch.arange(4), torch.float64)
        for rule in (at_code, at_length):
            decoded = cd.decode(session, 40, method=method, seed=2, stop=rule)
            yield f"{method_name}, {rule.__name__}", rows_of(decoded.tokens, decoded.trace)
        decoded = cd.decode(session, 40, method=method, seed=2, on_step=lambda step: step.number < 5)
        yield f"{method_name}, five steps", rows_of(decoded.tokens, decoded.trace)


# -- pictures ----------------------------------------------------------------------------------------------------------

PROMPTS = ["a heart", "pizza", "a red heart on a blue ground"]


def pictures(window: int, guidance: float, pipe: Any) -> Iterator[tuple[str, Rows]]:
    """Three prompts of different lengths in one batch."""
    for name, method in (methods((cd.AR,)) | drafting(window, IN_A_PICTURE)).items():
        out = pipe(PROMPTS, method=method, guidance_scale=guidance, seed=7)
        yield name, rows_of(out.tokens, out.trace)


def pictures_of_peers(guidance: float, pipe: Any) -> Iterator[tuple[str, Rows]]:
    for name, method in PEERS.items():
        out = pipe(PROMPTS, method=method, guidance_scale=guidance, seed=7)
        yield name, rows_of(out.tokens, out.trace)


def sampled_pictures(guidance: float, samplings: Sequence[str], pipe: Any) -> Iterator[tuple[str, Rows]]:
    """One prompt alone, and what is cut from its distributions."""
    for sampling in samplings:
        for name, method in MORE.items():
            out = pipe("a heart", method=method, sampling=SAMPLINGS[sampling], guidance_scale=guidance, seed=3)
            yield f"{name}, {sampling}", rows_of(out.tokens, out.trace)


def seeded_pictures(pipe: Any) -> Iterator[tuple[str, Rows]]:
    for name, method in SOME.items():
        for seed in (0, 1, 123_456_789_012, 2**63 - 1):
            out = pipe("pizza", method=method, seed=seed)
            yield f"{name}, seed {seed}", rows_of(out.tokens, out.trace)
        out = pipe(PROMPTS, method=method, seed=[5, 900, 5])
        yield f"{name}, seeds of their own", rows_of(out.tokens, out.trace)


def many_pictures(batch: int, guidance: float, pipe: Any) -> Iterator[tuple[str, Rows]]:
    """Each with its number, as they are done."""
    prompts = [*PROMPTS, "a dog", "a cat"]
    for name, method in (SOME | methods((cd.SCD, 8), (PAC, 5))).items():
        many = pipe.generate_many(prompts, batch=batch, method=method, guidance_scale=guidance, seed=7)
        yield name, [f"{number}: {row}" for number, out in many for row in rows_of(out.tokens, out.trace)]


def continued_pictures(pipe: Any) -> Iterator[tuple[str, Rows]]:
    """From tokens that are known: as many of each picture, or not; several of a prompt; stopped on the way."""
    known = torch.arange(24).view(3, 8) % 7
    for name, method in (SOME | PEERS).items():
        for guidance in (1.0, 3.0):
            out = pipe(PROMPTS, method=method, guidance_scale=guidance, seed=4, given=known)
            yield f"{name}, 8 of 16, guidance {guidance:g}", rows_of(out.tokens, out.trace)
    for name, method in SOME.items():
        out = pipe(PROMPTS, method=method, seed=4, given=[known[0], known[1, :3], known[2, :0]])
        yield f"{name}, 8, 3 and none", rows_of(out.tokens, out.trace)
        out = pipe(PROMPTS[:2], method=method, seed=4, images_per_prompt=2)
        yield f"{name}, two of each", rows_of(out.tokens, out.trace)
        out = pipe(PROMPTS, method=method, seed=4, on_step=lambda step: step.number < 3)
        yield f"{name}, three steps", rows_of(out.tokens, out.trace)


# -- clips -------------------------------------------------------------------------------------------------------------


def context(shade: int, frames: int = 3) -> list[Image.Image]:
    return [Image.new("RGB", (16, 16), (shade, 50 * number, 90)) for number in range(frames)]


def clips(window: int, guesses: Sequence[str], pipe: Any) -> Iterator[tuple[str, Rows]]:
    """Two clips that go on from three frames each."""
    for name, method in (methods((cd.AR,)) | drafting(window, guesses)).items():
        out = pipe([context(10), context(200)], num_frames=6, method=method, seed=7)
        yield name, rows_of(out.tokens, out.trace)


def sampled_clips(pipe: Any) -> Iterator[tuple[str, Rows]]:
    for sampling_name, sampling in SAMPLINGS.items():
        for method_name, method in SOME.items():
            out = pipe(context(10), num_frames=5, method=method, sampling=sampling, seed=3)
            yield f"{method_name}, {sampling_name}", rows_of(out.tokens, out.trace)


def contexts(pipe: Any) -> Iterator[tuple[str, Rows]]:
    """Contexts of one frame to more than the model sees, clips of several lengths, and a clip gone on with."""
    tried = SOME | methods(
        (cd.SCD, 6, "previous-frame"), (cd.SeedExact, 6, "previous-frame-distribution"), (PAC, 5), (GSD, 5),
        (ZipAR, {"ahead": 1}),
    )
    for name, method in tried.items():
        for known, frames in [(1, 2), (1, 4), (2, 5), (5, 8)]:
            out = pipe(context(10, known), num_frames=frames, method=method, seed=0)
            yield f"{name}, {known} to {frames} frames", rows_of(out.all_tokens, out.trace)
        three = pipe([context(shade, 2) for shade in (10, 100, 200)], num_frames=4, method=method, seed=[9, 2, 9])
        yield f"{name}, three clips", rows_of(three.all_tokens, three.trace)
        out = pipe(context_tokens=three.all_tokens, num_frames=6, method=method, seed=1)
        yield f"{name}, three clips gone on with", rows_of(out.all_tokens, out.trace)
        out = pipe([context(10), context(200)], num_frames=5, method=method, seed=4, clips_per_context=2)
        yield f"{name}, two clips of each", rows_of(out.all_tokens, out.trace)


# -- transformers' generate --------------------------------------------------------------------------------------------

PAD = 39
INPUT_IDS = torch.tensor([[PAD, PAD, 1, 2, 3], [4, 5, 6, 7, 8], [PAD, 9, 10, 1, 2]])
ASKED: dict[str, dict[str, Any]] = {
    "sampled": {}, "greedy": {"do_sample": False}, "top_k": {"temperature": 0.8, "top_k": 6}, "top_p": {"top_p": 0.7},
    "ends": {"eos_token_id": [3, 17, 22], "repetition_penalty": 1.3}, "guided": {"guidance_scale": 2.5},
    "negative prompts": {
        "guidance_scale": 3.0, "negative_prompt_ids": torch.tensor([[PAD, 3], [4, 5], [6, 1]]),
        "negative_prompt_attention_mask": torch.tensor([[0, 1], [1, 1], [1, 1]]),
    },
    "two of each": {"num_return_sequences": 2},
}


@cache
def llama() -> Any:
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=PAD + 1, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, bos_token_id=None, eos_token_id=None, pad_token_id=PAD,
    )).double().eval()
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.25)
    return model


def generated(_: object) -> Iterator[tuple[str, Rows]]:
    """A batch padded on the left, on a random Llama, with what transformers may be asked for."""
    tried = methods(
        (cd.AR,), (cd.SJD, 8), (cd.SCD, 8), (cd.SCD, 5, "repeat", {"coupling": "maximal", "predict": True}),
        (cd.SeedExact, 8, "random", {"predict": True}), (Jacobi, 8), (GSD, 8),
    )
    for name, method in tried.items():
        for words, options in ASKED.items():
            out = llama().generate(
                input_ids=INPUT_IDS, attention_mask=(INPUT_IDS != PAD).long(), max_new_tokens=16,
                return_dict_in_generate=True, custom_generate=cd.generate_with(method, seed=5),
                **{"do_sample": True, **options},
            )
            yield f"{name}, {words}", rows_of(out.sequences, out.trace)


# -- the models that ship ----------------------------------------------------------------------------------------------

SHIPPED_METHODS = methods(
    (cd.AR,), (cd.SJD, 64), (cd.SCD,), (cd.SCD, 32, "above", {"coupling": "maximal"}),
    (cd.SCD, 32, {"predict": True, "branches": 32}), (cd.SeedExact, 16, "repeat"),
    (cd.SeedExact, 32, {"predict": True, "branches": 32}),
)
KNOWN = 12 * 16
"""Codes of a shipped model's picture that are given: all but the last four of its rows."""


@cache
def whole_picture(pipe: Any) -> Any:
    return pipe("a red heart", method=cd.SeedExact(64), guidance_scale=1.0, seed=7)


def shipped_pictures(pipe: Any) -> Iterator[tuple[str, Rows]]:
    """A whole picture, and its lower part again with each method."""
    whole = whole_picture(pipe)
    yield "SeedExact(64), whole", rows_of(whole.tokens, whole.trace)
    peers = methods((PAC, 32), (GSD, 32), (Jacobi, 32), (ZipAR, {"ahead": 3}))
    for name, method in (SHIPPED_METHODS | peers).items():
        out = pipe("a red heart", method=method, guidance_scale=1.0, seed=8, given=whole.tokens[:, :KNOWN])
        yield name, rows_of(out.tokens, out.trace)


def guided_shipped_pictures(pipe: Any) -> Iterator[tuple[str, Rows]]:
    """The lower part of two pictures at once, one of them begun for another prompt."""
    known = whole_picture(pipe).tokens[0, :KNOWN]
    for name in ("SCD(32, predict=True, branches=32)", "SeedExact(16, repeat)"):
        out = pipe(["a red heart", "a slice of pizza"], method=SHIPPED_METHODS[name], guidance_scale=3.0, seed=1,
                   sampling=cd.Sampling(top_k=100), given=[known, known[: KNOWN - 8]])
        yield name, rows_of(out.tokens, out.trace)


def shipped_clips(pipe: Any) -> Iterator[tuple[str, Rows]]:
    """Two frames after three of the examples."""
    arena, rooms = (example(name) for name in ("arena", "rooms"))
    tried = SHIPPED_METHODS | methods(
        (cd.SCD, 32, "previous-frame", {"predict": True, "branches": 32}),
        (cd.SCD, 128, "previous-frame-distribution"), (PAC, 32), (GSD, 32),
    )
    for name, method in tried.items():
        out = pipe(arena, num_frames=5, method=method, seed=8)
        yield name, rows_of(out.all_tokens, out.trace)
    for name in ("SCD()", "SCD(32, previous-frame, predict=True, branches=32)"):
        out = pipe([arena, rooms], num_frames=5, method=tried[name], sampling=cd.Sampling(top_p=0.95), seed=3)
        yield f"{name}, two clips, top_p 0.95", rows_of(out.all_tokens, out.trace)


def example(name: str) -> list[Image.Image]:
    """Its first three frames. Their codes stay the same where pixels change by a hundred times float32's precision."""
    with Image.open(SHIPPED["doom"] / "examples" / f"{name}.webp") as file:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(file)][:3]


# -- all of them -------------------------------------------------------------------------------------------------------

SECTIONS: dict[str, dict[str, Group]] = {
    "sessions": {
        **{f"tables, {name}": partial(scenario, name) for name in ("free", "grid", "legal", "clip", "given")},
        "many codes": wide,
        "rows that end": stopping,
    },
    "generate": {"random Llama": generated},
    "tiny_emoji": {
        **{f"window {window}, guidance {guidance}": partial(pictures, window, float(guidance))
           for window, guidance in [(2, 1), (5, 1), (5, 3), (16, 1), (16, 3)]},
        **{f"peers, guidance {guidance}": partial(pictures_of_peers, float(guidance)) for guidance in (1, 3)},
        "sampling": partial(sampled_pictures, 1.0, tuple(SAMPLINGS)),
        "sampling, guidance 3": partial(sampled_pictures, 3.0, ("temperature 0.7", "all three")),
        "seeds": seeded_pictures,
        "two at a time": partial(many_pictures, 2, 1.0),
        "three at a time, guidance 3": partial(many_pictures, 3, 3.0),
        "given tokens": continued_pictures,
    },
    "tiny_doom": {
        "window 3": partial(clips, 3, ("uniform", "previous-frame-distribution")),
        "window 8": partial(clips, 8, IN_A_CLIP),
        "sampling": sampled_clips,
        "contexts": contexts,
    },
    "emoji": {"pictures": shipped_pictures, "guidance 3": guided_shipped_pictures},
    "doom": {"clips": shipped_clips},
}
"""Groups by section. One file holds what was recorded of a section; one named as a model is decoded with it."""
