"""The shipped video family, tiny and random: 16x16 pixels, 4x4 codes first, then 2x2, three frames in sight."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.models.families.doom import FILES, MOST_FRAMES, DoomModel
from coupled_decoding.models.networks.clip_transformer import ClipTransformerConfig, rotary_of
from coupled_decoding.pipelines.video import VideoPipeline
from tests.decoding.helpers import assert_agrees
from tests.models.families.helpers import METHODS

FIRST, FRAME = 16, 4


@pytest.fixture(scope="module")
def pipe(tiny_doom: Path) -> VideoPipeline:
    return cd.from_pretrained(tiny_doom, dtype="float64")


def contexts(rows: int, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 12, (rows, FIRST), generator=generator)
    return torch.cat([first, torch.randint(12, 22, (rows, FRAME * (frames - 1)), generator=generator)], 1)


def pictures(count: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, size[1], size[0], 3), np.uint8)
    return [Image.fromarray(one).convert(mode) for one in noise]


class Alone:
    """No cache: keys and values of this forward."""

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return keys, values


def plain_logits(model: DoomModel, stream: Tensor) -> Tensor:
    """Logits ``[T, codes]`` after each token of a whole stream, without cache, the span spelled out token by token."""
    sizes, transformer = model.sizes, model.backbone.decoder
    index = torch.arange(len(stream))
    time = [0 if i < FIRST else 1 + (i - FIRST) // FRAME for i in index.tolist()]
    mask = torch.tensor([[j <= i and time[i] - time[j] < sizes.span for j in index] for i in index])
    rotary = rotary_of(sizes.positions3_of(index), sizes.head_dim)
    hidden = transformer(transformer.tok_embeddings(stream)[None], rotary[None], mask[None, None], Alone())
    return transformer.output(hidden)[0]


@torch.no_grad()
def test_a_session_computes_what_the_model_does_without_a_cache(pipe: VideoPipeline) -> None:
    """In float64, over a window of seven tokens at a time, past the span and with a context that is read in part."""
    model = pipe.model
    stream = contexts(1, 7)[0]
    expected = plain_logits(model, stream)
    session = model.session(stream[None, : FIRST + FRAME], 7, None)
    for start in range(int(session.last_position), len(stream), 7):
        fed = stream[start : start + 7]
        positions = torch.arange(start, start + len(fed))
        torch.testing.assert_close(session.forward(fed[None], positions[None])[0], expected[start : start + 7],
                                   rtol=0, atol=1e-12)
    cd.check_session(model.session(contexts(2, 2), 4, None))


def test_of_a_long_context_the_last_frames_are_read(pipe: VideoPipeline) -> None:
    """What is drawn after many frames depends on the last three that a token sees, and on none before them."""
    long = contexts(1, 9, seed=1)
    other = torch.cat([contexts(1, 6, seed=2), long[:, FIRST + 5 * FRAME :]], 1)
    drawn = [pipe(context_tokens=one, num_frames=10, method=cd.AR(), seed=4).tokens for one in (long, other)]
    assert torch.equal(*drawn)
    assert int(pipe.model.session(long, 10, None).last_position) < 3 * FRAME


@pytest.mark.parametrize("context", [1, 2, 5])
def test_seed_exact_is_ar_and_all_draws_are_legal(pipe: VideoPipeline, context: int) -> None:
    """From one, two and five frames, with each method and the guesses that look back a frame."""
    known = contexts(2, context)
    ar = pipe(context_tokens=known, num_frames=9, method=cd.AR(), seed=3)
    assert ar.trace.nfe.tolist() == [FRAME * (9 - context)] * 2
    guesses = ("uniform", "previous-frame", "previous-frame-distribution")
    methods = [*METHODS, *(cd.SeedExact(window=9, first_guess=guess) for guess in guesses)]
    for method in methods:
        out = pipe(context_tokens=known, num_frames=9, method=method, seed=3)
        assert out.tokens.shape == (2, FRAME * (9 - context))
        assert ((out.tokens >= 12) & (out.tokens < 22)).all()
        assert [len(clip) for clip in out.frames] == [9, 9]
        assert {frame.size for clip in out.frames for frame in clip} == {(16, 16)}
        if isinstance(method, cd.SeedExact):
            assert torch.equal(out.tokens, ar.tokens)
            assert out.trace.nfe.sum() < ar.trace.nfe.sum()


@torch.no_grad()
@pytest.mark.parametrize("method", [
    cd.SCD(window=3, first_guess="previous-frame-distribution"),
    cd.SCD(window=3, first_guess="previous-frame", coupling="maximal"),
], ids=lambda method: method.name)
def test_drawn_tokens_follow_the_enumerated_law(pipe: VideoPipeline, method: cd.Method) -> None:
    """The last token of a frame and the first of the next, over 20,000 clips, against the product of their softmaxes.
    """
    known = contexts(1, 2, seed=5)
    given = torch.tensor([[13, 17, 20]])
    rows = 20_000
    layout = pipe.model.layout_of(1, 4)
    session = pipe.model.session(known[:, :FIRST].expand(rows, -1), 4, None)
    start = torch.cat([known[:, FIRST:], given], 1)
    tokens = cd.decode(session, FRAME + 5, method=method, layout=layout, seed=1, given=start.expand(rows, -1)).tokens
    law = torch.zeros(10, 10, dtype=torch.float64)
    stream = torch.cat([known, given], 1)[0]
    first = plain_logits(pipe.model, stream)[-1].softmax(-1)
    for code in range(10):
        then = plain_logits(pipe.model, torch.cat([stream, torch.tensor([12 + code])]))[-1].softmax(-1)
        law[code] = first[code] * then
    pairs = 10 * (tokens[:, FRAME + 3] - 12) + tokens[:, FRAME + 4] - 12
    assert_agrees(torch.bincount(pairs, minlength=100), law.flatten())


def test_a_call_goes_on_from_tokens_of_an_earlier_one(pipe: VideoPipeline) -> None:
    """Frames of the first call stay as they are: tokens go on, pixels are never read again."""
    short = pipe(pictures(3), num_frames=5, seed=1)
    longer = pipe(context_tokens=short.all_tokens, num_frames=8, seed=2)
    assert torch.equal(longer.context_tokens, short.all_tokens)
    assert [np.array_equal(a, b) for a, b in zip(longer.frames[0], short.frames[0], strict=False)] == [True] * 5
    assert longer.metadata[0].items() >= {"frames": "8", "context_frames": "5", "size": "16x16"}.items()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16"])
@pytest.mark.parametrize("size", [(16, 16), (320, 40), (9, 33), (1, 1)])
def test_frames_of_any_size_and_mode_are_context(pipe: VideoPipeline, size: tuple[int, int], mode: str) -> None:
    frames = pictures(2, size) if mode == "I;16" else pictures(2, size, mode)
    frames = [frame.convert("I").convert("I;16") for frame in frames] if mode == "I;16" else frames
    out = pipe(frames, num_frames=3, seed=0)
    assert out.context_tokens.shape == (1, FIRST + FRAME)


def test_places_of_a_stream() -> None:
    """Codes of a later frame stand in the middle of the four codes of a first frame that they cover."""
    sizes = ClipTransformerConfig(first_grid=(4, 4), grid=(2, 2))
    places = sizes.positions3_of(torch.arange(FIRST + 2 * FRAME)).tolist()
    assert places[:FIRST] == [[0, row, column] for row, column in product(range(4), range(4))]
    assert places[FIRST:] == [[t, y, x] for t in (1, 2) for y, x in product((0.5, 2.5), (0.5, 2.5))]
    assert sizes.begin_of(torch.arange(4)).tolist() == [0, 16, 20, 24]
    assert sizes.time_of(torch.arange(24)).tolist() == [0] * 16 + [1] * 4 + [2] * 4


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no frames": ({"context_frames": []}, "clips of no frames"),
    "part of a frame": ({"context_tokens": contexts(1, 2)[:, 1:]}, "19 tokens: in doom first frames have 16, 20, 24"),
    "first codes later": ({"context_tokens": contexts(1, 2) % 12}, "context_tokens hold [0-9]+: give codes"),
    "later codes first": ({"context_tokens": contexts(1, 1) + 12}, "context_tokens hold [0-9]+: give codes"),
    "too long": ({"context_tokens": contexts(1, 1), "num_frames": MOST_FRAMES + 1}, "1, 2, 3 and so on up to"),
    "nothing left": ({"context_tokens": contexts(1, 3), "num_frames": 3}, "nothing is left to draw"),
    "a text": ({"context_tokens": contexts(1, 1), "prompts": "a door"}, "reads no text"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_in_one_sentence(pipe: VideoPipeline, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipe(**{"num_frames": 5, **given})


def test_missing_and_damaged_files_are_named(tiny_doom: Path, tmp_path: Path) -> None:
    for name in FILES[1:]:
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(tiny_doom, folder)
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            cd.from_pretrained(folder)
        (folder / name).write_bytes(b"{")
        with pytest.raises(ValueError, match=name):
            cd.from_pretrained(folder)
    folder = tmp_path / "sizes"
    shutil.copytree(tiny_doom, folder)
    sizes = json.loads((folder / "clip_config.json").read_text())
    (folder / "clip_config.json").write_text(json.dumps({**sizes, "layers": 3}))
    with pytest.raises(ValueError, match=r"model.safetensors does not fit ClipTransformer"):
        cd.from_pretrained(folder)
