"""Janus-Pro: both checkpoint layouts, against transformers' own classes at random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
    LlamaModel,
)

import coupled_decoding as cd
from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.families.janus import BOI, BOS, PAD, PictureParts, renamed_port
from coupled_decoding.models.networks.vqgan import VQGAN, VQGANConfig, renamed_vq16
from tests.models.families.helpers import (
    assert_decodes_as_ar,
    assert_draws_as_ar,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

CODES, SIDE, TEXT = 24, 4, 100
PUBLISHED = {
    "1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 30, "num_attention_heads": 32},
}


def tiny() -> JanusForConditionalGeneration:
    torch.manual_seed(0)
    language = LlamaConfig(
        vocab_size=TEXT, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, initializer_range=0.2,
    )
    vision = JanusVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4, projection_dim=32,
        num_image_tokens=SIDE * SIDE,
    )
    vq = JanusVQVAEConfig(
        embed_dim=8, num_embeddings=CODES, latent_channels=32, base_channels=32, channel_multiplier=[1, 2, 2],
        num_res_blocks=1, num_patches=SIDE, projection_dim=32, image_token_embed_dim=32,
    )
    model = JanusForConditionalGeneration(JanusConfig(
        text_config=language.to_dict(), vision_config=vision.to_dict(), vq_config=vq.to_dict(),
    )).eval()
    for part in (model.model.generation_head, model.model.generation_aligner, model.model.generation_embeddings):
        for weight in part.parameters():
            torch.nn.init.normal_(weight, std=0.25)
    for weight in model.model.vqmodel.parameters():
        torch.nn.init.normal_(weight, mean=0.0, std=0.1)
    return model


def write_port(folder: Path) -> None:
    tiny().save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json", [BOS, BOI, PAD, "<|User|>", "<|Assistant|>"])


def write_original(folder: Path, shards: int = 1) -> None:
    """deepseek-ai's layout, as ``.bin`` files; what we do not read is there too."""
    model = tiny()
    folder.mkdir()
    tensors = renamed_port(model.state_dict())
    tensors["vision_model.vision_tower.norm.weight"] = torch.zeros(3)
    names = list(tensors)
    files = {}
    for i in range(shards):
        file = "pytorch_model.bin" if shards == 1 else f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        files |= dict.fromkeys(names[i::shards], file)
        torch.save({name: tensors[name].clone() for name in names[i::shards]}, folder / file)
    if shards > 1:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    language = model.config.text_config.to_dict()
    config = {"model_type": "multi_modality", "language_config": language, "vision_config": {"cls": "CLIPVisionTower"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor_config.json").write_text(json.dumps({"num_image_tokens": SIDE * SIDE}))
    write_tokenizer(folder / "tokenizer.json", [BOS, BOI, PAD, "<|User|>", "<|Assistant|>"])


WRITERS = {"port": write_port, "original": write_original, "shards": lambda folder: write_original(folder, 3)}


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("janus") / request.param
    WRITERS[request.param](path)
    return path


def reference_logits(model: Any, prompt: Tensor, tokens: Tensor) -> Tensor:
    """Of transformers' modules, read at once without a cache: ``[length, codes]``."""
    embedded = torch.cat([
        model.get_input_embeddings()(prompt), model.prepare_embeddings_for_image_generation(tokens[:-1])
    ]).unsqueeze(0)
    hidden = model.model.language_model(inputs_embeds=embedded).last_hidden_state[0, len(prompt) - 1 :]
    return model.model.generation_head(hidden)


def test_logits_guidance_and_pixels_are_those_of_transformers(folder: Path) -> None:
    pipe, theirs = cd.from_pretrained(folder), tiny()
    tokens = torch.randint(CODES, (SIDE * SIDE,), generator=torch.Generator().manual_seed(1))
    prompt = torch.tensor(pipe.model.prompt_ids("a red heart", pipe.model.size)) - CODES
    unconditional = prompt.clone()
    unconditional[1:-1] = pipe.model.text.id_of(PAD)
    with torch.no_grad():
        c, u = (reference_logits(theirs, ids, tokens) for ids in (prompt, unconditional))
        pixels = theirs.decode_image_tokens(tokens.unsqueeze(0)).permute(0, 3, 1, 2)
        latents = theirs.model.vqmodel.encode(pixels).last_hidden_state
    torch.testing.assert_close(logits_of_stream(pipe, "a red heart", tokens, 5.0), u + 5 * (c - u), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of_stream(pipe, "a red heart", tokens, 1.0), c, rtol=0, atol=1e-4)
    ours = pipe.model.vq.decode(tokens.view(1, SIDE, SIDE))
    torch.testing.assert_close(ours, pixels / 2 + 0.5, rtol=0, atol=1e-4)
    # transformers then compares with entries of any length, deepseek-ai's code (and ours) with entries of length one
    torch.testing.assert_close(pipe.model.vq.encoder(pixels), latents, rtol=0, atol=1e-4)


def test_the_prompt_is_the_published_template(folder: Path) -> None:
    model = cd.from_pretrained(folder).model
    text = f"{BOS}<|User|>: a cat\n\n<|Assistant|>:{BOI}"
    assert [token - CODES for token in model.prompt_ids(" a cat ", model.size)] == model.text.ids(text)


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(folder: Path) -> None:
    assert_decodes_as_ar(cd.from_pretrained(folder, dtype="float64"), ["a red heart", "a cat"])


def test_scd_draws_as_ar(tmp_path: Path) -> None:
    write_port(tmp_path / "janus")
    assert_draws_as_ar(cd.from_pretrained(tmp_path / "janus"), "a red heart")


def test_pictures_are_encoded_to_tokens_that_decoding_goes_on_from(folder: Path) -> None:
    pipe = cd.from_pretrained(folder)
    drawn = pipe("a cat", seed=1)
    tokens = pipe.model.encode(drawn.images, pipe.model.size)
    again = pipe("a cat", seed=1, given=tokens[:, :9])
    assert torch.equal(again.tokens[:, :9], tokens[:, :9])


@pytest.mark.parametrize("size", PUBLISHED)
def test_names_and_shapes_are_the_official_ones(size: str) -> None:
    """At the published sizes every module of ours has the weights of deepseek-ai's code, and nothing else."""
    official = published(f"janus-pro-{size}")
    with torch.device("meta"):
        language = LlamaModel(LlamaConfig(vocab_size=102400, max_position_embeddings=16384, **PUBLISHED[size]))
        vq = renamed_vq16(under("gen_vision_model.", official))
        parts = {name: t for name, t in official.items() if name.startswith(("gen_embed", "gen_aligner", "gen_head"))}
        assert shapes(language) == shapes(under("language_model.model.", official))
        assert shapes(VQGAN(VQGANConfig.of(vq, normalised=True))) == shapes(vq)
        assert shapes(PictureParts(parts)) == shapes(parts)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}], ids=str)
def test_a_device_map_changes_no_token(folder: Path, device_map: Any) -> None:
    whole = cd.from_pretrained(folder)("a cat", seed=1)
    spread = cd.from_pretrained(folder, device_map=device_map)("a cat", seed=1)
    assert torch.equal(spread.tokens, whole.tokens)


def test_another_size_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="size is 32x16: janus-pro makes pictures of 16x16"):
        cd.from_pretrained(folder)("a cat", size=(32, 16))


BROKEN = {
    "missing shard": (lambda f: (f / "pytorch_model-00002-of-00003.bin").unlink(), FileNotFoundError, "00002-of-00003"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), FileNotFoundError, "lacks tokenizer.json"),
    "damaged": (lambda f: (f / "pytorch_model-00001-of-00003.bin").write_bytes(b"PK\x03\x04"), ValueError, "damaged"),
    "code": (lambda f: torch.save({"x": Path("/")}, f / "pytorch_model-00003-of-00003.bin"), ValueError, "run code"),
    "other text": (lambda f: write_tokenizer(f / "tokenizer.json", ["<s>"]), ValueError, "no token '<｜begin"),
    "other sizes": (
        lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('"hidden_size": 32',
                                                                                        '"hidden_size": 64')),
        ValueError, "do not fit its config.json",
    ),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write_original(tmp_path / "janus", shards=3)
    damage(tmp_path / "janus")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "janus")("a cat", seed=0)
