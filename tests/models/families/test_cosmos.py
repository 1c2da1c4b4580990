"""Cosmos-1 at tiny random weights in the published layout; against the decoder written down once more."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner

import coupled_decoding as cd
from coupled_decoding.apps.cli import app
from coupled_decoding.models.families import cosmos
from coupled_decoding.models.networks.cosmos_transformer import CosmosTransformer
from tests.models.families.helpers import (
    METHODS,
    P_VALUE,
    assert_legal,
    published,
    shapes,
    two_sample_p_value,
    write_tokenizer,
)

SHAPE, CODES, LAYERS, HEAD, HEADS, GROUPS = (3, 2, 3), 24, 2, 16, 4, 2
PLACES, TEXT_WIDTH, STRETCHED_WIDTH = 10, 12, 40
GRID = SHAPE[1] * SHAPE[2]
SIZE = (16 * SHAPE[2], 16 * SHAPE[1])
WIDTHS = {"4b": 64, "5b": 64, "12b": STRETCHED_WIDTH, "13b": STRETCHED_WIDTH}
TEXTS = {"4b": False, "5b": True, "12b": False, "13b": True}
TOKENIZER = "Cosmos-1.0-Tokenizer-DV8x16x16"


@pytest.fixture(autouse=True)
def small_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosmos, "SHAPE", SHAPE)
    monkeypatch.setattr(cosmos, "TEXT_PLACES", PLACES)
    monkeypatch.setattr(cosmos, "STRETCHED_WIDTH", STRETCHED_WIDTH)


def tensors_of(variant: str) -> dict[str, Tensor]:
    width, inner, generator = WIDTHS[variant], 48, torch.Generator().manual_seed(0)
    attention = {
        "wq": (HEADS * HEAD, width), "wk": (GROUPS * HEAD, width), "wv": (GROUPS * HEAD, width),
        "wo": (width, HEADS * HEAD), "q_norm": (HEAD,), "k_norm": (HEAD,),
    }
    layer = {f"attention.{name}": size for name, size in attention.items()}
    layer |= {"attention_norm": (width,), "ffn_norm": (width,), "feed_forward.w1": (inner, width),
              "feed_forward.w2": (width, inner), "feed_forward.w3": (inner, width)}
    if TEXTS[variant]:
        reading = {**attention, "wk": (GROUPS * HEAD, TEXT_WIDTH), "wv": (GROUPS * HEAD, TEXT_WIDTH)}
        layer |= {f"cross_attention.{name}": size for name, size in reading.items()}
        layer |= {"cross_attention_norm": (width,)}
    sizes: dict[str, tuple[int, ...]] = {
        "tok_embeddings": (CODES + 8 * TEXTS[variant], width),
        **{f"layers.{i}.{name}": size for i in range(LAYERS) for name, size in layer.items()},
        "norm": (width,), "output": (CODES, width),
    }
    scales = {"tok_embeddings": 1.5, "output": 0.15}  # what is drawn hangs on what was drawn, and varies
    return {f"{name}.weight": scales.get(name, 0.3) * torch.randn(size, generator=generator) + name.endswith("norm")
            for name, size in sizes.items()}


class Encoder(nn.Module):
    """Grey levels of blocks, called as the published encoder: codes first, then what stands for them, then a loss."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block, self.scale = block, nn.Parameter(torch.ones(()))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grey = (pixels * self.scale).mean(1)
        blocks = grey.unflatten(2, (-1, self.block)).unflatten(4, (-1, self.block)).mean((3, 5))
        levels = torch.cat([blocks[:, :1], blocks[:, 1:].unflatten(1, (-1, 8)).mean(2)], 1)
        codes = ((levels + 1) / 2 * CODES).floor().clamp(0, CODES - 1).to(torch.int32)
        return codes, levels.unsqueeze(1), torch.zeros(1)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, codes: Tensor) -> Tensor:
        levels = ((codes.float() + 0.5) / CODES * 2 - 1).to(self.scale.dtype) * self.scale
        frames = torch.cat([levels[:, :1], levels[:, 1:].repeat_interleave(8, 1)], 1)
        return frames.repeat_interleave(16, 2).repeat_interleave(16, 3).unsqueeze(1).expand(-1, 3, -1, -1, -1)


def write_programs(folder: Path, block: int = 16) -> None:
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Encoder(block), torch.zeros(1, 3, 17, 32, 48)), folder / "encoder.jit")
        torch.jit.save(torch.jit.trace(Decoder(), torch.zeros(1, 3, 2, 3, dtype=torch.long)), folder / "decoder.jit")


def write_t5(folder: Path) -> None:
    """All of a T5, as published; its decoder is not read."""
    torch.manual_seed(3)
    config = T5Config(vocab_size=128, d_model=TEXT_WIDTH, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    torch.save(T5ForConditionalGeneration(config).state_dict(), folder / "pytorch_model.bin")
    write_tokenizer(folder / "tokenizer.json", ["<pad>", "</s>"])


def write(folder: Path, variant: str) -> None:
    """4B and 13B as their training saves them, with a prefix; what we do not read is there too."""
    folder.mkdir(parents=True)
    prefix = "model." if variant in ("4b", "13b") else ""
    tensors: dict[str, Any] = {f"{prefix}{name}": tensor for name, tensor in tensors_of(variant).items()}
    tensors[f"{prefix}layers.0.attention._extra_state"] = torch.zeros(3)
    torch.save({"model": tensors} if prefix else tensors, folder / "model.pt")
    (folder / "config.json").write_text("{}")
    write_programs(folder.parent / TOKENIZER if variant == "4b" else folder / TOKENIZER)
    if TEXTS[variant]:
        write_t5(folder / "t5")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cosmos")
    for variant in WIDTHS:
        write(path / variant / f"Cosmos-{variant}", variant)
    return path


@pytest.fixture(params=WIDTHS)
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def load(checkpoints: Path, variant: str, **options: Any) -> Any:
    return cd.from_pretrained(checkpoints / variant / f"Cosmos-{variant}", **{"allow_torchscript": True, **options})


def contexts(rows: int, frames: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(CODES, (rows, GRID * (1 + (frames - 1) // 8)), generator=generator)


def prompts_of(variant: str, rows: int) -> list[str] | None:
    return ["a cat", "a heart", "rain"][:rows] if TEXTS[variant] else None


def plain_angles(stretched: bool) -> Tensor:
    side = HEAD // 6 * 2
    shares, rows = (HEAD - 2 * side, side, side), []
    for place in range(math.prod(SHAPE)):
        at = (place // GRID, place % GRID // SHAPE[2], place % SHAPE[2])
        angles: list[float] = []
        for where, share, trained in zip(at, shares, (3, 40, 40), strict=True):
            for i in range(share // 2):
                pace = 500000 ** (-2 * i / share)
                if stretched:
                    low, high = 2 * math.pi / trained, 8 * math.pi / trained
                    kept = min(1.0, max(0.0, (pace - low) / (high - low)))
                    pace *= (1 - kept) / 2 + kept
                angles.append(where * pace)
        rows.append(angles)
    return torch.tensor(rows)


def plain_places(width: int) -> Tensor:
    side = width // 6 * 2
    shares, rows = (width - 2 * side, side, side), []
    for place in range(math.prod(SHAPE)):
        at = (place // GRID, place % GRID // SHAPE[2], place % SHAPE[2])
        row: list[float] = []
        for where, share in zip(at, shares, strict=True):
            angles = [where / 10000 ** (2 * i / share) for i in range(share // 2)]
            row += [*map(math.sin, angles), *map(math.cos, angles)]
        rows.append(row)
    return torch.tensor(rows).bfloat16().float()


def plain_logits(t: dict[str, Tensor], tokens: Tensor, text: Tensor | None, stretched: bool) -> Tensor:
    """The decoder written down once more, reading a clip at once: logits after every token, ``[T, CODES]``."""
    if text is not None:
        tokens = torch.cat([torch.tensor([CODES]), tokens])
        text = torch.cat([text, torch.zeros(PLACES - len(text), text.shape[1])])
    x = t["tok_embeddings.weight"][tokens]
    length, lead = len(tokens), int(text is not None)
    angles = F.pad(plain_angles(stretched), (0, 0, lead, 0))[:length]
    places = F.pad(plain_places(x.shape[1]), (0, 0, 1, 0))[:length] if text is not None else torch.zeros(())
    turn = torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)

    def rms(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * t[f"{name}.weight"]

    def turned(x: Tensor) -> Tensor:
        result = torch.complex(x[..., : HEAD // 2], x[..., HEAD // 2 :]) * turn
        return torch.cat([result.real, result.imag], -1)

    def attention(name: str, x: Tensor, source: Tensor, own: bool) -> Tensor:
        query = rms((x @ t[f"{name}.wq.weight"].T).view(length, HEADS, HEAD), f"{name}.q_norm")
        key = rms((source @ t[f"{name}.wk.weight"].T).view(len(source), GROUPS, HEAD), f"{name}.k_norm")
        value = (source @ t[f"{name}.wv.weight"].T).view(len(source), GROUPS, HEAD)
        if own:
            query, key = turned(query), turned(key)
        key, value = (part.repeat_interleave(HEADS // GROUPS, 1) for part in (key, value))
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(HEAD)
        scores = scores.masked_fill(future, -torch.inf) if own else scores
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1) @ t[f"{name}.wo.weight"].T

    for i in range(LAYERS):
        at = f"layers.{i}."
        x = x + places
        y = rms(x, f"{at}attention_norm")
        x = x + attention(f"{at}attention", y, y, own=True)
        if text is not None:
            x = x + attention(f"{at}cross_attention", rms(x, f"{at}cross_attention_norm"), text, own=False)
        y = rms(x, f"{at}ffn_norm")
        gate, up = (y @ t[f"{at}feed_forward.{name}.weight"].T for name in ("w1", "w3"))
        x = x + (F.silu(gate) * up) @ t[f"{at}feed_forward.w2.weight"].T
    return (rms(x, "norm") @ t["output.weight"].T)[lead:]


def test_logits_are_those_of_the_decoder_written_down(checkpoints: Path, variant: str) -> None:
    """Two rows of one context: what they read, texts included, must not get mixed up."""
    model = load(checkpoints, variant).model
    stream = torch.randint(CODES, (2, math.prod(SHAPE)), generator=torch.Generator().manual_seed(5))
    stream[1, :GRID] = stream[0, :GRID]
    features = [torch.randn(4, TEXT_WIDTH), torch.randn(7, TEXT_WIDTH)] if TEXTS[variant] else [None, None]
    session = model.session_of_features(stream[:, :GRID], 17, features if TEXTS[variant] else None)
    fed = torch.cat([session.last_token.unsqueeze(1), stream[:, GRID:]], 1)
    ours = session.forward(fed, session.last_position.unsqueeze(1) + torch.arange(fed.shape[1]))
    for row, text in enumerate(features):
        expected = plain_logits(tensors_of(variant), stream[row], text, stretched=variant in ("12b", "13b"))
        torch.testing.assert_close(ours[row], expected[GRID - 1 :], rtol=0, atol=1e-4)
    if variant == "12b":
        other = plain_logits(tensors_of(variant), stream[0], None, stretched=False)
        assert (other[GRID - 1 :] - ours[0]).abs().max() > 0.01


def test_sessions_keep_the_contract(checkpoints: Path, variant: str) -> None:
    model = load(checkpoints, variant).model
    cd.check_session(model.session(contexts(3, frames=9), 17, prompts_of(variant, 3)))


def test_seed_exact_is_ar_in_float64_and_every_clip_is_whole(checkpoints: Path, variant: str) -> None:
    pipe = load(checkpoints, variant, dtype="float64")
    given: dict[str, Any] = {"context_tokens": contexts(2), "prompts": prompts_of(variant, 2), "seed": 3}
    ar = pipe(**given, method=cd.AR())
    assert len(ar.tokens.unique()) > 5
    for method in METHODS:
        out = pipe(**given, method=method)
        assert_legal(pipe.model.layout_of(1, 17), out.tokens)
        assert [[frame.size for frame in clip] for clip in out.frames] == [[SIZE] * 17] * 2
        assert torch.equal(out.context_tokens, given["context_tokens"])
        if isinstance(method, cd.SeedExact):
            assert torch.equal(out.tokens, ar.tokens)
            assert out.trace.nfe.sum() < ar.trace.nfe.sum()


@pytest.mark.parametrize("variant", ["4b", "13b"])
def test_scd_draws_as_ar(variant: str, checkpoints: Path) -> None:
    """Pairs of neighbouring tokens at three places, one of them across frames, have one law."""
    model, clips = load(checkpoints, variant).model, 1500
    layout = model.layout_of(1, 17)
    context = contexts(1).expand(clips, -1)
    features = [torch.randn(4, TEXT_WIDTH, generator=torch.Generator().manual_seed(1))] * clips

    def pairs(method: cd.Method, seed: int) -> list[Tensor]:
        session = model.session_of_features(context, 17, features if TEXTS[variant] else None)
        tokens = cd.decode(session, layout.length, method=method, sampling=model.sampling, layout=layout,
                           seed=seed).tokens
        return [torch.bincount(5 * (tokens[:, i] % 5) + tokens[:, i + 1] % 5, minlength=25) for i in (0, GRID - 1, 10)]

    expected = pairs(cd.AR(), 0)
    for ours in (cd.SCD(window=6), cd.SCD(window=6, coupling="maximal")):
        for one, other in zip(expected, pairs(ours, 10**6), strict=True):
            assert two_sample_p_value(one, other) > P_VALUE


def frames_of(codes: Tensor) -> list[Image.Image]:
    """What the tiny tokenizer's decoder means by codes ``[t, h, w]``."""
    times = [codes[:1], *[codes[i : i + 1].expand(8, -1, -1) for i in range(1, len(codes))]]
    grey = ((torch.cat(times) + 0.5) / CODES * 255).round().to(torch.uint8)
    grey = grey.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return [Image.fromarray(one.numpy()).convert("RGB") for one in grey]


def assert_alike(frames: Sequence[Image.Image], others: Sequence[Image.Image]) -> None:
    for one, other in zip(frames, others, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 1


def test_frames_are_read_and_made_by_the_programs(checkpoints: Path) -> None:
    pipe = load(checkpoints, "4b")
    tokens = contexts(2, frames=9)
    clips = [frames_of(row.view(2, *SHAPE[1:])) for row in tokens]
    out = pipe(clips, seed=1)
    assert torch.equal(out.context_tokens, tokens)
    for clip, stream in zip(out.frames, out.all_tokens, strict=True):
        assert_alike(clip, frames_of(stream.view(SHAPE)))
    wide = [frame.resize((3 * SIZE[0], SIZE[1]), Image.Resampling.NEAREST) for frame in clips[0]]
    padded = Image.new("RGB", (2 * SIZE[0], SIZE[1]), "white")
    padded.paste(clips[0][0], (SIZE[0] // 2, 0))  # sides that do not fit the model's proportions are cut
    assert torch.equal(pipe([padded], num_frames=9).context_tokens, tokens[:1, :GRID])
    assert pipe(wide).context_tokens.shape == (1, 2 * GRID)


def test_a_call_goes_on_from_tokens_of_an_earlier_one(checkpoints: Path) -> None:
    pipe = load(checkpoints, "12b")
    short = pipe(context_tokens=contexts(2), num_frames=9, seed=1)
    assert [len(clip) for clip in short.frames] == [9, 9]
    longer = pipe(context_tokens=short.all_tokens, seed=2)
    assert torch.equal(longer.context_tokens, short.all_tokens)
    assert longer.tokens.shape == (2, GRID)
    assert_alike(longer.frames[1][:9], short.frames[1])
    assert longer.metadata[1].items() >= {"seed": "3", "frames": "17", "context_frames": "9", "size": "48x32"}.items()


def test_each_row_reads_its_own_text(checkpoints: Path) -> None:
    pipe = load(checkpoints, "5b", dtype="float64")
    both = pipe(context_tokens=contexts(1).expand(2, -1), prompts=["a cat", "rain"], seed=[4, 4], method=cd.SeedExact())
    for row, prompt in enumerate(["a cat", "rain"]):
        alone = pipe(context_tokens=contexts(1), prompts=prompt, seed=4, method=cd.SeedExact())
        assert torch.equal(alone.tokens[0], both.tokens[row])
        assert both.metadata[row]["prompt"] == prompt
    assert not torch.equal(both.tokens[0], both.tokens[1])


def test_a_row_takes_over_another_text(checkpoints: Path) -> None:
    """Beside rows that go on with theirs: what it computes is what a session of that text computes."""
    model = load(checkpoints, "5b", dtype="float64").model
    sessions = [model.session(contexts(1), 17, [prompt]) for prompt in ("a cat", "rain")]
    both = model.session(contexts(1).expand(2, -1), 17, ["a heart", "a cat"])
    fed = torch.arange(5).unsqueeze(0)

    def logits(session: Any, row: int, rows: Tensor | None = None) -> Tensor:
        return session.forward(fed, session.last_position[row] + fed, rows)

    before = logits(both, 1, torch.tensor([1]))
    both.adopt(0, sessions[1], 0)
    torch.testing.assert_close(logits(both, 0, torch.tensor([0])), logits(sessions[1], 0), rtol=0, atol=1e-12)
    assert torch.equal(logits(both, 1, torch.tensor([1])), before)
    torch.testing.assert_close(before, logits(sessions[0], 0), rtol=0, atol=1e-12)
    assert (before - logits(sessions[1], 0)).abs().max() > 1e-3


def test_text_features_are_those_of_t5(checkpoints: Path) -> None:
    model = load(checkpoints, "5b").model
    folder = checkpoints / "5b/Cosmos-5b/t5"
    t5 = T5ForConditionalGeneration(T5Config(**json.loads((folder / "config.json").read_text()))).eval()
    t5.load_state_dict(torch.load(folder / "pytorch_model.bin"))
    ids = torch.tensor([[*model.text.text.ids("A Cat"), model.text.text.id_of("</s>")]])
    with torch.no_grad():
        expected = t5.encoder(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(model.text.features("A Cat", PLACES), expected, rtol=0, atol=1e-4)


def test_a_clip_is_three_numbers_of_codes_in_raster_order(monkeypatch: pytest.MonkeyPatch, checkpoints: Path) -> None:
    layout = load(checkpoints, "4b").model.layout_of(1, 17)
    assert layout.above.tolist() == [-1, -1, -1, 0, 1, 2, -1, -1, -1, 6, 7, 8]
    monkeypatch.setattr(cosmos, "SHAPE", (5, 40, 64))
    model = load(checkpoints, "4b").model
    assert (model.size, model.frames) == ((1024, 640), 33)
    assert model.lengths == {1: 2560, 9: 5120, 17: 7680, 25: 10240, 33: 12800}
    assert model.layout_of(9, 33).length == 7680
    assert model.layout_of(1, 33).length == 10240


@pytest.mark.parametrize("name", ["4b", "13b"])
def test_names_and_shapes_are_the_official_ones(name: str) -> None:
    official = published(f"cosmos-{name}")
    with torch.device("meta"):
        transformer = CosmosTransformer(official)
    assert shapes(transformer) == shapes(official)
    assert (transformer.codes, transformer.head_dim) == (64000, 128)
    assert transformer.text_width == (1024 if name == "13b" else None)
    assert transformer.width == (5120 if name == "13b" else 4096)


def test_no_program_is_loaded_unless_it_is_allowed(tmp_path: Path) -> None:
    write(tmp_path / "all/Cosmos-4b", "4b")
    for name in ("encoder.jit", "decoder.jit"):
        (tmp_path / "all" / TOKENIZER / name).write_bytes(b"never read")
    pipe = cd.from_pretrained(tmp_path / "all/Cosmos-4b")
    out = pipe(context_tokens=contexts(1), seed=0)
    assert out.frames == []
    assert out.tokens.shape == (1, 2 * GRID)
    for wanted in (lambda: pipe([Image.new("RGB", SIZE)]), lambda: pipe.model.decode(out.all_tokens)):
        with pytest.raises(ValueError, match="TorchScript, which is a program and not weights: give allow_torchscript"):
            wanted()
    with pytest.raises(ValueError, match="encoder.jit is damaged: it is no TorchScript program"):
        cd.from_pretrained(tmp_path / "all/Cosmos-4b", allow_torchscript=True)


def test_stopping_returns_what_is_committed(checkpoints: Path) -> None:
    out = load(checkpoints, "4b")(context_tokens=contexts(1), method=cd.AR(), on_step=lambda step: step.number < 5)
    assert (out.cancelled, out.frames) == (True, [])
    assert int((out.tokens >= 0).sum()) == 5


def picture(count: int) -> list[Image.Image]:
    return [Image.new("RGB", SIZE)] * count


REFUSED = {
    "neither": ("4b", {}, "give either context_frames or context_tokens"),
    "no clip": ("4b", {"context_frames": []}, "clips of no frames: give at least one clip"),
    "uneven": ("4b", {"context_frames": [picture(1), picture(9)]}, "clips of 1, 9 frames"),
    "five frames": ("4b", {"context_frames": picture(5)}, "5 frames: in cosmos-1 a context or a clip ends after 1, 9"),
    "ten frames": ("4b", {"context_tokens": contexts(1), "num_frames": 10}, "10 frames: in cosmos-1"),
    "nothing left": ("4b", {"context_tokens": contexts(1, 9), "num_frames": 9}, "nothing is left to draw"),
    "part of a frame": ("4b", {"context_tokens": contexts(1)[:, 1:]}, "5 tokens: in cosmos-1 first frames have 6, 12"),
    "no code": ("4b", {"context_tokens": contexts(1) - CODES}, "context_tokens hold -"),
    "text for 4b": ("4b", {"context_tokens": contexts(1), "prompts": "a cat"}, "reads no text, Video2World ones do"),
    "no text for 5b": ("5b", {"context_tokens": contexts(1)}, "reads a text with each clip: give prompts"),
    "empty text": ("5b", {"context_tokens": contexts(1), "prompts": " "}, "a prompt is empty"),
    "long text": ("5b", {"context_tokens": contexts(1), "prompts": "a red heart"}, "has 12 tokens: the model reads 10"),
    "two texts": ("5b", {"context_tokens": contexts(1), "prompts": ["a", "b"]}, "2 prompts for 1 clips"),
}


@pytest.mark.parametrize(("variant", "given", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_in_one_sentence(
    variant: str, given: dict[str, Any], words: str, checkpoints: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        load(checkpoints, variant)(**given)


def test_features_that_do_not_fit_are_refused(checkpoints: Path) -> None:
    model = load(checkpoints, "5b").model
    for wrong in (torch.zeros(3, 5), torch.zeros(PLACES + 1, TEXT_WIDTH), torch.zeros(TEXT_WIDTH)):
        with pytest.raises(ValueError, match=rf"give \[n, {TEXT_WIDTH}\] with n from 1 to {PLACES}"):
            model.session_of_features(contexts(1), 17, [wrong])
    with pytest.raises(ValueError, match="reads no text: give no features"):
        load(checkpoints, "4b").model.session_of_features(contexts(1), 17, [torch.zeros(3, TEXT_WIDTH)])


def resave(file: Path, **changes: Any) -> None:
    torch.save({**torch.load(file), **changes}, file)


BROKEN = {
    "damaged": (lambda f: (f / "model.pt").write_bytes(b"PK\x03\x04"), ValueError, "model.pt is damaged"),
    "code": (lambda f: torch.save({"x": Path("/")}, f / "model.pt"), ValueError, "would run code of its own"),
    "other model": (lambda f: torch.save({"x": torch.zeros(3)}, f / "model.pt"), ValueError,
                    "holds no transformer of Cosmos-1: layers.0.attention.q_norm.weight is missing"),
    "no head": (lambda f: torch.save({cosmos.MARK: torch.zeros(3)}, f / "model.pt"), ValueError,
                "'tok_embeddings.weight' is missing"),
    "other size": (lambda f: resave(f / "model.pt", **{"layers.1.ffn_norm.weight": torch.zeros(3)}), ValueError,
                   "does not fit CosmosTransformer: layers.1.ffn_norm.weight"),
    "no tokenizer": (lambda f: [one.unlink() for one in (f / TOKENIZER).iterdir()] and (f / TOKENIZER).rmdir(),
                     FileNotFoundError, f"lacks its tokenizer: put nvidia/{TOKENIZER}"),
    "no decoder": (lambda f: (f / TOKENIZER / "decoder.jit").unlink(), FileNotFoundError, "lacks decoder.jit"),
    "other tokenizer": (lambda f: write_programs(f / TOKENIZER, block=8), ValueError, "another than DV8x16x16"),
    "no text encoder": (lambda f: (f / "t5").rename(f / "other"), FileNotFoundError, "put google-t5/t5-11b into"),
    "other text encoder": (lambda f: resave(f / "model.pt", **{
        f"layers.{i}.cross_attention.w{part}.weight": torch.zeros(GROUPS * HEAD, 7) for i in range(LAYERS)
        for part in "kv"}), ValueError, "gives features of width 12, model.pt reads 7"),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "cosmos", "5b")
    damage(tmp_path / "cosmos")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "cosmos", allow_torchscript=True)(picture(1), prompts="a cat", seed=0)


def test_the_command_line_says_where_clips_are_made(checkpoints: Path, tmp_path: Path) -> None:
    folder = str(checkpoints / "4b/Cosmos-4b")
    done = CliRunner().invoke(app, ["generate", "a cat", "--model", folder, "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert f"{folder!r} is a video model (cosmos-1), and this command draws pictures" in done.output
    assert not (tmp_path / "out").exists()
