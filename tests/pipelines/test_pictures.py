"""From a checkpoint folder to pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import coupled_decoding as cd
from coupled_decoding.media.pictures import save_png

METHODS = [cd.AR(), cd.SJD(window=5), cd.SCD(window=5), cd.SCD(window=5, coupling="maximal"), cd.SeedExact(window=5),
           cd.SeedExact(window=5, predict=True, branches=6)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_prompts_become_pictures_that_depend_on_prompt_and_seed_only(tiny_emoji: Path, method: cd.Method) -> None:
    """Two prompts, two pictures each, guided: every picture is the one it is alone, in float64."""
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    out = pipe(["a heart", "pizza"], method=method, guidance_scale=2.0, seed=7, images_per_prompt=2)
    assert out.prompts == ["a heart", "a heart", "pizza", "pizza"]
    assert out.seeds == [7, 8, 9, 10]
    assert not out.cancelled
    assert [image.size for image in out.images] == [(16, 16)] * 4
    assert out.metadata[3]["prompt"] == "pizza"
    assert out.metadata[3]["seed"] == "10"
    assert {"model", "dtype", "method", "window", "guidance_scale", "noise", "software"} <= out.metadata[0].keys()
    for row in range(4):
        alone = pipe(out.prompts[row], method=method, guidance_scale=2.0, seed=out.seeds[row])
        assert torch.equal(alone.tokens[0], out.tokens[row])
        assert alone.images[0].tobytes() == out.images[row].tobytes()


def test_the_lower_half_can_be_redrawn(tiny_emoji: Path) -> None:
    """Codes of a picture given as the beginning stay, and SeedExact goes on as AR does."""
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    tokens = pipe.model.encode([Image.new("RGB", (40, 40), "teal")], pipe.model.size)
    assert tokens.shape == (1, 16)
    upper = tokens[:, :8]
    ar = pipe("a heart", method=cd.AR(), given=upper, seed=1)
    fast = pipe("a heart", method=cd.SeedExact(window=4), given=upper, seed=1)
    assert torch.equal(ar.tokens[:, :8], upper)
    assert torch.equal(ar.tokens, fast.tokens)
    assert int(ar.trace.nfe[0]) == 8


def test_compiling_takes_the_transformer_and_changes_no_token(
    tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forward can be traced, cache and branches included; how fast what comes of it is, is torch's affair."""
    plain, traced = (cd.from_pretrained(tiny_emoji, dtype="float64") for _ in range(2))
    traced.model.backbone.decoder.compile(backend="eager", fullgraph=True, dynamic=True)
    for method in (METHODS[0], METHODS[-1]):
        one, other = (pipe(["a heart", "pizza"], method=method, guidance_scale=2.0, seed=7) for pipe in (plain, traced))
        assert torch.equal(one.tokens, other.tokens)

    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: compiled.append(module))
    assert cd.from_pretrained(tiny_emoji, compile=True).model.backbone.decoder is compiled[0]


def test_other_prompts_and_windows_compile_nothing_anew(tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compilation takes a minute on a real model: there is one for windows, and one for single tokens."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **how: compile_with(module, backend=backend, **how))
    pipe = cd.from_pretrained(tiny_emoji, compile=True)
    for prompt in ("a heart", "a large red heart"):
        for method in (cd.SCD(6), cd.SCD(4), cd.AR()):
            pipe(prompt, method=method, seed=0)
    assert len(graphs) == 2


def test_cancelling_gives_no_picture(tiny_emoji: Path) -> None:
    out = cd.from_pretrained(tiny_emoji)("a heart", method=cd.AR(), seed=0, on_step=lambda step: step.number < 3)
    assert out.cancelled
    assert out.images == []
    assert int((out.tokens >= 0).sum()) == 3


def test_transformers_loads_the_same_checkpoint(tiny_emoji: Path) -> None:
    """The folder is a plain LlamaForCausalLM checkpoint; its probabilities are those the pipeline draws from."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_emoji, dtype=torch.float64).eval()
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    session = pipe.model.session(["a heart"], 1.0, pipe.model.size)
    ours = session.forward(session.last_token.unsqueeze(1), session.last_position.unsqueeze(1))
    with torch.no_grad():
        own = plain(torch.tensor([pipe.model.prompt_ids("a heart", pipe.model.size)])).logits[0, -1, :24]
    torch.testing.assert_close(ours[0, 0], own, rtol=0, atol=1e-12)


BAD_CALLS = [
    ({"prompts": []}, "no prompts"),
    ({"prompts": ["a", "  "]}, "a prompt is empty"),
    ({"prompts": "x" * 99}, "has 101 tokens: the model reads 34"),
    ({"prompts": "a", "images_per_prompt": 0}, "images_per_prompt is 0"),
    ({"prompts": "a", "guidance_scale": float("nan")}, "guidance_scale is nan"),
    ({"prompts": "a", "guidance_scale": -1.0}, "guidance_scale is -1"),
    ({"prompts": "a", "seed": -1}, "seed is -1"),
    ({"prompts": ["a", "b"], "seed": [1]}, "1 seeds"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD_CALLS)
def test_bad_calls_are_refused_with_one_sentence(tiny_emoji: Path, arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cd.from_pretrained(tiny_emoji)(**arguments)


@pytest.fixture
def copy(tiny_emoji: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to damage."""
    return Path(shutil.copytree(tiny_emoji, tmp_path / "copy"))


@pytest.mark.parametrize("prompts", [None, b"a cat", 7, ["a cat", None], [b"a cat"], ["a cat", 7], [["a cat"]]])
def test_a_prompt_that_is_no_text_is_refused(tiny_emoji: Path, prompts: Any) -> None:
    pipe = cd.from_pretrained(tiny_emoji)
    for draw in (pipe, pipe.generate_many):
        with pytest.raises(TypeError, match=r"a prompt is .*, which is no text: give a str, or a list of them"):
            draw(prompts)
    assert pipe(one for one in ["a cat", "a dog"]).prompts == ["a cat", "a dog"]


def test_missing_files_are_named(copy: Path) -> None:
    (copy / "vq/model.safetensors").unlink()
    (copy / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="lacks tokenizer.json, vq/model.safetensors"):
        cd.from_pretrained(copy)


@pytest.mark.parametrize("file", ["model.safetensors", "vq/model.safetensors"])
def test_damaged_weights_are_named(copy: Path, file: str) -> None:
    """Cut in half: an error with one sentence, no traceback of another library."""
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read|is damaged"):
        cd.from_pretrained(copy)


@pytest.mark.parametrize("file", ["config.json", "picture_config.json", "vq/config.json", "tokenizer.json"])
def test_damaged_json_is_named(copy: Path, file: str) -> None:
    (copy / file).write_text("{ nonsense")
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        cd.from_pretrained(copy)


@pytest.mark.parametrize("file", ["picture_config.json", "vq/config.json"])
def test_configs_with_other_keys_are_named(copy: Path, file: str) -> None:
    (copy / file).write_text('{"unknown": 1}')
    with pytest.raises(ValueError, match=f"{file} does not say what is needed"):
        cd.from_pretrained(copy)


def test_weights_of_other_shapes_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(ValueError, match="do not fit|cannot be read"):
        cd.from_pretrained(copy)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no model 'emojy'"):
        cd.from_pretrained("emojy")
    with pytest.raises(ValueError, match="no checkpoint of a known family"):
        cd.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="dtype is 'int8'"):
        cd.from_pretrained("emoji", dtype="int8")
    with pytest.raises(ValueError, match="device 'abacus'"):
        cd.from_pretrained("emoji", device="abacus")


def test_png_files_are_whole_or_absent_and_carry_text(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), "red")
    save_png(picture, tmp_path / "one.png", {"prompt": "ein Herz ❤", "seed": "7"})
    with Image.open(tmp_path / "one.png") as read:
        assert read.text == {"prompt": "ein Herz ❤", "seed": "7"}
        assert read.tobytes() == picture.tobytes()
    with pytest.raises(AttributeError):
        save_png(None, tmp_path / "two.png", {})  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
