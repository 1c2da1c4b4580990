"""Anole: Meta's layout and the port to transformers', against transformers' own classes at random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ChameleonForConditionalGeneration

import coupled_decoding as cd
from coupled_decoding.models.families import anole
from coupled_decoding.models.families.anole import RENAMED, AnoleModel, meta_config, renamed_meta
from coupled_decoding.models.families.chameleon import LanguageModel, renamed_language
from tests.models.families.chameleon import (
    CODES,
    assert_codes_and_pixels,
    config_json,
    language_tensors,
    reference_logits,
    special_tokens,
    tiny,
    vqgan_tensors,
    write_shards,
    write_tokenizers,
)
from tests.models.families.helpers import (
    assert_decodes_as_ar,
    assert_draws_as_ar,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

PROMPT = "a red heart"
PARAMS_7B = {"dim": 4096, "n_layers": 32, "n_heads": 32, "vocab_size": 65536, "norm_eps": 1e-5, "multiple_of": 256,
             "rope_theta": 10000.0, "qk_normalization": True, "swin_norm": False}


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anole, "SIDE", 4)


def in_metas_layout(model: ChameleonForConditionalGeneration) -> dict[str, Tensor]:
    """Where heads rotate neighbouring channels: the halves that transformers rotates are interleaved."""
    parts, tensors = {theirs: own for own, theirs in RENAMED.items()}, {}
    for name, tensor in language_tensors(model).items():
        stem, kind = name.removeprefix("model.").rsplit(".", 1)
        layer, part = (stem[:9], stem[9:]) if stem.startswith("layers.") else ("", stem)
        if part in ("self_attn.q_norm", "self_attn.k_norm"):
            tensor = torch.stack(tensor[0].chunk(2), 1).flatten()
        elif part in ("self_attn.q_proj", "self_attn.k_proj"):
            heads = tensor.chunk(model.config.num_attention_heads)
            tensor = torch.cat([torch.stack(head.chunk(2), 1).flatten(0, 1) for head in heads])
        tensors["output.weight" if part == "lm_head" else f"{layer}{parts[part]}.{kind}"] = tensor
    return {**tensors, "rope.freqs": torch.zeros(4)}


def write_meta(folder: Path) -> None:
    (folder / "models/7b").mkdir(parents=True)
    params = {"dim": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 128, "norm_eps": 1e-5, "multiple_of": 1,
              "ffn_dim_multiplier": 0.76, "rope_theta": 10000.0, "qk_normalization": True, "swin_norm": False}
    (folder / "models/7b/params.json").write_text(json.dumps({"model": params, "seed": 1, "model_parallel_size": 1}))
    torch.save(in_metas_layout(tiny()), folder / "models/7b/consolidated.pth")
    write_tokenizers(folder / "tokenizer")


def write_port(folder: Path, *, decoder: bool = True) -> None:
    folder.mkdir(parents=True)
    vqgan = {f"model.vqmodel.{name}": tensor.clone() for name, tensor in vqgan_tensors().items()
             if decoder or not name.startswith("decoder.")}
    write_shards(folder, {**language_tensors(tiny()), **vqgan}, shards=2)
    config = config_json(tiny(), architectures=["ChameleonForConditionalGeneration"])
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder / "tokenizer.json", special_tokens())


WRITERS = {"meta": write_meta, "port": write_port}


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anole") / str(request.param)
    WRITERS[request.param](path)
    return path


def test_logits_guidance_and_pixels_are_those_of_transformers(folder: Path) -> None:
    """The published guidance has a third branch, which keeps the prompt's pictures: here it has none."""
    pipe, theirs = cd.from_pretrained(folder), tiny()
    assert isinstance(pipe.model, AnoleModel)
    codes, forced = pipe.layout.codes, pipe.layout.forced
    drawn = codes[torch.randint(CODES, forced.shape, generator=torch.Generator().manual_seed(1))]
    tokens = torch.where(forced < 0, drawn, forced)
    bos, boi, prompt = 0, 5 + CODES, pipe.model.prompt_ids(PROMPT, pipe.model.size)
    pictures_only = [token for token in prompt if token in (bos, boi, *codes.tolist())]
    with torch.no_grad():
        c, i, u = (reference_logits(theirs, ids, tokens, codes) for ids in (prompt, pictures_only, [bos, boi]))
    guided = u + 1.2 * (i - u) + 3 * (c - i)
    torch.testing.assert_close(logits_of_stream(pipe, PROMPT, tokens, 3.0), guided, rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of_stream(pipe, PROMPT, tokens, 1.0), c, rtol=0, atol=1e-4)
    assert_codes_and_pixels(pipe.model.vq)


def test_the_prompt_and_the_stream_are_the_published_ones(folder: Path) -> None:
    model = cd.from_pretrained(folder).model
    assert model.prompt_ids(PROMPT, model.size) == model.text.ids(f"<s>{PROMPT}<reserved08706><racm3:break>")
    assert model.layout.forced.tolist() == [-1] * 16 + [special_tokens().index("<eoss>")]
    assert model.layout.above[4:16].tolist() == list(range(12))


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(folder: Path) -> None:
    assert_decodes_as_ar(cd.from_pretrained(folder, dtype="float64"), [PROMPT, "a cat"])


def test_scd_draws_as_ar(tmp_path: Path) -> None:
    write_meta(tmp_path / "anole")
    assert_draws_as_ar(cd.from_pretrained(tmp_path / "anole"), PROMPT, pictures=2000)


def test_pictures_are_encoded_to_tokens_that_decoding_goes_on_from(folder: Path) -> None:
    pipe = cd.from_pretrained(folder)
    drawn = pipe("a cat", seed=1)
    tokens = pipe.model.encode(drawn.images, pipe.model.size)
    again = pipe("a cat", seed=1, given=tokens[:, :9])
    assert torch.equal(again.tokens[:, :9], tokens[:, :9])


def test_names_and_shapes_are_the_official_ones() -> None:
    """At the published size every module of ours has the weights of GAIR's code, and nothing else."""
    official, config = published("anole-7b"), meta_config({"model": PARAMS_7B})
    with torch.device("meta"):
        renamed = renamed_meta(official, config)
        assert shapes(LanguageModel(config)) == shapes(renamed_language(renamed, config))
    assert renamed["lm_head.weight"].shape == (65536, 4096)
    assert len(renamed) == len(official)


def test_plain_chameleon_is_refused(tmp_path: Path) -> None:
    write_port(tmp_path / "chameleon", decoder=False)
    with pytest.raises(ValueError, match="Chameleon without picture output"):
        cd.from_pretrained(tmp_path / "chameleon")


def test_another_size_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="size is 128x64: anole makes pictures of 64x64"):
        cd.from_pretrained(folder)("a cat", size=(128, 64))


WEIGHTS = "models/7b/consolidated.pth"


def without_output(folder: Path) -> None:
    tensors = torch.load(folder / WEIGHTS, weights_only=True)
    torch.save({name: tensor for name, tensor in tensors.items() if name != "output.weight"}, folder / WEIGHTS)


def change_params(folder: Path, old: str, new: str) -> None:
    path = folder / "models/7b/params.json"
    path.write_text(path.read_text().replace(old, new))


BROKEN = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), FileNotFoundError, "lacks models/7b/consolidated.pth"),
    "no VQGAN": (lambda f: (f / "tokenizer/vqgan.ckpt").unlink(), FileNotFoundError, "lacks tokenizer/vqgan.ckpt"),
    "damaged": (lambda f: (f / WEIGHTS).write_bytes(b"PK\x03\x04"), ValueError, "damaged"),
    "code": (lambda f: torch.save({"x": Path("/")}, f / WEIGHTS), ValueError, "run code"),
    "no head": (without_output, ValueError, "no lm_head.weight"),
    "no sizes": (lambda f: change_params(f, '"dim"', '"width"'), ValueError, "params.json does not say what is needed"),
    "other heads": (lambda f: change_params(f, '"n_heads": 4', '"n_heads": 2'), ValueError, "do not fit"),
    "other depth": (lambda f: change_params(f, '"n_layers": 2', '"n_layers": 3'), ValueError, "do not fit"),
    "other text": (lambda f: write_tokenizer(f / "tokenizer/text_tokenizer.json", ["<s>"]), ValueError,
                   "names no picture codes"),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write_meta(tmp_path / "anole")
    damage(tmp_path / "anole")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "anole")("a cat", seed=0)
