"""Lumina-mGPT 2.0: its checkpoint folder and stream, against plain arithmetic at random weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import ChameleonConfig

import coupled_decoding as cd
from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.checkpoints.recognition import lumina_mgpt_2
from coupled_decoding.models.families.chameleon import LanguageModel, renamed_language
from coupled_decoding.models.families.lumina_mgpt2 import (
    DECODER,
    END,
    FIRST_CODE,
    NEWLINE,
    SEPARATOR,
    START,
)
from coupled_decoding.models.networks.movqgan import MoVQGAN, SpatialNorm
from coupled_decoding.models.networks.vqgan import VQGANConfig
from tests.models.families.helpers import (
    assert_decodes_as_ar,
    assert_draws_as_ar,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

CODES, HEADS, LAYERS = 24, 4, 2
SIZE = (64, 32)  # 4 rows of 8 codes
BOS = "<|endoftext|>"
SPECIAL = [
    START, END, NEWLINE, SEPARATOR, BOS, *(f"<reserved{8800 + n:05d}>" for n in (1, 2, 24)),
    "Generate an image of ", " according to the following prompt:\n",  # keeps prompts short
]
CONFIG = {
    "architectures": ["ChameleonXLLMXForConditionalGeneration"], "model_type": "chameleon",
    "vocab_size": FIRST_CODE + CODES, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": 10240, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "rope_scaling": None, "swin_norm": False, "model_parallel_size": 1, "dropout": 0.0,
    "mask_image_logits": False, "z_loss_weight": 0.0, "torch_dtype": "bfloat16",
    "vocabulary_map": {"<image>": 7, START: 0}, "vq_config": {"embed_dim": 256, "num_embeddings": 8192},
}


def tensors_of(config: dict[str, Any]) -> dict[str, Tensor]:
    """Random weights of a decoder under the published names: one query norm and one key norm a shard of training."""
    generator = torch.Generator().manual_seed(0)
    hidden, between = config["hidden_size"], config["intermediate_size"]
    norms = (config["model_parallel_size"], hidden // HEADS)
    layer = {
        **{f"self_attn.{name}_proj.weight": (hidden, hidden) for name in "qkvo"},
        **{f"self_attn.{name}_norm.{part}": norms for name in "qk" for part in ("weight", "bias")},
        "mlp.gate_proj.weight": (between, hidden), "mlp.up_proj.weight": (between, hidden),
        "mlp.down_proj.weight": (hidden, between), "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    sizes = {
        "model.embed_tokens.weight": (FIRST_CODE + CODES, hidden),
        **{f"model.layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()},
        "model.norm.weight": (hidden,), "lm_head.weight": (FIRST_CODE + CODES, hidden),
    }
    return {name: 0.4 * torch.randn(shape, generator=generator) + ("norm.weight" in name)
            for name, shape in sizes.items()}


def tiny_vq() -> MoVQGAN:
    torch.manual_seed(1)
    config = VQGANConfig(
        codes=CODES, code_dim=4, latent_channels=4, base_channels=32, channels=(32, 32, 32, 64), blocks=1,
        attention=frozenset([3]), normalised=False,
    )
    vq = MoVQGAN(config).eval()
    for name, weight in vq.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm" in name and weight.ndim == 1), std=0.1)
    torch.nn.init.normal_(vq.quantize.embedding.weight)
    return vq


def write(folder: Path, *, shards: int = 1, shared_norms: int = 1, decoder: str = DECODER, **config: Any) -> None:
    """A folder in the published layout; what we do not read is there too."""
    folder.mkdir()
    config = {**CONFIG, "model_parallel_size": shared_norms, **config}
    tensors = tensors_of(config)
    tensors["model.vqmodel.quant_conv.weight"] = torch.zeros(3)
    names, files = list(tensors), {}
    for i in range(shards):
        file = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        files |= dict.fromkeys(names[i::shards], file)
        if shards > 1:
            torch.save({name: tensors[name] for name in names[i::shards]}, folder / file)
    if shards > 1:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    else:
        save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder / "tokenizer.json", SPECIAL)
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": None, "eos_token": {"content": BOS}}))
    (folder / decoder).parent.mkdir(parents=True, exist_ok=True)
    training = {"loss.discriminator.weight": torch.zeros(3), "ema_encoder.conv_inweight": torch.zeros(3)}
    torch.save({**tiny_vq().state_dict(), **training}, folder / decoder)


WRITERS: dict[str, dict[str, Any]] = {
    "safetensors": {},
    "shards": {"shards": 3, "shared_norms": 2, "decoder": f"movqgan/270M/{DECODER}"},
}


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lumina") / request.param
    write(path, **WRITERS[request.param])
    return path


def small(folder: Path, **options: Any) -> Any:
    pipe = cd.from_pretrained(folder, **options)
    assert pipe.model.size == (768, 768)
    pipe.model.size = SIZE
    return pipe


def plain_logits(t: dict[str, Tensor], tokens: list[int]) -> Tensor:
    """The decoder written down once more, reading all tokens at once: logits of the codes ``[T, CODES]``."""
    x = t["model.embed_tokens.weight"][tokens]
    length, hidden = x.shape
    half = hidden // HEADS // 2
    angles = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(half) / half))
    turn = torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)

    def rms(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * t[f"{name}.weight"]

    def normed(x: Tensor, name: str) -> Tensor:  # each head by itself, then turned by its position
        x = x.view(length, HEADS, 2 * half)
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        shards = len(t[f"{name}.weight"])
        weight, bias = (t[f"{name}.{part}"].repeat_interleave(HEADS // shards, 0) for part in ("weight", "bias"))
        x = x * weight + bias
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], -1)

    for i in range(LAYERS):
        at, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        y = rms(x, f"model.layers.{i}.input_layernorm")
        query, key = (normed(y @ t[f"{at}{n}_proj.weight"].T, f"{at}{n}_norm") for n in "qk")
        value = (y @ t[f"{at}v_proj.weight"].T).view(length, HEADS, -1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(2 * half)
        mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), value)
        x = x + mixed.flatten(1) @ t[f"{at}o_proj.weight"].T
        y = rms(x, f"model.layers.{i}.post_attention_layernorm")
        gate = F.silu(y @ t[f"{mlp}gate_proj.weight"].T)
        x = x + (gate * (y @ t[f"{mlp}up_proj.weight"].T)) @ t[f"{mlp}down_proj.weight"].T
    return rms(x, "model.norm") @ t["lm_head.weight"][FIRST_CODE:].T


def random_stream(pipe: Any) -> Tensor:
    forced = pipe.layout.forced
    codes = FIRST_CODE + torch.randint(CODES, forced.shape, generator=torch.Generator().manual_seed(2))
    return torch.where(forced < 0, codes, forced)


def test_logits_and_guidance_are_those_of_the_decoder_written_down(folder: Path) -> None:
    pipe = small(folder)
    weights = tensors_of(json.loads((folder / "config.json").read_text()))
    stream = random_stream(pipe)
    prompt = pipe.model.prompt_ids("a red heart", SIZE)
    c = plain_logits(weights, [*prompt, *stream.tolist()])[len(prompt) - 1 : -1]
    u = plain_logits(weights, [pipe.model.start, *stream.tolist()])[:-1]
    free = pipe.layout.forced < 0
    scales = {1.0: [1.0] * len(stream), 3.0: [3.0] * len(stream), 4.0: [4.0] * len(stream), 20.0: [20.0, 20.0]}
    for n in range(2, len(stream)):  # upstream's loop; its area is that of 1 by 2 units of two codes each way
        scales[20.0].append(max(4.0, scales[20.0][-1] * (1 - n / (2 * 4))))
    assert scales[20.0][2:6] == [15.0, 9.375, 4.6875, 4.0]
    for scale, at in scales.items():
        ours = logits_of_stream(pipe, "a red heart", stream, scale)
        expected = u + torch.tensor(at).unsqueeze(1) * (c - u)
        torch.testing.assert_close(ours[free], expected[free], rtol=0, atol=1e-4)


def test_a_stream_is_size_tokens_rows_and_an_end(folder: Path) -> None:
    model = small(folder).model
    unit = {n: model.text.id_of(f"<reserved{8800 + n:05d}>") for n in (1, 2, 24)}
    row = [-1] * 8 + [model.newline]
    assert model.layout_of(SIZE).forced.tolist() == [unit[1], unit[2], *row * 4, model.end]  # height first
    whole = model.layout_of((768, 768))
    assert whole.length == 2 + 96 * 97 + 1
    assert whole.forced[:2].tolist() == [unit[24]] * 2
    codes = whole.codes
    assert (int(codes[0]), len(codes)) == (155000, CODES)


def test_the_prompt_is_the_published_template(folder: Path) -> None:
    model = cd.from_pretrained(folder).model
    text = f"{BOS}Generate an image of 64x32 according to the following prompt:\na {{cat}}{SEPARATOR}{START}"
    assert model.prompt_ids("a {cat}", SIZE) == model.text.ids(text)


def plain_norm(t: dict[str, Tensor], name: str, x: Tensor, latents: Tensor) -> Tensor:
    times = x.shape[-1] // latents.shape[-1]
    latents = latents.repeat_interleave(times, 2).repeat_interleave(times, 3)
    scale, shift = (
        torch.einsum("oi,bihw->bohw", t[f"{name}.conv_{part}.weight"].flatten(1), latents)
        + t[f"{name}.conv_{part}.bias"].view(1, -1, 1, 1) for part in "yb"
    )
    groups = x.unflatten(1, (32, -1))
    mean, variance = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), unbiased=False, keepdim=True)
    normed = ((groups - mean) / (variance + 1e-6).sqrt()).flatten(1, 2)
    weight, bias = (t[f"{name}.norm_layer.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return (normed * weight + bias) * scale + shift


def plain_pixels(t: dict[str, Tensor], codes: Tensor) -> Tensor:
    """MoVQGAN's decoder written down once more: codes ``[h, w]`` to ``[1, 3, 8h, 8w]``."""
    latents = t["quantize.embedding.weight"][codes].permute(2, 0, 1).unsqueeze(0)

    def conv(name: str, x: Tensor) -> Tensor:
        weight = t[f"{name}.weight"]
        return F.conv2d(x, weight, t[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(name: str, x: Tensor) -> Tensor:
        y = conv(f"{name}.conv1", F.silu(plain_norm(t, f"{name}.norm1", x, latents)))
        y = conv(f"{name}.conv2", F.silu(plain_norm(t, f"{name}.norm2", y, latents)))
        return (conv(f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in t else x) + y

    def attention(name: str, x: Tensor) -> Tensor:
        y = plain_norm(t, f"{name}.norm", x, latents)
        query, key, value = (conv(f"{name}.{part}", y).flatten(2)[0] for part in "qkv")
        mixed = value @ (query.T @ key / math.sqrt(len(query))).softmax(-1).T
        return x + conv(f"{name}.proj_out", mixed.view(x.shape))

    x = conv("decoder.conv_in", conv("post_quant_conv", latents))
    x = block("decoder.mid.block_2", attention("decoder.mid.attn_1", block("decoder.mid.block_1", x)))
    for level in (3, 2, 1, 0):
        for i in range(2):
            x = block(f"decoder.up.{level}.block.{i}", x)
            x = attention(f"decoder.up.{level}.attn.{i}", x) if level == 3 else x
        if level > 0:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = conv(f"decoder.up.{level}.upsample.conv", x)
    return conv("decoder.conv_out", F.silu(plain_norm(t, "decoder.norm_out", x, latents)))


def test_pixels_are_those_of_the_decoder_written_down(folder: Path) -> None:
    model = small(folder).model
    codes = torch.randint(CODES, (4, 8), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        model.vq.decode(codes.unsqueeze(0)), plain_pixels(tiny_vq().state_dict(), codes) / 2 + 0.5, rtol=0, atol=1e-4
    )
    stream = model.layout_of(SIZE).forced.clone()
    stream[stream < 0] = FIRST_CODE + codes.flatten()
    image = model.decode(stream.unsqueeze(0), SIZE)[0]
    expected = ((plain_pixels(tiny_vq().state_dict(), codes)[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
    assert image.size == SIZE
    assert np.abs(np.asarray(image) - expected.numpy()).max() < 0.51


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(folder: Path) -> None:
    assert_decodes_as_ar(small(folder, dtype="float64"), ["a red heart", "a cat"], size=SIZE)


def test_scd_draws_as_ar(tmp_path: Path) -> None:
    write(tmp_path / "lumina")
    pipe = small(tmp_path / "lumina")
    pipe.model.size = (32, 32)
    assert_draws_as_ar(pipe, "a cat", pictures=1500)


def test_pictures_are_encoded_to_tokens_that_decoding_goes_on_from(folder: Path) -> None:
    pipe = small(folder)
    drawn = pipe("a cat", seed=1)
    tokens = pipe.model.encode(drawn.images, SIZE)
    assert torch.equal(tokens[:, pipe.layout.forced >= 0], drawn.tokens[:, pipe.layout.forced >= 0])
    again = pipe("a cat", seed=1, given=tokens[:, :15])
    assert torch.equal(again.tokens[:, :15], tokens[:, :15])


def test_names_and_shapes_are_the_official_ones() -> None:
    """At the published sizes every module of ours has the weights of the official code, and nothing else."""
    official, vq = published("lumina-mgpt-2.0-7b"), published("movqgan-270m")
    config = ChameleonConfig(vocab_size=171385, max_position_embeddings=10240, vocabulary_map={})
    with torch.device("meta"):
        assert shapes(LanguageModel(config)) == shapes(renamed_language(official, config))
        assert shapes(MoVQGAN(VQGANConfig.of(vq, normalised=False))) == shapes(vq)
    norms = {name: tensor for name, tensor in under("model.", official).items() if "_norm." in name}
    assert {tuple(tensor.shape) for tensor in norms.values()} == {(1, 128)}
    assert tuple(official["lm_head.weight"].shape) == (171385, 4096)


def test_the_norm_takes_latents_of_any_resolution() -> None:
    norm = SpatialNorm(32, 4)
    x, latents = torch.randn(2, 32, 6, 9), torch.randn(2, 4, 2, 3)
    expected = plain_norm({f"n.{name}": weight for name, weight in norm.state_dict().items()}, "n", x, latents)
    torch.testing.assert_close(norm(x, latents), expected)


@pytest.mark.parametrize(("size", "words"), [
    ((100, 64), "size is 100x64: lumina.* multiples of 32, and the width is 100; 96x64 is nearest"),
    ((0, 64), "multiples of 32"),
    ((96, 64), "size is 96x64: this checkpoint has no token"),
])
def test_other_sizes_are_refused(size: tuple[int, int], words: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=words):
        cd.from_pretrained(folder)("a cat", size=size)


def test_a_relative_of_the_same_type_is_not_taken_for_this_family(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "chameleon", "vocab_size": 65536}))
    assert not lumina_mgpt_2(tmp_path)
    assert not lumina_mgpt_2(tmp_path / "nowhere")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


BROKEN = {
    "missing shard": (lambda f: (f / "pytorch_model-00002-of-00003.bin").unlink(), FileNotFoundError, "00002-of-00003"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), FileNotFoundError, "lacks tokenizer.json"),
    "no decoder": (lambda f: (f / DECODER).unlink(), FileNotFoundError, f"lacks {DECODER}: put that file of"),
    "damaged": (lambda f: (f / "pytorch_model-00001-of-00003.bin").write_bytes(b"PK\x03\x04"), ValueError, "damaged"),
    "damaged decoder": (lambda f: (f / DECODER).write_bytes(b"no"), ValueError, DECODER),
    "code": (lambda f: torch.save({"x": Path("/")}, f / DECODER), ValueError, "run code"),
    "other decoder": (lambda f: torch.save({"x": torch.zeros(3)}, f / DECODER), ValueError, "holds no MoVQGAN"),
    "other text": (lambda f: write_tokenizer(f / "tokenizer.json", [BOS]), ValueError, "no token '<racm3:break>'"),
    "no end of text": (
        lambda f: (f / "tokenizer_config.json").write_text("{}"), ValueError, "tokenizer_config.json does not say",
    ),
    "other sizes": (lambda f: edit(f / "config.json", num_hidden_layers=3), ValueError, "do not fit its config.json"),
    "fewer tokens": (
        lambda f: torch.save({**tiny_vq().state_dict(), "quantize.embedding.weight": torch.zeros(99, 4)}, f / DECODER),
        ValueError, "codes up to id 155098",
    ),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "lumina", shards=3)
    damage(tmp_path / "lumina")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "lumina")("a cat", seed=0, size=SIZE)
