"""Lumina-mGPT 1.0: 7B's and 34B's kinds of transformer, against transformers' own classes at random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import coupled_decoding as cd
from coupled_decoding.models.families import lumina_mgpt
from coupled_decoding.models.families.chameleon import LanguageModel, language_config, renamed_language
from coupled_decoding.models.families.lumina_mgpt import LuminaMGPTModel, fits
from coupled_decoding.models.networks.vqgan import VQGAN, VQGANConfig
from tests.models.families.chameleon import (
    CODES,
    assert_codes_and_pixels,
    config_json,
    language_tensors,
    name_of,
    reference_logits,
    special_tokens,
    tiny,
    write_shards,
    write_tokenizers,
)
from tests.models.families.helpers import (
    DATA,
    assert_decodes_as_ar,
    assert_draws_as_ar,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

PUBLISHED = {
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32},
    "34b": {"hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 48, "num_attention_heads": 64,
            "num_key_value_heads": 8, "swin_norm": True, "model_parallel_size": 4},
}
PROMPT = "a red heart"


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lumina_mgpt, "SIDES", (32, 64, 96))


def write(folder: Path, *, swin: bool = False, shards: int = 1, tokenizers: str = "") -> None:
    model = tiny(swin=swin)
    folder.mkdir(parents=True)
    write_shards(folder, language_tensors(model), shards)
    config = config_json(
        model, architectures=["ChameleonXLLMXForConditionalGeneration"], mask_image_logits=False, dropout=0.05,
        z_loss_weight=1e-5,
    )
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizers(folder / tokenizers)


KINDS: dict[str, dict[str, Any]] = {
    "7B": {"tokenizers": "../chameleon/tokenizer"},
    "34B": {"swin": True, "shards": 3, "tokenizers": "chameleon/tokenizer"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lumina") / f"Lumina-mGPT-{kind}-64"
    write(path, **KINDS[kind])
    return path


def test_logits_guidance_and_pixels_are_those_of_transformers(folder: Path, kind: str) -> None:
    pipe, theirs = cd.from_pretrained(folder), tiny(**{k: v for k, v in KINDS[kind].items() if k == "swin"})
    assert isinstance(pipe.model, LuminaMGPTModel)
    codes, forced = pipe.layout.codes, pipe.layout.forced
    drawn = codes[torch.randint(CODES, forced.shape, generator=torch.Generator().manual_seed(1))]
    tokens = torch.where(forced < 0, drawn, forced)
    prompt = pipe.model.prompt_ids(PROMPT, pipe.model.size)
    with torch.no_grad():
        c, u = (reference_logits(theirs, ids, tokens, codes) for ids in (prompt, prompt[-1:]))
    torch.testing.assert_close(logits_of_stream(pipe, PROMPT, tokens, 4.0), u + 4 * (c - u), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of_stream(pipe, PROMPT, tokens, 1.0), c, rtol=0, atol=1e-4)
    assert_codes_and_pixels(pipe.model.vq)


def test_the_prompt_is_the_published_template(folder: Path) -> None:
    model = cd.from_pretrained(folder).model
    text = f"<s>Generate an image of 96x32 according to the following prompt:\n{PROMPT}<reserved08706><racm3:break>"
    assert model.prompt_ids(PROMPT, (96, 32)) == model.text.ids(text)


def test_the_stream_is_rows_then_columns_then_rows_with_ends(folder: Path) -> None:
    """Two rows of six codes: one square of 32 pixels down, three across."""
    layout = cd.from_pretrained(folder).model.layout_of((96, 32))
    token = special_tokens().index
    row = [-1] * 6 + [token("<reserved08799>")]
    assert layout.forced.tolist() == [
        token("<reserved08801>"), token("<reserved08803>"), *row, *row, token("<eoss>"), token("<reserved08706>")
    ]
    assert layout.above[9:15].tolist() == [2, 3, 4, 5, 6, 7]
    assert layout.codes.tolist() == list(range(4, 4 + CODES))


def test_pixels_are_those_of_the_codes_that_the_names_say(folder: Path) -> None:
    model = cd.from_pretrained(folder).model
    codes = torch.arange(12) + 12
    stream = model.layout_of((96, 32)).forced.unsqueeze(0).clone()
    stream[stream < 0] = torch.tensor([special_tokens().index(name_of(code)) for code in codes.tolist()])
    pixels = model.vq.decode(codes.view(1, 2, 6))[0].clamp(0, 1).permute(1, 2, 0)
    picture = model.decode(stream, (96, 32))[0]
    assert picture.tobytes() == (pixels * 255).round().to(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("size", [None, (96, 32)])
def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(folder: Path, size: tuple[int, int] | None) -> None:
    assert_decodes_as_ar(cd.from_pretrained(folder, dtype="float64"), [PROMPT, "a cat"], size)


def test_scd_draws_as_ar(tmp_path: Path) -> None:
    write(tmp_path / "Lumina-mGPT-7B-64")
    assert_draws_as_ar(cd.from_pretrained(tmp_path / "Lumina-mGPT-7B-64"), PROMPT, pictures=1500)


def test_pictures_are_encoded_to_tokens_that_decoding_goes_on_from(folder: Path) -> None:
    pipe = cd.from_pretrained(folder)
    drawn = pipe("a cat", seed=1, size=(32, 96))
    tokens = pipe.model.encode(drawn.images, (32, 96))
    forced = pipe.model.layout_of((32, 96)).forced
    assert torch.equal(tokens[0, forced >= 0], forced[forced >= 0])
    again = pipe("a cat", seed=1, size=(32, 96), given=tokens[:, :9])
    assert torch.equal(again.tokens[:, :9], tokens[:, :9])


@pytest.mark.parametrize("line", (DATA / "lumina-mgpt-sizes.txt").read_text().splitlines(), ids=["512", "768", "1024"])
def test_sizes_are_those_of_the_official_list(line: str) -> None:
    side, _, sizes = line.partition(":")
    ours = {f"{32 * columns}x{32 * rows}" for columns in range(1, 80) for rows in range(1, 80)
            if fits(columns, rows, int(side))}
    assert ours == set(sizes.split())


def test_the_name_of_a_checkpoint_says_the_area_of_its_pictures(folder: Path, tmp_path: Path) -> None:
    pipe = cd.from_pretrained(folder)
    assert pipe.model.size == (64, 64)
    with pytest.raises(ValueError, match="size is 96x96: this checkpoint .* area of 64x64, .* 64x64 has this shape"):
        pipe("a cat", size=(96, 96))
    with pytest.raises(ValueError, match="size is 70x64"):
        pipe("a cat", size=(70, 64))
    write(tmp_path / "renamed")
    renamed = cd.from_pretrained(tmp_path / "renamed").model
    assert renamed.size == (64, 64)
    assert renamed.layout_of((96, 96)).length == 2 + 6 * 7 + 2


@pytest.mark.parametrize("size", PUBLISHED)
def test_names_and_shapes_are_the_official_ones(size: str) -> None:
    """At the published sizes every module of ours has the weights of Alpha-VLLM's code, and nothing else."""
    official = published(f"lumina-mgpt-{size}")
    config = language_config({"vocab_size": 65536, **PUBLISHED[size]})
    with torch.device("meta"):
        assert shapes(LanguageModel(config)) == shapes(renamed_language(official, config))
        vq = published("chameleon-vqgan")
        assert shapes(VQGAN(VQGANConfig.of(vq, normalised=False))) == shapes(vq)
    assert official["lm_head.weight"].shape == (65536, config.hidden_size)


def change(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


BROKEN = {
    "missing shard": (lambda f: (f / "model-00002-of-00003.safetensors").unlink(), FileNotFoundError, "00002-of-00003"),
    "damaged": (lambda f: (f / "model-00001-of-00003.safetensors").write_bytes(b"junk"), ValueError, "damaged"),
    "no VQGAN": (lambda f: (f / "vqgan.ckpt").unlink(), FileNotFoundError, "lacks vqgan.ckpt: it comes with Meta's"),
    "no tokenizer": (lambda f: (f / "text_tokenizer.json").unlink(), FileNotFoundError, "lacks text_tokenizer.json"),
    "code": (lambda f: torch.save({"state_dict": {}, "x": Path("/")}, f / "vqgan.ckpt"), ValueError, "run code"),
    "no decoder": (lambda f: torch.save({"state_dict": {"loss.x": torch.zeros(1)}}, f / "vqgan.ckpt"), ValueError,
                   "holds no VQGAN"),
    "other text": (lambda f: write_tokenizer(f / "text_tokenizer.json", ["<s>"]), ValueError, "names no picture codes"),
    "other codes": (lambda f: write_tokenizer(f / "text_tokenizer.json", special_tokens(30)), ValueError,
                    "has 24 codes, but .* names 30"),
    "other sizes": (lambda f: change(f / "config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 3'), ValueError,
                    "do not fit its config.json"),
    "other width": (lambda f: change(f / "config.json", '"hidden_size": 32', '"hidden_size": 64'), ValueError,
                    "do not fit its configuration"),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "lumina", shards=3)
    damage(tmp_path / "lumina")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "lumina")("a cat", seed=0)
