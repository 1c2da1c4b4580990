"""Fixtures shared by all tests: a tiny random checkpoint in the shipped model's layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

from coupled_decoding.models.families import doom
from coupled_decoding.models.families.emoji import write_checkpoint
from coupled_decoding.models.networks.clip_tokenizer import ChangeConfig, ClipConfig, ClipTokenizer
from coupled_decoding.models.networks.clip_transformer import ClipTransformer, ClipTransformerConfig
from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer

torch.set_num_threads(1)  # pytest runs one worker a core; more threads than cores wait for each other

CODES, GRID = 24, 4


def tiny_text_tokenizer() -> Tokenizer:
    """Bytes after the codes and the three marks, with nothing merged."""
    specials = [*(f"<code_{i}>" for i in range(CODES)), "<bos>", "<boi>", "<pad>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(specials + alphabet)}, []))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <boi>", special_tokens=[("<bos>", CODES), ("<boi>", CODES + 1)]
    )
    return tokenizer


def write_tiny_emoji(folder: Path, grid: int = GRID) -> Path:
    """A folder with a random model of the shipped layout: 24 codes, 4x4 grid, prompts of up to 32 bytes."""
    torch.manual_seed(0)
    text = tiny_text_tokenizer()
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=text.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3,
        bos_token_id=CODES, eos_token_id=None,
    ))
    vq = VQTokenizer(VQConfig(codes=CODES, code_dim=4, encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1))
    write_checkpoint(folder, model, vq, text, grid=(grid, grid), max_prompt=34)
    return folder


def write_tiny_doom(folder: Path) -> Path:
    """A folder with a random model of the shipped video layout: frames of 16x16 pixels, 12 and 10 codes, 3 in sight."""
    torch.manual_seed(0)
    transformer = ClipTransformer(ClipTransformerConfig(
        first_codes=12, codes=10, first_grid=(4, 4), grid=(2, 2), span=3, width=16, inner=24, layers=2, head_dim=8,
    ))
    for weight in transformer.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.4)
    picture = VQConfig(codes=12, code_dim=4, encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1)
    tokenizer = ClipTokenizer(ClipConfig(picture, ChangeConfig(codes=10, code_dim=4, width=64)))
    doom.write_checkpoint(folder, transformer, tokenizer)
    return folder


@pytest.fixture(scope="session")
def tiny_emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_emoji(tmp_path_factory.mktemp("checkpoints") / "tiny-emoji")


@pytest.fixture(scope="session")
def tiny_doom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_doom(tmp_path_factory.mktemp("checkpoints") / "tiny-doom")
