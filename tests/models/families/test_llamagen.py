"""LlamaGen: classes and captions, against plain arithmetic, transformers' VQ-16 and its T5 at random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import JanusVQVAE, JanusVQVAEConfig, T5Config, T5EncoderModel, T5ForConditionalGeneration

import coupled_decoding as cd
from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.families.imagenet import class_id
from coupled_decoding.models.families.janus import renamed_port
from coupled_decoding.models.families.llamagen_text import cleaned
from coupled_decoding.models.networks.llamagen_transformer import LlamaGenTransformer
from coupled_decoding.models.networks.vqgan import VQGAN, VQGANConfig, renamed_vq16
from tests.models.families.helpers import (
    assert_decodes_as_ar,
    assert_draws_as_ar,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

CODES, SIDE, WIDTH, INNER, LAYERS, HEAD = 24, 4, 128, 96, 2, 64
PLACES, FEATURES = 12, 16
HEADS = {"c2i-b": 12, "c2i-l": 16, "c2i-xl": 20, "c2i-xxl": 24, "c2i-3b": 32, "t2i-xl": 20}


def weights(kind: str) -> dict[str, Tensor]:
    """Of a tiny transformer, under the published names."""
    sizes: dict[str, tuple[int, ...]] = {
        "tok_embeddings.weight": (CODES, WIDTH), "norm.weight": (WIDTH,), "output.weight": (CODES, WIDTH),
    }
    if kind == "c2i":
        sizes["cls_embedding.embedding_table.weight"] = (1001, WIDTH)
    else:
        sizes["cls_embedding.uncond_embedding"] = (PLACES, FEATURES)
        sizes["cls_embedding.cap_proj.fc1.weight"] = (WIDTH, FEATURES)
        sizes["cls_embedding.cap_proj.fc2.weight"] = (WIDTH, WIDTH)
    for i in range(LAYERS):
        sizes |= {
            f"layers.{i}.attention.wqkv.weight": (3 * WIDTH, WIDTH), f"layers.{i}.attention.wo.weight": (WIDTH, WIDTH),
            f"layers.{i}.feed_forward.w1.weight": (INNER, WIDTH), f"layers.{i}.feed_forward.w3.weight": (INNER, WIDTH),
            f"layers.{i}.feed_forward.w2.weight": (WIDTH, INNER),
            f"layers.{i}.attention_norm.weight": (WIDTH,), f"layers.{i}.ffn_norm.weight": (WIDTH,),
        }
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(size, generator=generator) * 0.1 + ("norm" in name) for name, size in sizes.items()}


def tiny_vq(codes: int = CODES) -> JanusVQVAE:
    torch.manual_seed(0)
    vq = JanusVQVAE(JanusVQVAEConfig(
        embed_dim=8, num_embeddings=codes, latent_channels=32, base_channels=32, channel_multiplier=[1, 2, 2],
        num_res_blocks=1, num_patches=SIDE, projection_dim=32, image_token_embed_dim=32,
    )).eval()
    for weight in vq.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return vq


def write_vq(path: Path, codes: int = CODES) -> None:
    tensors = renamed_port({f"model.vqmodel.{name}": tensor for name, tensor in tiny_vq(codes).state_dict().items()})
    counter = {"quantize.codebook_used": torch.zeros(65536)}
    torch.save({"model": under("gen_vision_model.", tensors) | counter}, path)


def write_c2i(folder: Path) -> None:
    folder.mkdir()
    torch.save({"model": weights("c2i"), "steps": 7}, folder / "c2i_B_16.pt")
    write_vq(folder / "vq_ds16_c2i.pt")


def write_fsdp(folder: Path) -> None:
    """As the largest are published: not wrapped."""
    folder.mkdir()
    torch.save(weights("c2i"), folder / "c2i_3B_16.pt")
    write_vq(folder / "vq_ds16_c2i.pt")


def write_t2i(folder: Path) -> None:
    folder.mkdir()
    torch.save({"module": weights("t2i")}, folder / "t2i_XL_stage2_16.pt")
    write_vq(folder / "vq_ds16_t2i.pt")
    write_t5(folder / "t5", FEATURES)


def write_t5(folder: Path, width: int) -> None:
    """With its decoder, and a configuration of the words of flan-t5-xl's."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=100, d_model=width, d_kv=4, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0, n_positions=512, output_past=True,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | {"tie_word_embeddings": False}))
    write_tokenizer(folder / "tokenizer.json", ["<pad>", "</s>"])


WRITERS = {
    "c2i": (write_c2i, "207", "goldfish"), "fsdp": (write_fsdp, "3", "9"), "t2i": (write_t2i, "a cat", "an old owl"),
}


@pytest.fixture(scope="module", params=WRITERS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder and two prompts for it."""
    path = tmp_path_factory.mktemp("llamagen") / request.param
    write, one, other = WRITERS[request.param]
    write(path)
    return path, one, other


def conditions(folder: Path, prompt: str) -> tuple[Tensor, Tensor]:
    """What the transformer reads before the picture, with the prompt and without: no padding. ``[n, WIDTH]`` each."""
    if not (folder / "t5").is_dir():
        table = weights("c2i")["cls_embedding.embedding_table.weight"]
        return table[[class_id(prompt)]], table[[1000]]
    w, text = under("cls_embedding.", weights("t2i")), cd.from_pretrained(folder).model.text
    ids = [*text.text.ids(prompt), text.end]
    padded = torch.tensor([ids + [0] * (PLACES - len(ids))])  # as upstream: transformers' encoder reads the padding too
    encoder = T5EncoderModel.from_pretrained(folder / "t5").eval()
    features = encoder(input_ids=padded, attention_mask=(torch.arange(PLACES) < len(ids)).long()[None])[0]
    return tuple(
        F.gelu(one @ w["cap_proj.fc1.weight"].T, approximate="tanh") @ w["cap_proj.fc2.weight"].T
        for one in (features[0, : len(ids)], w["uncond_embedding"][PLACES - len(ids) :])
    )


def turned(x: Tensor, start: int) -> Tensor:
    """``[T, heads, HEAD]`` of a sequence whose picture begins at ``start``; what comes before is zero."""
    out = torch.zeros_like(x)
    for place in range(start, len(x)):
        row, column = divmod(place - start, SIDE)
        for pair in range(HEAD // 2):
            turn = (row if pair < HEAD // 4 else column) * 10000 ** -((pair % (HEAD // 4)) / (HEAD // 4))
            real, imaginary = x[place, :, 2 * pair], x[place, :, 2 * pair + 1]
            out[place, :, 2 * pair] = real * math.cos(turn) - imaginary * math.sin(turn)
            out[place, :, 2 * pair + 1] = real * math.sin(turn) + imaginary * math.cos(turn)
    return out


def reference_logits(w: dict[str, Tensor], condition: Tensor, tokens: Tensor) -> Tensor:
    """Plain arithmetic over one whole sequence: ``[length, CODES]``."""
    x = torch.cat([condition, w["tok_embeddings.weight"][tokens[:-1]]])
    start, future = len(condition), torch.ones(len(x), len(x), dtype=torch.bool).triu(1)

    def normed(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[name]

    for i in range(LAYERS):
        one = under(f"layers.{i}.", w)
        qkv = (normed(x, f"layers.{i}.attention_norm.weight") @ one["attention.wqkv.weight"].T).chunk(3, -1)
        query, key, value = (part.view(len(x), -1, HEAD) for part in qkv)
        scores = torch.einsum("qhd,khd->hqk", turned(query, start), turned(key, start)) / HEAD**0.5
        mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), value)
        x = x + mixed.flatten(1) @ one["attention.wo.weight"].T
        y = normed(x, f"layers.{i}.ffn_norm.weight")
        gate, up = y @ one["feed_forward.w1.weight"].T, y @ one["feed_forward.w3.weight"].T
        x = x + (F.silu(gate) * up) @ one["feed_forward.w2.weight"].T
    return (normed(x, "norm.weight") @ w["output.weight"].T)[start - 1 :]


def test_logits_and_guidance_are_those_of_plain_arithmetic(case: tuple[Path, str, str]) -> None:
    """So the padding of captions does not count, nor does the cache."""
    folder, prompt, _ = case
    pipe = cd.from_pretrained(folder)
    tokens = torch.randint(CODES, (SIDE * SIDE,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        c, u = (reference_logits(weights(pipe.model.names), one, tokens) for one in conditions(folder, prompt))
    assert (c - u).abs().max() > 0.1
    scale = pipe.guidance_scale
    torch.testing.assert_close(logits_of_stream(pipe, prompt, tokens, scale), u + scale * (c - u), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of_stream(pipe, prompt, tokens, 1.0), c, rtol=0, atol=1e-4)


def test_pixels_are_those_of_transformers(case: tuple[Path, str, str]) -> None:
    tokens = torch.randint(CODES, (2, SIDE * SIDE), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = tiny_vq().decode(tokens) / 2 + 0.5
    ours = cd.from_pretrained(case[0]).model.vq.decode(tokens.view(2, SIDE, SIDE))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(case: tuple[Path, str, str]) -> None:
    assert_decodes_as_ar(cd.from_pretrained(case[0], dtype="float64"), case[1:])


@pytest.mark.parametrize("kind", ["c2i", "t2i"])
def test_scd_draws_as_ar(kind: str, tmp_path: Path) -> None:
    write, prompt, _ = WRITERS[kind]
    write(tmp_path / kind)
    assert_draws_as_ar(cd.from_pretrained(tmp_path / kind), prompt, pictures=1000)


def test_pictures_are_encoded_to_tokens_that_decoding_goes_on_from(case: tuple[Path, str, str]) -> None:
    pipe = cd.from_pretrained(case[0])
    drawn = pipe(case[1], seed=1)
    tokens = pipe.model.encode(drawn.images, pipe.model.size)
    again = pipe(case[1], seed=1, given=tokens[:, :9])
    assert torch.equal(again.tokens[:, :9], tokens[:, :9])


def test_features_may_be_given_instead_of_captions(tmp_path: Path) -> None:
    """Also where there is no text encoder; rows that share one tensor share what is read."""
    write_t2i(tmp_path / "t2i")
    pipe = cd.from_pretrained(tmp_path / "t2i")
    prompts = ["a cat", "an old owl", "a cat"]
    by_text = pipe.model.session(prompts, 7.5, pipe.model.size)
    read = {prompt: pipe.model.text.features(prompt, PLACES) for prompt in prompts}
    (tmp_path / "t2i" / "t5").rename(tmp_path / "elsewhere")
    model = cd.from_pretrained(tmp_path / "t2i").model
    made = {prompt: model.prompt_of_features(features) for prompt, features in read.items()}
    given = model.session_of([made[prompt] for prompt in prompts], 7.5, model.size)
    assert given.vocab_size == by_text.vocab_size == CODES + 2  # padding and features: no ids are made for a batch
    fed = torch.cat([given.last_token.unsqueeze(1), torch.arange(8).expand(3, -1)], 1)
    positions = given.last_position.unsqueeze(1) + torch.arange(9)
    assert torch.equal(given.forward(fed, positions), by_text.forward(fed, positions))
    with pytest.raises(FileNotFoundError, match="lacks its text encoder: put google/flan-t5-xl into its subfolder t5"):
        model.session(["a cat"], 7.5, model.size)
    for shape in ((3, FEATURES + 1), (PLACES + 1, FEATURES), (0, FEATURES), (FEATURES,)):
        with pytest.raises(ValueError, match=rf"give \[n, {FEATURES}\] with n from 1 to {PLACES}"):
            model.prompt_of_features(torch.zeros(shape))


@pytest.mark.parametrize("size", HEADS)
def test_names_shapes_and_heads_are_the_official_ones(size: str) -> None:
    official = published(f"llamagen-{size}")
    with torch.device("meta"):
        transformer = LlamaGenTransformer(official)
    assert shapes(transformer) == shapes(official)
    assert official["norm.weight"].shape[0] // transformer.head_dim == HEADS[size]


def test_names_and_shapes_of_the_vqgan_are_the_official_ones() -> None:
    official = renamed_vq16(published("llamagen-vq16"))
    with torch.device("meta"):
        assert shapes(VQGAN(VQGANConfig.of(official, normalised=True))) == shapes(official)


CLASS_PROMPTS = {
    "207": 207, " 0 ": 0, "999": 999, "Golden  Retriever": 207, "goldfish, Carassius auratus": 1,
    "cassette player": 482, "jeweler's loupe": 633, "red wine": 966, "toilet tissue": 999,
    "crane": ValueError("'crane' names the ImageNet classes 134 and 517: give the id"),
    "goldfsh": ValueError("'goldfsh' is no ImageNet class: give an id from 0 to 999 or a name such as 'goldfish'"),
    "1000": ValueError("no ImageNet class"), "-1": ValueError("no ImageNet class"),
    " ": ValueError("a prompt is empty"),
}


@pytest.mark.parametrize(("prompt", "expected"), CLASS_PROMPTS.items(), ids=CLASS_PROMPTS.keys())
def test_a_class_has_an_id_and_names(prompt: str, expected: int | ValueError) -> None:
    if isinstance(expected, int):
        assert class_id(prompt) == expected
    else:
        with pytest.raises(ValueError, match=str(expected)):
            class_id(prompt)


CLEANED = {
    "A portrait of “Welcome Friends!”": 'a portrait of "welcome friends!"',
    "a cat,a dog and 3.5 mice... very   cute": "a cat, a dog and 3.5 mice very cute",
    "the artist's studio (oil painting) — 4k": "the artist's studio oil painting - 4k",
    '"a red heart"': "a red heart",
    "an old-fashioned, hand-made, well-worn, red-hot pan": "an old fashioned, hand made, well worn, red hot pan",
    "high quality:": "high quality",
}


@pytest.mark.parametrize(("prompt", "expected"), CLEANED.items())
def test_captions_are_cleaned_as_in_training(prompt: str, expected: str) -> None:
    """Expected is what the official code made of these."""
    assert cleaned(prompt) == expected


def damage_weights(path: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = weights(path.name[:3])
    change(tensors)
    torch.save({"model": tensors}, path)


BROKEN = {
    "no transformer": (write_c2i, lambda f: (f / "c2i_B_16.pt").unlink(), FileNotFoundError, "lacks its transformer"),
    "two of them": (
        write_c2i, lambda f: torch.save({}, f / "c2i_L_16.pt"), ValueError, "several .*c2i_B_16.pt, c2i_L_16.pt",
    ),
    "no vq": (write_c2i, lambda f: (f / "vq_ds16_c2i.pt").unlink(), FileNotFoundError, "lacks vq_ds16_c2i.pt"),
    "no size": (write_c2i, lambda f: (f / "c2i_B_16.pt").rename(f / "c2i_B.pt"), ValueError, "does not say the size"),
    "odd size": (write_c2i, lambda f: (f / "c2i_B_16.pt").rename(f / "c2i_B_18.pt"), ValueError, "no multiple of"),
    "damaged": (write_c2i, lambda f: (f / "c2i_B_16.pt").write_bytes(b"PK\x03\x04"), ValueError, "damaged"),
    "code": (write_c2i, lambda f: torch.save({"x": Path("/")}, f / "c2i_B_16.pt"), ValueError, "run code"),
    "other kind": (
        write_c2i, lambda f: torch.save({"model": weights("t2i")}, f / "c2i_B_16.pt"), ValueError,
        "holds no c2i transformer .*embedding_table.weight is missing",
    ),
    "a tensor less": (
        write_c2i, lambda f: damage_weights(f / "c2i_B_16.pt", lambda w: w.pop("tok_embeddings.weight")), ValueError,
        "holds no transformer .*tok_embeddings.weight' is missing",
    ),
    "a tensor of another shape": (
        write_c2i, lambda f: damage_weights(f / "c2i_B_16.pt", lambda w: w.update({"norm.weight": torch.ones(3)})),
        ValueError, "does not fit .*norm.weight",
    ),
    "other width": (
        write_c2i, lambda f: damage_weights(
            f / "c2i_B_16.pt", lambda w: w.update({"tok_embeddings.weight": torch.ones(CODES, 100)})
        ),
        ValueError, "width 100 is not that of a published model",
    ),
    "other classes": (
        write_c2i, lambda f: damage_weights(
            f / "c2i_B_16.pt", lambda w: w.update({"cls_embedding.embedding_table.weight": torch.ones(11, WIDTH)})
        ),
        ValueError, "draws 10 classes",
    ),
    "other codes": (write_c2i, lambda f: write_vq(f / "vq_ds16_c2i.pt", 25), ValueError, "has 25 codes.*draws 24"),
    "no vq inside": (
        write_c2i, lambda f: torch.save(weights("c2i"), f / "vq_ds16_c2i.pt"), ValueError, "vq_ds16_c2i.pt holds no VQ",
    ),
    "other text": (
        write_t2i, lambda f: write_tokenizer(f / "t5/tokenizer.json", ["<s>"]), ValueError, "no token '</s>'",
    ),
    "other encoder": (write_t2i, lambda f: write_t5(f / "t5", 8), ValueError, "features of width 8, t2i_.* reads 16"),
    "no encoder": (
        write_t2i, lambda f: (f / "t5/model.safetensors").unlink(), FileNotFoundError, "t5 lacks its weights",
    ),
    "long prompt": (write_t2i, lambda f: None, ValueError, "has 13 tokens: the model reads 12; make it shorter"),
}


@pytest.mark.parametrize(("write", "damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_and_prompts_give_one_clear_sentence(
    write: Any, damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "llamagen")
    damage(tmp_path / "llamagen")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "llamagen")("twelve signs", seed=0)


def test_what_is_not_served_is_said(tmp_path: Path) -> None:
    write_c2i(tmp_path / "c2i")
    with pytest.raises(ValueError, match="size is 32x16: llamagen-c2i makes pictures of 16x16"):
        cd.from_pretrained(tmp_path / "c2i")("207", size=(32, 16))
    with pytest.raises(ValueError, match="device_map is given"):
        cd.from_pretrained(tmp_path / "c2i", device_map="auto")
