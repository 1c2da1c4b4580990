"""Anole (arXiv 2407.06135): Chameleon-7B whose rows of the output head for picture codes were trained again.

====================  ================================================================================================
token stream          ``<s> PROMPT <end of turn> <start> code * (32 * 32) <end>``, raster order, no row ends
codes                 :mod:`~coupled_decoding.models.families.chameleon`
unconditional prompt  ``<s> <start>``. Officially ``u + 1.2 (i - u) + 3 (c - i)``, where ``i`` has of the prompt its
                      pictures only: for prompts of text that is ``u``, which leaves ``u + 3 (c - u)``
sampling              temperature 0.7, top-p 0.9
files                 Meta's layout, as published: ``models/7b/params.json``, ``models/7b/consolidated.pth``,
                      ``tokenizer/text_tokenizer.json``, ``tokenizer/vqgan.ckpt``; or a port to transformers' layout
                      whose weights hold the VQGAN with its decoder: ``config.json``, ``tokenizer.json``, weights
====================  ================================================================================================

Source: github.com/GAIR-NLP/anole (``text2image.py``, ``chameleon/inference``). Plain Chameleon was released without the
ability to draw. In transformers' layout it lacks the picture decoder and is refused; in Meta's own layout it has the
same files as Anole and differs in 8192 rows of a matrix only: it is taken for Anole, and draws nothing of use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import ChameleonConfig

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import naming, read_folder, read_tensors, require_files, under
from coupled_decoding.models.checkpoints.recognition import ANOLE_META as META
from coupled_decoding.models.contract import Card, only_size
from coupled_decoding.models.families.chameleon import (
    BOI,
    BOS,
    END_OF_TURN,
    EOI,
    ChameleonBackbone,
    ChameleonPictures,
    ChameleonText,
    find,
    language_config,
    load_backbone,
    load_pixels,
)
from coupled_decoding.models.networks.vqgan import VQGAN
from coupled_decoding.models.prompts import checked_prompt

META_FILES = (
    "models/7b/params.json", "models/7b/consolidated.pth", "tokenizer/text_tokenizer.json", "tokenizer/vqgan.ckpt",
)
SIDE = 32
"""Codes along each side of a picture."""
MAX_POSITIONS = 4096
RENAMED = {
    "tok_embeddings": "embed_tokens", "norm": "norm", "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj", "attention.wo": "self_attn.o_proj",
    "attention.q_normalization": "self_attn.q_norm", "attention.k_normalization": "self_attn.k_norm",
    "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj", "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}
"""Meta's name of a part of the transformer to transformers' name."""


class AnoleModel(ChameleonPictures):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    card = Card(
        name="anole",
        checkpoints="GAIR/Anole-7b-v0.1",
        files=", ".join(META_FILES),
        size="512x512",
        sampling=Sampling(temperature=0.7, top_p=0.9),
        guidance_scale=3.0,
        verified="logits, guidance and pixels against GAIR's code at random weights; names and shapes of all weights "
                 "at 7B",
        not_verified="published weights and files, which no machine of ours has had",
    )

    def __init__(self, backbone: ChameleonBackbone, vq: VQGAN, text: ChameleonText) -> None:
        super().__init__(backbone, vq, text)
        self.size = (SIDE * vq.config.downsampling,) * 2
        self.layout = Layout.grid(SIDE, SIDE, text.code_tokens, suffix=[text.id_of(EOI)])

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> AnoleModel:
        if (folder / META).is_dir():
            require_files(folder, META_FILES)
            with naming(folder / META / "params.json") as params:
                config = meta_config(params)
            tensors: Mapping[str, Tensor] = renamed_meta(read_tensors(folder / META / "consolidated.pth"), config)
            text_file, vqgan_file = folder / "tokenizer/text_tokenizer.json", folder / "tokenizer/vqgan.ckpt"
            vqgan = read_tensors(vqgan_file)
        else:
            with naming(folder / "config.json") as sizes:
                config = language_config(sizes)
            tensors = read_folder(folder)
            vqgan = under("model.vqmodel.", tensors)
            if not any(name.startswith("decoder.") for name in vqgan):
                raise ValueError(f"{folder} is Chameleon without picture output (its weights hold no picture decoder): "
                                 "give Anole or Lumina-mGPT, which were trained further to draw")
            text_file, vqgan_file = find(folder, "text_tokenizer.json", "tokenizer.json"), folder
        text = ChameleonText(text_file)
        vq = load_pixels(vqgan, vqgan_file, text, placement.device)
        return cls(load_backbone(folder, placement, config, tensors, text.code_tokens), vq, text)

    def layout_of(self, size: Size) -> Layout:
        only_size(self.card, self.size, size)
        return self.layout

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        ids = self.text.ids(checked_prompt(prompt))
        return [self.text.id_of(BOS), *ids, self.text.id_of(END_OF_TURN), self.text.id_of(BOI)]

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return [self.text.id_of(BOS), self.text.id_of(BOI)]


def meta_config(params: Mapping[str, Any]) -> ChameleonConfig:
    """What Meta's ``params.json`` says, with the defaults of Meta's code. KeyError where a size is missing."""
    model = {**params, **params.get("model", {})}
    multiple = model.get("multiple_of", 256)
    width = int((model.get("ffn_dim_multiplier") or 1) * int(8 * model["dim"] / 3))
    return language_config({
        "vocab_size": model["vocab_size"], "hidden_size": model["dim"],
        "intermediate_size": multiple * -(-width // multiple), "num_hidden_layers": model["n_layers"],
        "num_attention_heads": model["n_heads"], "num_key_value_heads": model.get("n_kv_heads") or model["n_heads"],
        "rms_norm_eps": model.get("norm_eps", 1e-5), "rope_theta": model.get("rope_theta", 10000.0),
        "swin_norm": model.get("swin_norm", False), "max_position_embeddings": MAX_POSITIONS,
    })


def renamed_meta(tensors: Mapping[str, Tensor], config: ChameleonConfig) -> dict[str, Tensor]:
    """Weights of Meta's layout under transformers' names.

    Meta rotates neighbouring channels of a head, transformers the two halves: what makes queries and keys is reordered.
    """
    renamed = {}
    for name, tensor in tensors.items():
        whole, _, kind = name.rpartition(".")
        part = re.sub(r"^layers\.\d+\.", "", whole)
        if part in ("attention.wq", "attention.wk"):
            tensor = halves_of_pairs(tensor, config.hidden_size // config.num_attention_heads)
        elif part in ("attention.q_normalization", "attention.k_normalization"):
            tensor = halves_of_pairs(tensor, len(tensor)).unsqueeze(0)  # one for all heads
        if part in RENAMED:
            renamed[f"model.{whole.removesuffix(part)}{RENAMED[part]}.{kind}"] = tensor
    if "output.weight" in tensors:
        renamed["lm_head.weight"] = tensors["output.weight"]
    return renamed


def halves_of_pairs(tensor: Tensor, dim: int) -> Tensor:
    """Order the rows of each ``dim`` from pairs (0, 1), (2, 3), ... to all firsts, then all seconds."""
    if len(tensor) % dim or dim % 2:
        return tensor  # of another shape than the configuration says, as loading will report
    return tensor.unflatten(0, (-1, dim // 2, 2)).transpose(1, 2).flatten(0, 2)
