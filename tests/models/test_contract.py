"""What the contract gives to every family: models of parts, and sessions whose rows are of different requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import coupled_decoding as cd
from coupled_decoding.models.families.emoji import EmojiModel
from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer
from coupled_decoding.pipelines.pictures import PicturePipeline
from coupled_decoding.serving.causal_lm import CausalLM

METHOD = cd.SeedExact(window=6)
REQUESTS = [("a heart", 3.0, 7), ("pizza", 1.0, 8), ("a red heart on a blue ground", 1.5, 9), ("a cat", 1.0, 10)]
"""Prompt, guidance scale and seed; the third prompt is longer than the first two."""


def test_a_model_can_be_made_in_memory(tiny_emoji: Path) -> None:
    """Of a transformer, a tokenizer of pictures and one of text, no file read."""
    text = cd.from_pretrained(tiny_emoji).model.text  # type: ignore[union-attr]
    vq = VQTokenizer(VQConfig(codes=24, code_dim=4, encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1))
    language = LlamaForCausalLM(LlamaConfig(
        vocab_size=text.get_vocab_size(), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )).eval()
    backbone = CausalLM(language, output_codes=torch.arange(24))
    model = EmojiModel(backbone, vq.eval(), text, (2, 3), max_prompt=20)
    assert (model.name, model.size, model.sampling, model.guidance_scale) == ("emoji", (12, 8), cd.Sampling(), 1.0)
    out = PicturePipeline(model, "made here")("a heart", method=METHOD, seed=1)
    assert out.tokens.shape == (1, 6)
    assert out.images[0].size == (12, 8)


def test_rows_of_different_requests_give_what_each_gives_alone(tiny_emoji: Path) -> None:
    """Prompts and scales of their own, guided and unguided side by side, adopted by idle rows as rows become free."""
    pipe: Any = cd.from_pretrained(tiny_emoji, dtype="float64")
    model = pipe.model
    expected = [pipe(prompt, guidance_scale=scale, seed=seed, method=METHOD).tokens[0]
                for prompt, scale, seed in REQUESTS]
    session = model.idle_session(rows=3, capacity=60, guided=True)
    run = cd.Decoding(session, METHOD, pipe.layout)
    waiting, number, given = list(range(len(REQUESTS))), dict[int, int](), dict[int, torch.Tensor]()

    def enter(row: int) -> None:
        number[row] = waiting.pop(0)
        prompt, scale, seed = REQUESTS[number[row]]
        session.adopt(row, model.session([prompt], scale, model.size, guided=True), 0)
        run.open(row, seed)

    enter(2)
    run.step()  # one row decodes beside two that are idle
    enter(0)
    enter(1)
    while (report := run.step()) is not None:
        for row in report.ended:
            given[number[row]] = run.tokens(row)
            if waiting:
                enter(row)
    assert sorted(given) == [0, 1, 2, 3]
    assert all(torch.equal(given[i], tokens) for i, tokens in enumerate(expected))


def test_scales_of_a_session_belong_to_rows(tiny_emoji: Path) -> None:
    model: Any = cd.from_pretrained(tiny_emoji).model
    session = model.session(["a heart", "pizza"], [2.0, 1.0], model.size)
    assert session.guidance_scales == [2.0, 1.0]
    assert model.session(["a heart", "pizza"], 1.0, model.size).negative_prompts is None
    with pytest.raises(ValueError, match="1 guidance scales for 2 prompts"):
        model.session(["a heart", "pizza"], [2.0], model.size)
