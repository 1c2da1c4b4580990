"""Emu3 (arXiv 2409.18869): a Llama whose vocabulary holds text, marks, and the codes of a vision tokenizer.

====================  ================================================================================================
token stream          ``<bos> PROMPT <boi> H*W <img>``, then H rows of W codes in raster order, each row ended by
                      ``<eol>``, then ``<eof> <eoi> <eos>``; H*W is text, and a code is 8x8 pixels
codes                 the tokens ``<|visual token NNNNNN|>``, found by name (as published, ids 151854 .. 184621 of
                      184622, in the order of the codes); only their rows of the output head are computed
unconditional prompt  a negative prompt, then the same ``<boi> H*W <img>``; ``u + s * (c - u)``, s = 3
sampling              temperature 1, top-k 2048
files                 transformers' port (``model_type`` emu3): ``config.json``, ``tokenizer.json``, weights; or BAAI's
                      own layout (``model_type`` Emu3): ``config.json``, ``emu3.tiktoken``, ``emu3_vision_tokens.txt``,
                      weights, and BAAI/Emu3-VisionTokenizer in ``vision_tokenizer/`` or beside the folder
====================  ================================================================================================

Sources: github.com/baaivision/Emu3 (``image_generation.py``, ``emu3/mllm``, ``emu3/tokenizer``), transformers'
``models/emu3``. Both branches of the published guidance are log-softmaxed first, which changes no probability.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import normalizers
from torch import Tensor
from transformers import Emu3ForCausalLM, Emu3TextConfig, Emu3VQVAE, Emu3VQVAEConfig

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import (
    load_pretrained,
    model_type,
    naming,
    read_folder,
    require_files,
    under,
)
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.checkpoints.tiktoken import read_tiktoken
from coupled_decoding.models.contract import Card, PictureModel, check_multiples
from coupled_decoding.models.prompts import checked_prompt
from coupled_decoding.serving.causal_lm import CausalLM

BOS, EOS, EOL, EOF = "<|extra_203|>", "<|extra_204|>", "<|extra_200|>", "<|extra_201|>"
BOI, EOI, IMG = "<|image start|>", "<|image end|>", "<|image token|>"
TEMPLATE = BOS + "{text}" + BOI + "{height}*{width}" + IMG
POSITIVE = " masterpiece, film grained, best quality."
"""Published to follow every prompt."""
NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, worst quality, "
    "low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)
AREA = 720 * 720


@dataclass(frozen=True)
class Checkpoint:
    """What a folder of either layout holds, with the names of transformers' modules."""

    text: Text
    language: Emu3TextConfig
    language_weights: dict[str, Tensor]
    vision: Emu3VQVAEConfig
    vision_weights: dict[str, Tensor]
    vision_folder: Path
    area: int
    """Pixels of a picture, unless a call says otherwise."""


class Emu3Model(PictureModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    card = Card(
        name="emu3",
        checkpoints="Emu3-community/Emu3-Gen-hf (BAAI/Emu3-Gen-hf); BAAI/Emu3-Gen with BAAI/Emu3-VisionTokenizer",
        files="config.json, tokenizer.json, model.safetensors (or shards); in BAAI's own layout emu3.tiktoken and "
              "emu3_vision_tokens.txt for tokenizer.json, and Emu3-VisionTokenizer in vision_tokenizer/ or beside it",
        size="720x720, or any multiples of 8",
        sampling=Sampling(top_k=2048),
        guidance_scale=3.0,
        verified="prompts, logits, guidance, greedy streams and pixels against transformers' port, and logits, pixels "
                 "and text against BAAI's code, at random weights; names and shapes of all weights",
        not_verified="published weights, which no machine of ours has had",
    )

    def __init__(self, backbone: CausalLM, vq: VisionTokenizer, text: Text, area: int = AREA) -> None:
        """``area`` is that of a picture in pixels, unless a call says otherwise."""
        self.backbone, self.vq, self.text = backbone, vq, text
        self.id_of_code = ids_of_codes(text, vq.codes)
        self.ids, self.code_of_id = self.id_of_code.sort()  # increasing, with the code of each
        self.size = (vq.side * round(math.sqrt(area) / vq.side),) * 2

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> Emu3Model:
        require_files(folder, ["config.json"])
        checkpoint = read_port(folder) if model_type(folder) == "emu3" else read_original(folder)
        vq = VisionTokenizer(load_pretrained(
            Emu3VQVAE, checkpoint.vision_folder, Placement(torch.float32, placement.device), config=checkpoint.vision,
            tensors=checkpoint.vision_weights,
        ))
        ids, _ = ids_of_codes(checkpoint.text, vq.codes).sort()
        model = load_pretrained(
            Emu3ForCausalLM, folder, placement, config=checkpoint.language, tensors=checkpoint.language_weights
        )
        return cls(CausalLM(model, output_codes=ids), vq, checkpoint.text, checkpoint.area)

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        if model_type(folder) == "emu3":
            with naming(folder / "config.json") as config:
                levels = Emu3VQVAEConfig(**(config.get("vq_config") or {})).channel_multiplier
        else:
            with naming(vision_tokenizer(folder) / "config.json") as config:
                levels = config["ch_mult"]
        check_multiples(cls.card, 2 ** (len(levels) - 1), size)

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of codes. ValueError for sizes that are no multiples of a code's."""
        width, height = size
        check_multiples(self.card, self.vq.side, size)
        return height // self.vq.side, width // self.vq.side

    def layout_of(self, size: Size) -> Layout:
        ends = [self.text.id_of(mark) for mark in (EOF, EOI, EOS)]
        return Layout.grid(*self.grid(size), self.ids, row_end=self.text.id_of(EOL), suffix=ends)

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        return self._ids(checked_prompt(prompt) + POSITIVE, size)

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return self._ids(NEGATIVE, size)

    def _ids(self, text: str, size: Size) -> list[int]:
        """Token ids of a text and what opens a picture of a size."""
        height, width = self.grid(size)
        return self.text.ids(TEMPLATE.format(text=text, height=height, width=width))

    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        return self.layout_of(size).stream_of(self.id_of_code[self.vq.encode(pixels).cpu().flatten(1)])

    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        drawn = self.layout_of(size).drawn_of(tokens.cpu())
        return self.vq.decode(self.code_of_id[torch.searchsorted(self.ids, drawn)].view(-1, *self.grid(size)))


class VisionTokenizer:
    """Pictures ``[B, 3, H, W]`` in [0, 1] to codes LongTensor ``[B, h, w]`` and back, by transformers' module."""

    def __init__(self, module: Emu3VQVAE) -> None:
        self.module = module
        self.codes: int = module.config.codebook_size
        self.side: int = module.spatial_scale_factor
        """Pixels down and across that a code stands for."""

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        sizes = [list(pixels.shape[-2:])] * len(pixels)
        return torch.stack([*self.module.encode(2 * pixels.to(self.module.device) - 1, sizes).image_tokens])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Not cut to [0, 1]."""
        return self.module.decode(codes.to(self.module.device)) / 2 + 0.5


def ids_of_codes(text: Text, codes: int) -> Tensor:
    """The token of each code, LongTensor ``[codes]``."""
    return torch.tensor([text.id_of(f"<|visual token {code:06d}|>") for code in range(codes)])


def read_port(folder: Path) -> Checkpoint:
    """A folder of transformers' port, with the names it was published with or those of later versions."""
    with naming(folder / "config.json") as config:
        language = Emu3TextConfig(**config["text_config"])
        vision = Emu3VQVAEConfig(**(config.get("vq_config") or {}))
    text = Text(folder / "tokenizer.json")
    tensors = renamed_port(read_folder(folder))
    vision_weights = under("vqmodel.", tensors)
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith("vqmodel.")}
    return Checkpoint(text, language, others, vision, vision_weights, folder, AREA)


def renamed_port(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a port: ``model.`` and ``lm_head.`` as in Emu3ForCausalLM, ``vqmodel.`` for the vision tokenizer."""
    patterns = (
        (r"^(text_model\.model|model\.text_model)\.", "model."),
        (r"^text_model\.lm_head\.", "lm_head."),
        (r"^model\.vqmodel\.", "vqmodel."),
    )
    return _renamed(tensors, patterns)


def vision_tokenizer(folder: Path) -> Path:
    """The folder of the vision tokenizer that belongs to a folder of BAAI's own layout."""
    places = (folder / "vision_tokenizer", folder.parent / "Emu3-VisionTokenizer")
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found is None:
        raise FileNotFoundError(f"the checkpoint {folder} lacks its vision tokenizer: put BAAI/Emu3-VisionTokenizer "
                                f"into {places[0]}, or beside the checkpoint as {places[1]}")
    return found


def read_original(folder: Path) -> Checkpoint:
    """A folder of BAAI's own layout, and that of the vision tokenizer."""
    require_files(folder, ["emu3.tiktoken", "emu3_vision_tokens.txt"])
    vision_folder = vision_tokenizer(folder)
    with naming(folder / "config.json") as config:
        language = Emu3TextConfig(**{name: config[name] for name in (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta",
            "rope_scaling", "pad_token_id",
        )})
        area: int = config.get("image_area", AREA)
    with naming(vision_folder / "config.json") as config:
        vision = Emu3VQVAEConfig(
            **{name: config[name] for name in ("codebook_size", "embed_dim", "in_channels", "out_channels",
                                               "temporal_downsample_factor", "num_res_blocks", "attn_resolutions")},
            latent_channels=config["z_channels"], double_latent=config["double_z"], base_channels=config["ch"],
            channel_multiplier=config["ch_mult"], hidden_size=config["ch"] * config["ch_mult"][-1],
        )
    vision_weights = renamed_vision_tokenizer(read_folder(vision_folder))
    return Checkpoint(OriginalText(folder), language, read_folder(folder), vision, vision_weights, vision_folder, area)


class OriginalText(Text):
    """The tokenizer of BAAI's own layout: Qwen's vocabulary, 208 marks, then what ``emu3_vision_tokens.txt`` lists."""

    PATTERN = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )

    def __init__(self, folder: Path) -> None:
        self.path = folder / "emu3.tiktoken"
        marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
        vision = (folder / "emu3_vision_tokens.txt").read_text(encoding="utf-8").splitlines()
        listed = [line.strip() for line in vision if line.strip()]
        self.tokenizer = read_tiktoken(self.path, self.PATTERN, [*marks, *listed])
        self.tokenizer.normalizer = normalizers.NFC()


def renamed_vision_tokenizer(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of Emu3-VisionTokenizer as transformers' port has them: attention's 1x1 convolutions are linear there."""
    patterns = (
        (r"\.([qkv])\.", r".\1_proj."),
        (r"\.proj_out\.", ".out_proj."),
        (r"\.mid\.attn_1\.norm\.", ".mid.attn_norm."),
        (r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1."),
        (r"\.(down|up)\.", r".\1_block.\1."),
        (r"\.mid\.", ".middle_block."),
    )
    return {name: tensor.flatten(1) if name.endswith("_proj.weight") else tensor
            for name, tensor in _renamed(tensors, patterns).items()}


def _renamed(tensors: Mapping[str, Tensor], patterns: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Tensors under new names, by regular expressions applied in turn."""
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
