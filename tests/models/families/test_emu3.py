"""Emu3: transformers' port, as published and as written today, and BAAI's own layout, against transformers' classes."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    Emu3Config,
    Emu3ForCausalLM,
    Emu3ForConditionalGeneration,
    Emu3ImageProcessor,
    Emu3Processor,
    Emu3TextConfig,
    Emu3VQVAE,
    Emu3VQVAEConfig,
    PreTrainedTokenizerFast,
)

import coupled_decoding as cd
from coupled_decoding.media.pixels import to_images, to_pixels
from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.families import emu3
from coupled_decoding.models.families.emu3 import (
    BOI,
    BOS,
    EOF,
    EOI,
    EOL,
    EOS,
    IMG,
    NEGATIVE,
    POSITIVE,
    OriginalText,
    renamed_port,
    renamed_vision_tokenizer,
)
from coupled_decoding.pipelines.pictures import PicturePipeline
from tests.models.families.helpers import (
    assert_decodes_as_ar,
    assert_draws_as_ar,
    assert_legal,
    logits_of_stream,
    published,
    shapes,
    write_tokenizer,
)

CODES, WIDTH, HEIGHT = 40, 4, 3
SIZE = (8 * WIDTH, 8 * HEIGHT)
MARKS = ["<|endoftext|>", BOS, EOS, EOL, EOF, "<image>"]
VISION = [IMG, BOI, EOI, *(f"<|visual token {code:06d}|>" for code in range(CODES))]
SHUFFLED = [*VISION[:3], *(VISION[3 + 7 * code % CODES] for code in range(CODES))]
LANGUAGE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}
VISION_TOKENIZER = {"codebook_size": CODES, "num_res_blocks": 1, "attn_resolutions": [3]}
MERGES = [b"ed", b" h", b" r", b" red", b"ear", b" hear", b"ea", b"aa", b"aaa", b"aaaa"]


def tiny(vocabulary: dict[str, int]) -> Emu3ForConditionalGeneration:
    torch.manual_seed(0)
    language = {"vocab_size": len(vocabulary), "pad_token_id": vocabulary["<|endoftext|>"], "initializer_range": 0.2}
    vision = {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "hidden_size": 32, "embed_dim": 4}
    model = Emu3ForConditionalGeneration(Emu3Config(
        text_config=LANGUAGE | language | {"rope_scaling": {"rope_type": "default"}},
        vq_config=VISION_TOKENIZER | vision, vocabulary_map=vocabulary,
    )).eval()
    vq = model.model.vqmodel
    for weight in vq.parameters():
        torch.nn.init.normal_(weight, mean=0.05, std=0.15)
    with torch.no_grad():  # codes are what the encoder makes of noise: then it uses many of them
        latents = vq.quant_conv(vq.encoder(torch.randn(1, 4, 3, 64, 64)).transpose(1, 2))
        vq.quantize.embedding.weight.copy_(latents[0].flatten(1).T[:CODES])
    return model


def vocabulary_of(tokenizer: Path) -> dict[str, int]:
    return json.loads(tokenizer.read_text())["model"]["vocab"]


def write_port(folder: Path) -> dict[str, int]:
    """As on the hub: names of transformers 4.48, two shards, most of the configuration left at its defaults."""
    folder.mkdir()
    write_tokenizer(folder / "tokenizer.json", [*MARKS, *VISION])
    vocabulary = vocabulary_of(folder / "tokenizer.json")
    model = tiny(vocabulary)
    config = {
        "model_type": "emu3", "vocabulary_map": vocabulary, "vq_config": model.config.vq_config.to_diff_dict(),
        "text_config": LANGUAGE | {"model_type": "emu3_text_model", "vocab_size": len(vocabulary), "pad_token_id": 0,
                                   "rope_scaling": {"rope_type": "default"}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        re.sub("^lm_head", "text_model.lm_head", name.replace("model.text_model.", "text_model.model."))
        .removeprefix("model."): tensor for name, tensor in model.state_dict().items()
    }
    assert any(name.startswith("text_model.model.layers.") for name in tensors)
    assert any(name.startswith("vqmodel.") for name in tensors)
    names, files = list(tensors), {}
    for i in range(2):
        file = f"model-{i + 1:05d}-of-00002.safetensors"
        files |= dict.fromkeys(names[i::2], file)
        save_file({name: tensors[name].contiguous() for name in names[i::2]}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return vocabulary


def write_resaved(folder: Path) -> dict[str, int]:
    """With the names of today, and a vocabulary that has the codes in another order."""
    folder.mkdir()
    write_tokenizer(folder / "tokenizer.json", [*MARKS, *SHUFFLED])
    vocabulary = vocabulary_of(folder / "tokenizer.json")
    model = tiny(vocabulary)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    model.config.to_json_file(folder / "config.json")
    return vocabulary


def original_vision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the port's vision tokenizer as BAAI's own layout has them."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace(".down_block.", ".").replace(".up_block.", ".").replace(".middle_block.", ".mid.")
        name = re.sub(r"\.attn_norms\.(\d)\.", r".attn.\1.norm.", name.replace(".attn_norm.", ".attn_1.norm."))
        attention = re.search(r"\.([qkv]|out)_proj\.", name)
        if attention:
            name = name.replace(attention[0], ".proj_out." if attention[1] == "out" else f".{attention[1]}.")
            tensor = tensor[..., None, None] if tensor.ndim == 2 else tensor
        renamed[name] = tensor.contiguous()
    return renamed


def write_original(folder: Path) -> dict[str, int]:
    """BAAI/Emu3-Gen with BAAI/Emu3-VisionTokenizer beside it."""
    folder.mkdir()
    tokens = [*(bytes([255 - i]) for i in range(256)), *MERGES]
    (folder / "emu3.tiktoken").write_bytes(b"".join(b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens)))
    (folder / "emu3_vision_tokens.txt").write_text("\n".join([*VISION, ""]))
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)), *VISION]
    vocabulary = {str(t): i for i, t in enumerate(tokens)} | {mark: len(tokens) + i for i, mark in enumerate(marks)}
    model = tiny(vocabulary)
    config = LANGUAGE | {
        "model_type": "Emu3", "architectures": ["Emu3ForCausalLM"], "auto_map": {"AutoConfig": "run_me.Config"},
        "vocab_size": len(vocabulary), "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_scaling": None,
        "rope_theta": 1000000.0, "pad_token_id": vocabulary["<|endoftext|>"], "image_area": 512 * 512,
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights = {name.replace("text_model.", ""): tensor.contiguous() for name, tensor in model.state_dict().items()}
    vision = original_vision(under("model.vqmodel.", weights))
    save_file({n: t for n, t in weights.items() if ".vqmodel." not in n}, folder / "model.safetensors")
    beside = folder.parent / "Emu3-VisionTokenizer"
    beside.mkdir()
    save_file(vision, beside / "model.safetensors")
    (beside / "config.json").write_text(json.dumps(VISION_TOKENIZER | {
        "model_type": "Emu3VisionVQ", "ch": 32, "ch_mult": [1, 1, 1, 1], "double_z": False, "embed_dim": 4,
        "in_channels": 3, "out_channels": 3, "temporal_downsample_factor": 4, "z_channels": 4, "dropout": 0.0,
    }))
    return vocabulary


WRITERS: dict[str, Callable[[Path], dict[str, int]]] = {
    "port": write_port, "resaved": write_resaved, "original": write_original,
}


@pytest.fixture(scope="module", params=WRITERS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    path = tmp_path_factory.mktemp("emu3") / request.param
    return path, WRITERS[request.param](path)


def small(folder: Path, **options: Any) -> PicturePipeline:
    """A pipeline whose pictures are tiny unless asked otherwise."""
    pipe = cd.from_pretrained(folder, **options)
    pipe.model.size = SIZE
    return pipe


def stream(vocabulary: dict[str, int], seed: int = 1) -> Tensor:
    """A picture's tokens, written out: rows of four codes with their ends, then the three marks at the end."""
    codes = torch.randint(CODES, (HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))
    tokens = []
    for row in codes.tolist():
        tokens += [*(vocabulary[f"<|visual token {code:06d}|>"] for code in row), vocabulary[EOL]]
    return torch.tensor([*tokens, vocabulary[EOF], vocabulary[EOI], vocabulary[EOS]])


def reference_logits(model: Any, prompt: list[int], tokens: Tensor, codes: list[int]) -> Tensor:
    """Of transformers' model, read at once without a cache: ``[length, codes]``."""
    ids = torch.cat([torch.tensor(prompt), tokens[:-1]]).unsqueeze(0)
    return model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :, codes]


def test_logits_guidance_and_pixels_are_those_of_transformers(checkpoint: tuple[Path, dict[str, int]]) -> None:
    folder, vocabulary = checkpoint
    pipe, theirs, tokens = small(folder), tiny(vocabulary), stream(vocabulary)
    codes = sorted(theirs.vocabulary_mapping.image_tokens)
    prompts = [pipe.model.prompt_ids("a red heart", SIZE), pipe.model.unconditional_ids([], SIZE)]
    with torch.no_grad():
        c, u = (reference_logits(theirs, prompt, tokens, codes) for prompt in prompts)
        pixels = theirs.decode_image_tokens(image_tokens=tokens.unsqueeze(0), height=HEIGHT, width=WIDTH)
    torch.testing.assert_close(logits_of_stream(pipe, "a red heart", tokens, 3.0), u + 3 * (c - u), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of_stream(pipe, "a red heart", tokens, 1.0), c, rtol=0, atol=1e-4)
    [drawn] = pipe.model.decode(tokens.unsqueeze(0), SIZE)
    assert np.array_equal(np.asarray(drawn), np.asarray(to_images(pixels / 2 + 0.5)[0]))
    processor = Emu3ImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    [published_picture] = processor.postprocess(list(pixels), return_tensors="PIL.Image.Image")["pixel_values"]
    difference = np.asarray(drawn).astype(int) - np.asarray(published_picture)  # theirs is cut, ours rounded
    assert difference.min() >= 0
    assert difference.max() <= 1
    assert np.asarray(drawn).std() > 5


def test_pictures_are_encoded_as_transformers_does(checkpoint: tuple[Path, dict[str, int]]) -> None:
    folder, vocabulary = checkpoint
    pipe, theirs = small(folder), tiny(vocabulary)
    drawn = pipe(["a cat", "a red heart"], seed=1)
    tokens = pipe.model.encode(drawn.images, SIZE)
    assert_legal(pipe.layout, tokens)
    assert len(tokens.unique()) > 8
    pixels = 2 * to_pixels(drawn.images, SIZE, torch.device("cpu")) - 1
    with torch.no_grad():
        expected = theirs.model.get_image_tokens(pixels, torch.tensor([[8 * HEIGHT, 8 * WIDTH]] * 2))
    assert torch.equal(tokens[:, :-3].flatten(), expected.long())
    again = pipe(["a cat", "a red heart"], seed=1, given=tokens[:, :7])
    assert torch.equal(again.tokens[:, :7], tokens[:, :7])


def test_only_the_rows_of_the_codes_are_computed_and_none_is_copied(checkpoint: tuple[Path, dict[str, int]]) -> None:
    backbone = small(checkpoint[0]).model.backbone
    [weight, _] = backbone._rows
    assert weight.shape == (CODES, 32)
    assert weight.untyped_storage().data_ptr() == backbone.model.lm_head.weight.untyped_storage().data_ptr()


def test_the_stream_is_the_published_one(checkpoint: tuple[Path, dict[str, int]]) -> None:
    folder, vocabulary = checkpoint
    model, ends = small(folder).model, [vocabulary[mark] for mark in (EOL, EOF, EOI, EOS)]
    layout = model.layout_of(SIZE)
    assert layout.forced.tolist() == [*([-1] * WIDTH + ends[:1]) * HEIGHT, *ends[1:]]
    assert model.layout_of((720, 720)).length == 90 * 91 + 3
    assert sorted(vocabulary[name] for name in VISION[3:]) == layout.codes.tolist()
    with pytest.raises(ValueError, match="size is 30x24: emu3 makes pictures whose width and height are multiples of"):
        model.layout_of((30, 24))


def test_the_size_is_that_of_the_checkpoint(checkpoint: tuple[Path, dict[str, int]]) -> None:
    side = 512 if checkpoint[0].name == "original" else 720
    assert cd.from_pretrained(checkpoint[0]).model.size == (side, side)


def theirs_processor(folder: Path) -> Emu3Processor:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=BOS, eos_token=EOS, pad_token="<|endoftext|>",
        extra_special_tokens={
            "image_token": "<image>", "boi_token": BOI, "eoi_token": EOI, "image_wrapper_token": IMG, "eof_token": EOF,
        },
    )
    return Emu3Processor(Emu3ImageProcessor(), tokenizer)


def test_greedy_streams_are_those_of_generate(tmp_path: Path) -> None:
    """From text to tokens as transformers documents its port, but the negative prompt has a size too, as published."""
    vocabulary = write_resaved(tmp_path / "emu3")
    pipe, theirs, processor = small(tmp_path / "emu3"), tiny(vocabulary), theirs_processor(tmp_path / "emu3")
    size = {"return_for_image_generation": True, "ratio": "4:3", "image_area": 32 * 24}
    inputs, negative = (processor(text=[text], return_tensors="pt", **size) for text in ("a cat" + POSITIVE, NEGATIVE))
    assert inputs["image_sizes"] == [[HEIGHT, WIDTH]]
    assert inputs["input_ids"][0].tolist() == pipe.model.prompt_ids("a cat", SIZE)
    assert negative["input_ids"][0].tolist() == pipe.model.unconditional_ids([], SIZE)
    start, ends = inputs["input_ids"].shape[1], [vocabulary[mark] for mark in (EOF, EOI, EOS)]

    def allowed(batch: int, ids: Tensor) -> list[int]:
        offset = len(ids) - start
        if offset >= HEIGHT * (WIDTH + 1):
            return [ends[offset - HEIGHT * (WIDTH + 1)]]
        return [vocabulary[EOL]] if offset % (WIDTH + 1) == WIDTH else theirs.vocabulary_mapping.image_tokens

    expected = theirs.generate(
        input_ids=inputs["input_ids"], guidance_scale=3.0, negative_prompt_ids=negative["input_ids"], do_sample=False,
        prefix_allowed_tokens_fn=allowed, max_new_tokens=HEIGHT * (WIDTH + 1) + 3, pad_token_id=0,
    )
    for method in (cd.AR(), cd.SeedExact(window=6)):
        ours = pipe("a cat", method=method, sampling=cd.Sampling(temperature=0), seed=0)
        assert torch.equal(ours.tokens, expected[:, start:])


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(checkpoint: tuple[Path, dict[str, int]]) -> None:
    assert_decodes_as_ar(cd.from_pretrained(checkpoint[0], dtype="float64"), ["a red heart", "a cat"], SIZE)


def test_scd_draws_as_ar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emu3, "NEGATIVE", "blurry")  # the published one is 200 tokens here
    monkeypatch.setattr(emu3, "POSITIVE", "")
    write_resaved(tmp_path / "emu3")
    assert_draws_as_ar(small(tmp_path / "emu3"), "a red heart", pictures=2000)


def test_text_of_the_original_layout_is_merged_by_rank(tmp_path: Path) -> None:
    """Against byte-pair encoding written out: while two neighbours make a token, the two of the lowest rank join."""
    vocabulary = write_original(tmp_path / "emu3")
    text = OriginalText(tmp_path / "emu3")
    ranks = {bytes([255 - i]): i for i in range(256)} | {token: 256 + i for i, token in enumerate(MERGES)}

    def merged(piece: bytes) -> list[int]:
        parts = [bytes([byte]) for byte in piece]
        while joins := [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]:
            i = min(joins)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [ranks[part] for part in parts]

    pieces = ["a", " red", " heart", "'s", " ", "1", "2", "*", "3", "\n", "aaaaaaaa", " caf\u00e9", " ", " naive", "!?"]
    expected = [vocabulary[BOS], *(token for piece in pieces for token in merged(piece.encode())), vocabulary[BOI]]
    assert text.ids(BOS + "".join(pieces).replace("\u00e9", "e\u0301") + BOI) == expected
    assert text.ids("<|visual token 000007|>") == [vocabulary["<|visual token 000007|>"]]


def test_names_and_shapes_are_the_official_ones() -> None:
    """At the published size every module of ours has the weights of BAAI's code, and nothing else."""
    language, vision = published("emu3-gen"), published("emu3-vision-tokenizer")
    with torch.device("meta"):
        assert shapes(Emu3ForCausalLM(Emu3TextConfig())) == shapes(language)
        ours = Emu3VQVAE(Emu3VQVAEConfig())
        assert shapes(ours) == shapes(renamed_vision_tokenizer(vision))
    # as the port was published
    port = {name.replace("model.", "text_model.model.") if "lm_head" not in name else f"text_model.{name}": tensor
            for name, tensor in language.items()} | {f"vqmodel.{name}": t for name, t in ours.state_dict().items()}
    assert shapes(renamed_port(port)) == shapes(language) | {f"vqmodel.{n}": s for n, s in shapes(ours).items()}


def replace_weights(folder: Path) -> None:
    """By a pickle that would run code."""
    for file in (*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"):
        file.unlink()
    torch.save({"x": Path("/")}, folder / "pytorch_model.bin")


def widen(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"intermediate_size": 64', '"intermediate_size": 96'))


BROKEN: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "missing shard": (write_port, lambda f: (f / "model-00002-of-00002.safetensors").unlink(), FileNotFoundError,
                      "lacks model-00002-of-00002.safetensors"),
    "damaged shard": (write_port, lambda f: (f / "model-00001-of-00002.safetensors").write_bytes(b"PK\x03\x04"),
                      ValueError, "00001-of-00002.safetensors is damaged"),
    "no tokenizer": (write_port, lambda f: (f / "tokenizer.json").unlink(), FileNotFoundError, "lacks tokenizer.json"),
    "other text": (write_port, lambda f: write_tokenizer(f / "tokenizer.json", ["<s>"]), ValueError,
                   "no token '<|visual token 000000|>'"),
    "code": (write_port, replace_weights, ValueError, "run code"),
    "other sizes": (write_port, widen, ValueError, "do not fit its config.json"),
    "no vision tokenizer": (write_original, lambda f: (f.parent / "Emu3-VisionTokenizer/config.json").unlink(),
                            FileNotFoundError, "put BAAI/Emu3-VisionTokenizer into"),
    "no vision weights": (write_original, lambda f: (f.parent / "Emu3-VisionTokenizer/model.safetensors").unlink(),
                          FileNotFoundError, "Emu3-VisionTokenizer lacks its weights"),
    "no vocabulary": (write_original, lambda f: (f / "emu3.tiktoken").unlink(), FileNotFoundError,
                      "lacks emu3.tiktoken"),
    "damaged vocabulary": (write_original, lambda f: (f / "emu3.tiktoken").write_text("version https://git-lfs\n"),
                           ValueError, "emu3.tiktoken is damaged"),
    "gaps in vocabulary": (write_original, lambda f: (f / "emu3.tiktoken").write_text("YQ== 0\nYg== 2\n"), ValueError,
                           "ranks are not 0 to 1"),
}


@pytest.mark.parametrize(("write", "damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    write: Any, damage: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "emu3")
    damage(tmp_path / "emu3")
    with pytest.raises(error, match=re.escape(words)):
        cd.from_pretrained(tmp_path / "emu3")
