"""GLM-Image's autoregressive part against transformers' own class at random weights, and its way into diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    GlmImageConfig,
    GlmImageForConditionalGeneration,
    GlmImageProcessor,
    GlmImageTextConfig,
    GlmImageTextModel,
    PreTrainedTokenizerFast,
)
from transformers.models.glm_image.image_processing_pil_glm_image import GlmImageImageProcessorPil
from typer.testing import CliRunner

import coupled_decoding as cd
from coupled_decoding.apps.cli import app
from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.families import glm_image
from coupled_decoding.models.families.glm_image import BEGIN, PART, grids_of, positions3_of, prior_token_ids
from tests.models.families.helpers import (
    METHODS,
    assert_draws_as_ar,
    assert_legal,
    published,
    shapes,
    write_tokenizer,
)

CODES, HEAD, BEGIN_ID, END_ID = 24, 32, 24, 25
MARKS = [*(f"[{i}]" for i in range(CODES)), BEGIN, *(f"[{i}]" for i in range(END_ID, HEAD)),
         "<sop>", "<eop>", "<|image|>"]
PROMPTS = ["a red heart", "a cat"]
WIDE, TALL = (160, 96), (64, 256)
PUBLISHED = {
    "vocab_size": 168064, "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40,
    "num_attention_heads": 32, "num_key_value_heads": 2, "pad_token_id": 167841, "vision_vocab_size": 16512,
    "rope_parameters": {"rope_theta": 10000, "rope_type": "default", "mrope_section": [8, 12, 12],
                        "partial_rotary_factor": 0.5},
}


def tiny() -> GlmImageForConditionalGeneration:
    torch.manual_seed(0)
    return GlmImageForConditionalGeneration(GlmImageConfig(
        text_config={
            "vocab_size": 160, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "vision_vocab_size": HEAD, "pad_token_id": 30,
            "eos_token_id": END_ID, "initializer_range": 0.3, "max_position_embeddings": 2048,
            # a small base, so that rows and columns turn what they are given to turn by much
            "rope_parameters": {"rope_theta": 10.0, "rope_type": "default", "mrope_section": [1, 1, 2],
                                "partial_rotary_factor": 0.5},
        },
        vision_config={"depth": 1, "hidden_size": 32, "num_heads": 2, "image_size": 32, "patch_size": 8,
                       "intermediate_size": 32},
        vq_config={"embed_dim": 16, "num_embeddings": CODES, "latent_channels": 32},
        image_token_id=MARKS.index("<|image|>"), image_start_token_id=BEGIN_ID, image_end_token_id=END_ID,
    )).eval()


def write_pipeline(folder: Path) -> None:
    """The published folder, as far as the autoregressive part goes, in shards."""
    tiny().save_pretrained(folder / PART, max_shard_size="30KB")
    (folder / "processor").mkdir()
    write_tokenizer(folder / "processor/tokenizer.json", MARKS)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "GlmImagePipeline"}))


def write_part(folder: Path) -> None:
    """That part by itself, with a tokenizer in it."""
    tiny().save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json", MARKS)


WRITERS: dict[str, Callable[[Path], None]] = {"pipeline": write_pipeline, "part": write_part}


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glm") / request.param
    WRITERS[request.param](path)
    return path


def processor_of(tokenizer: Path) -> GlmImageProcessor:
    """transformers' own, which makes the prompt."""
    text = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer), bos_token=BEGIN, eos_token="[25]", pad_token="[30]", padding_side="left",
        extra_special_tokens={"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"},
    )
    # of text, the published template keeps the text itself
    template = "{{ messages[0]['content'][0]['text'] }}"
    return GlmImageProcessor(GlmImageImageProcessorPil(), text, chat_template=template)


@pytest.mark.parametrize("size", [WIDE, TALL], ids=["wide", "tall"])
def test_prompts_and_logits_at_every_place_are_those_of_transformers(folder: Path, size: tuple[int, int]) -> None:
    """Two prompts of different lengths, from the small picture into the large one and to the end mark."""
    pipe, theirs = cd.from_pretrained(folder), tiny()
    processor = processor_of(pipe.model.text.path)
    inputs = processor(text=PROMPTS, target_h=size[1], target_w=size[0], padding=True, return_tensors="pt")
    layout = pipe.model.layout_of(size)
    torch.manual_seed(1)
    drawn = theirs.generate(
        **inputs, max_new_tokens=layout.length, do_sample=True, suppress_tokens=list(range(CODES, HEAD)),
        output_logits=True, return_dict_in_generate=True,
    )
    prompts = [row[kept.bool()].tolist()
               for row, kept in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    assert prompts == [pipe.model.prompt_ids(prompt, size) for prompt in PROMPTS]
    session = pipe.model.session(PROMPTS, 1.0, size)
    tokens = drawn.sequences[:, inputs["input_ids"].shape[1] :]
    assert tokens.shape[1] == layout.length
    fed = torch.cat([session.last_token.unsqueeze(1), tokens[:, :-1]], 1)
    ours = session.forward(fed, session.last_position.unsqueeze(1) + torch.arange(layout.length))
    torch.testing.assert_close(ours, torch.stack(drawn.logits, 1)[..., :CODES], rtol=0, atol=1e-4)


def test_the_part_within_its_pipeline_finds_the_tokenizer_beside_it(tmp_path: Path) -> None:
    write_pipeline(tmp_path / "glm")
    ids = [cd.from_pretrained(tmp_path / name).model.prompt_ids("a cat", WIDE) for name in ("glm", f"glm/{PART}")]
    assert ids[0] == ids[1]


def test_a_code_is_placed_by_its_picture_row_and_column() -> None:
    """Behind a prompt of three tokens; a row beside it has a longer prompt and other pictures."""
    shapes = torch.tensor([[3, 1, 2, 3, 2], [5, 2, 1, 1, 4]])
    time, row, column = positions3_of(torch.arange(12).expand(2, -1), shapes).tolist()
    assert time[0] == [0, 1, 2, 3, 3, 5, 5, 5, 5, 5, 5, 8]
    assert row[0] == [0, 1, 2, 3, 3, 5, 5, 6, 6, 7, 7, 8]
    assert column[0] == [0, 1, 2, 3, 4, 5, 6, 5, 6, 5, 6, 8]
    assert time[1] == [0, 1, 2, 3, 4, 5, 5, 7, 7, 7, 7, 11]
    assert row[1] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 11]
    assert column[1] == [0, 1, 2, 3, 4, 5, 5, 7, 8, 9, 10, 11]


def test_the_stream_is_the_small_picture_the_large_one_and_the_end_mark(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glm_image, "SMALL_SIDE", 2)
    assert grids_of((96, 64)) == ((1, 2), (2, 3))
    layout = cd.from_pretrained(folder).model.layout_of((96, 64))
    assert layout.forced.tolist() == [-1] * 8 + [END_ID]
    assert layout.above.tolist() == [-1, -1, -1, -1, -1, 2, 3, 4, -1]


def test_both_pictures_have_the_sizes_that_transformers_gives_them() -> None:
    for width in range(32, 2080, 32):
        for height in range(32, 2080, 160):
            small, large = grids_of((width, height))
            assert (*large, *small) == GlmImageProcessor._get_target_shape(None, height=height, width=width)


def test_seed_exact_is_ar_in_float64_and_every_stream_is_legal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glm_image, "SMALL_SIDE", 4)
    pipe = cd.from_pretrained(folder, dtype="float64")
    ar = pipe(PROMPTS, method=cd.AR(), seed=3, size=WIDE)
    assert ar.images == []
    for method in METHODS:
        out = pipe(PROMPTS, method=method, seed=3, size=WIDE)
        assert_legal(pipe.model.layout_of(WIDE), out.tokens)
        if isinstance(method, cd.SeedExact):
            assert torch.equal(out.tokens, ar.tokens)
            assert out.trace.nfe.sum() < ar.trace.nfe.sum()


def test_scd_draws_as_ar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glm_image, "SMALL_SIDE", 2)
    write_part(tmp_path / "glm")
    pipe = cd.from_pretrained(tmp_path / "glm")
    pipe.model.size = (96, 64)
    assert_draws_as_ar(pipe, "a red heart")


def test_decoding_goes_on_from_given_tokens(folder: Path) -> None:
    pipe = cd.from_pretrained(folder)
    drawn = pipe("a cat", seed=1, size=TALL, method=cd.SCD(window=64))
    again = pipe("a cat", seed=1, size=TALL, given=drawn.tokens[:, :260])
    assert torch.equal(again.tokens[:, :260], drawn.tokens[:, :260])
    assert again.tokens[0, -1] == END_ID


def test_prior_tokens_are_the_large_picture_twice_down_and_twice_across() -> None:
    (rows, columns), large = grids_of(WIDE)
    tokens = torch.randint(16384, (2, rows * columns + 3 * 5 + 1), generator=torch.Generator().manual_seed(0))
    picture = tokens[:, rows * columns : -1].view(2, 1, *large)
    expected = torch.nn.functional.interpolate(picture.double(), scale_factor=2, mode="nearest")
    assert torch.equal(prior_token_ids(tokens, WIDE), expected.long().flatten(1))
    with pytest.raises(ValueError, match=r"shape \(2, 255\): a picture of 160x96 needs whole streams of 256"):
        prior_token_ids(tokens[:, 1:], WIDE)


def test_names_and_shapes_are_the_official_ones() -> None:
    official = published("glm-image")
    with torch.device("meta"):
        language = GlmImageTextModel(GlmImageTextConfig(**PUBLISHED))
    assert shapes(language) == shapes(under("model.language_model.", official))
    assert official["lm_head.weight"].shape == (16512, 4096)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "guidance": (lambda pipe: pipe("a cat", guidance_scale=3.0), "guidance_scale is 3.0: glm-image draws its tokens"),
    "size": (lambda pipe: pipe("a cat", size=(100, 64)), "size is 100x64: .* multiples of 32"),
    "too narrow": (lambda pipe: pipe("a cat", size=(32, 32 * 300)), "a side would be shorter than one code"),
    "encode": (lambda pipe: pipe.model.encode([], WIDE), "give tokens that it drew"),
    "empty": (lambda pipe: pipe(" "), "a prompt is empty"),
}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_it_does_not_do_is_refused(folder: Path, call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(cd.from_pretrained(folder))


def test_a_picture_without_diffusers_or_its_files_is_one_clear_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole = cd.from_pretrained(folder).model, torch.zeros(1, 256, dtype=torch.long)
    monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs diffusers: pip install 'coupled-decoding\[glm\]'"):
        model.render(["a cat"], whole, WIDE)
    monkeypatch.setattr("coupled_decoding.extras.find_spec", lambda package: "there")
    with pytest.raises(FileNotFoundError, match="lacks transformer/config.json, vae/config.json"):
        model.render(["a cat"], whole, WIDE)


def test_the_command_line_says_what_draws_pictures(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["generate", "a cat", "--model", str(folder), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "gives no pictures here, its tokens condition a diffusion decoder" in result.stderr


def write_decoder(folder: Path) -> None:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, GlmImageTransformer2DModel
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    torch.manual_seed(0)
    ByT5Tokenizer().save_pretrained(folder / "tokenizer")
    T5EncoderModel(T5Config(
        vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
    )).save_pretrained(folder / "text_encoder")
    GlmImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        text_embed_dim=32, time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=CODES,
    ).save_pretrained(folder / "transformer")
    AutoencoderKL(
        block_out_channels=(4, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, latents_mean=[0.1] * 4, latents_std=[2.0] * 4,
    ).save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")


def test_diffusers_own_pipeline_makes_the_same_of_the_same_tokens(tmp_path: Path) -> None:
    """Its prior tokens are ours of the stream that it drew, and its pictures those that we render."""
    diffusers = pytest.importorskip("diffusers")
    from transformers import ByT5Tokenizer, T5EncoderModel

    write_pipeline(tmp_path / "glm")
    write_decoder(tmp_path / "glm")
    model = cd.from_pretrained(tmp_path / "glm").model
    theirs = diffusers.GlmImagePipeline(
        tokenizer=ByT5Tokenizer.from_pretrained(tmp_path / "glm/tokenizer"),
        processor=processor_of(model.text.path),
        text_encoder=T5EncoderModel.from_pretrained(tmp_path / "glm/text_encoder"),
        vision_language_encoder=tiny(),
        vae=diffusers.AutoencoderKL.from_pretrained(tmp_path / "glm/vae"),
        transformer=diffusers.GlmImageTransformer2DModel.from_pretrained(tmp_path / "glm/transformer"),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path / "glm/scheduler"),
    )
    drawn: list[Tensor] = []
    generate = theirs.vision_language_encoder.generate

    def spied(**inputs: Any) -> Tensor:
        drawn.append(generate(**inputs, suppress_tokens=list(range(CODES, HEAD))))
        return drawn[-1]

    theirs.vision_language_encoder.generate = spied
    prompts = ['a sign that says "hello"', "a cat"]
    prior, _, _ = theirs.generate_prior_tokens(prompts, height=WIDE[1], width=WIDE[0])
    stream = drawn[0][:, -model.layout_of(WIDE).length :]
    assert torch.equal(prior_token_ids(stream, WIDE), prior)
    # generate_prior_tokens leaves the stream's last token, the end mark, unread
    options: dict[str, Any] = {"num_inference_steps": 2, "output_type": "pt"}
    expected = theirs(prompts, prior_token_ids=prior, width=WIDE[0], height=WIDE[1],
                      generator=torch.Generator().manual_seed(0), **options).images
    ours = model.render(prompts, stream, WIDE, generator=torch.Generator().manual_seed(0), **options)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    other = model.render(prompts, stream.roll(1), WIDE, generator=torch.Generator().manual_seed(0), **options)
    assert (other - ours).abs().max() > 1e-3
    assert [image.size for image in model.render(prompts, stream, WIDE, num_inference_steps=1)] == [WIDE, WIDE]


def drop(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


def with_code(folder: Path) -> None:
    drop(folder / PART, "*.safetensors*")
    torch.save({"lm_head.weight": Path("/")}, folder / PART / "pytorch_model.bin")


def without_head(folder: Path) -> None:
    drop(folder / PART, "*.safetensors*")
    tensors = tiny().state_dict()
    tensors["lm_head.weight"] = tensors["lm_head.weight"][: CODES - 1]
    torch.save(tensors, folder / PART / "pytorch_model.bin")


def reworded(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


BROKEN: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no part": (lambda f: drop(f, f"{PART}/*"), FileNotFoundError, f"{PART} lacks config.json"),
    "no tokenizer": (lambda f: drop(f, "processor/*"), FileNotFoundError, "processor lacks tokenizer.json"),
    "missing shard": (lambda f: drop(f, f"{PART}/model-00002-*"), FileNotFoundError, "lacks model-00002-of-"),
    "damaged": (lambda f: next((f / PART).glob("model-00001-*")).write_bytes(b"PK\x03\x04"), ValueError, "damaged"),
    "code": (with_code, ValueError, "would run code"),
    "short head": (without_head, ValueError, r"at least 24 rows of 32, found one of shape \(23, 32\)"),
    "other sizes": (lambda f: reworded(f / PART / "config.json", '"intermediate_size": 48', '"intermediate_size": 64'),
                    ValueError, "do not fit its config.json"),
    "no codes": (lambda f: reworded(f / PART / "config.json", '"num_embeddings"', '"n"'), ValueError, "num_embeddings"),
    "other text": (lambda f: write_tokenizer(f / "processor/tokenizer.json", ["<s>"]), ValueError, "no token '<sop>'"),
    "other ids": (lambda f: write_tokenizer(f / "processor/tokenizer.json", MARKS[1:]), ValueError,
                  "the id 23, .* says 24"),
}


@pytest.mark.parametrize(("damage", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_checkpoints_give_one_clear_sentence(
    damage: Callable[[Path], Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    write_pipeline(tmp_path / "glm")
    damage(tmp_path / "glm")
    with pytest.raises(error, match=words):
        cd.from_pretrained(tmp_path / "glm")
