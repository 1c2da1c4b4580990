"""Janus-Pro (arXiv 2501.17811): a Llama that reads picture codes through an embedding and a head of their own.

====================  ================================================================================================
token stream          ``<bos> <|User|>: PROMPT \\n\\n <|Assistant|>: <begin_of_image> code * (24 * 24)``, raster order,
                      no row ends, no end marker
codes                 ids 0 .. 16383 here, text ids follow; input ``gen_aligner(gen_embed(code))``, output ``gen_head``
unconditional prompt  every token but the first and the last is ``<|_pad_|>`` (attended); ``u + s * (c - u)``, s = 5
sampling              temperature 1, nothing cut
files                 ``config.json``, ``tokenizer.json``, weights of transformers' port (``model_type`` janus) or of
                      deepseek-ai's own layout (multi_modality), safetensors or ``pytorch_model.bin``, sharded or not
====================  ================================================================================================

Sources: github.com/deepseek-ai/Janus (``generation_inference.py``, ``janus/models``), transformers' ``models/janus``.
The vision tower, which reads pictures, and the text head are not loaded. deepseek-ai's own code cuts pixels off to
whole bytes; here they are rounded, as in all families, so a channel of a pixel may be brighter by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import (
    build,
    load_pretrained,
    naming,
    read_folder,
    read_json,
    require_files,
    under,
)
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.contract import Card
from coupled_decoding.models.families.code_grid import CodeGridPictures
from coupled_decoding.models.networks.vqgan import VQGAN, load_vqgan, renamed_vq16
from coupled_decoding.models.prompts import checked_prompt
from coupled_decoding.serving.backbone import Backbone, as_logits

BOS, BOI, PAD = "<｜begin▁of▁sentence｜>", "<begin_of_image>", "<｜▁pad▁｜>"
TEMPLATE = "<|User|>: {prompt}\n\n<|Assistant|>:" + BOI
PICTURE_TOKENS = 576


class PictureParts(nn.Module):
    """What Janus adds to its Llama to read and write codes, with the names of deepseek-ai's layout."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        codes, dim = tensors["gen_embed.weight"].shape
        hidden = tensors["gen_aligner.layers.0.weight"].shape[0]
        depth = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("gen_aligner.layers.")) // 2
        between = tensors["gen_head.output_mlp_projector.weight"].shape[0]
        self.gen_embed = nn.Embedding(codes, dim)
        layers: list[nn.Module] = [nn.Linear(dim, hidden)]
        for _ in range(1, depth):
            layers += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.gen_aligner = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        self.gen_head = nn.ModuleDict({
            "output_mlp_projector": nn.Linear(hidden, between), "vision_head": nn.Linear(between, codes),
        })

    def code_embeddings(self) -> Tensor:
        """``[codes, hidden]``."""
        return self.gen_aligner["layers"](self.gen_embed.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        """``[..., codes]`` of hidden states ``[..., hidden]``."""
        between = nn.functional.gelu(self.gen_head["output_mlp_projector"](hidden))
        return self.gen_head["vision_head"](between)


class JanusBackbone(Backbone):
    """Ids below the number of codes are codes, text follows."""

    @torch.no_grad()
    def __init__(self, decoder: LlamaModel, parts: PictureParts) -> None:
        self.parts, self.code_embeddings = parts, parts.code_embeddings()
        self.codes = len(self.code_embeddings)
        codes = torch.arange(self.codes, device=decoder.device)
        super().__init__(decoder, self.codes + decoder.config.vocab_size, output_codes=codes)

    def embed(self, tokens: Tensor) -> Tensor:
        text = self.decoder.get_input_embeddings()((tokens - self.codes).clamp(min=0))
        code = self.code_embeddings[tokens.clamp(max=self.codes - 1)]
        return torch.where((tokens < self.codes).unsqueeze(-1), code, text)

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(self.parts.logits(hidden.to(self.code_embeddings.device)))


class JanusModel(CodeGridPictures):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    backbone: JanusBackbone
    card = Card(
        name="janus-pro",
        checkpoints="deepseek-ai/Janus-Pro-1B, -7B; deepseek-community/Janus-Pro-1B, -7B",
        files="config.json, tokenizer.json, model.safetensors or pytorch_model.bin (or shards)",
        size="384x384",
        sampling=Sampling(),
        guidance_scale=5.0,
        verified="logits, guidance and pixels against transformers' port and deepseek-ai's code at random weights; "
                 "names and shapes of all weights at 1B and 7B",
        not_verified="published weights, which no machine of ours has had",
    )

    def __init__(self, backbone: JanusBackbone, vq: VQGAN, text: Text, side: int) -> None:
        super().__init__(backbone, vq, (side, side), (side * vq.config.downsampling,) * 2)
        self.text = text

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> JanusModel:
        require_files(folder, ["config.json", "tokenizer.json"])
        with naming(folder / "config.json") as config:
            ported = config["model_type"] == "janus"
            language = LlamaConfig(**config["text_config" if ported else "language_config"])
            tokens = config["vision_config"].get("num_image_tokens", PICTURE_TOKENS) if ported else PICTURE_TOKENS
        tensors = read_folder(folder)
        if ported:
            tensors = renamed_port(tensors)
        elif (folder / "processor_config.json").is_file():
            tokens = read_json(folder / "processor_config.json").get("num_image_tokens", PICTURE_TOKENS)
        text = Text(folder / "tokenizer.json")
        vq = load_vqgan(
            renamed_vq16(under("gen_vision_model.", tensors)), folder, normalised=True, device=placement.device
        )
        decoder = load_pretrained(
            LlamaModel, folder, placement, config=language, tensors=under("language_model.model.", tensors)
        )
        own = {name: tensor for name, tensor in tensors.items()
               if name.startswith(("gen_embed.", "gen_aligner.", "gen_head."))}
        parts = build(PictureParts, own, folder, "parts that draw pictures", placement.dtype, decoder.device)
        return cls(JanusBackbone(decoder, parts), vq, text, math.isqrt(tokens))

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        """Ids of this module: codes first, then text."""
        ids = [self.text.id_of(BOS), *self.text.ids(TEMPLATE.format(prompt=checked_prompt(prompt).strip()))]
        return [self.backbone.codes + token for token in ids]

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        pad = self.backbone.codes + self.text.id_of(PAD)
        return [prompt_ids[0], *[pad] * (len(prompt_ids) - 2), prompt_ids[-1]]


def renamed_port(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers' port under the names of deepseek-ai's layout."""
    middle = {"block_1": "0", "attn_1": "1", "block_2": "2"}
    patterns = (
        (r"^model\.language_model\.", "language_model.model."),
        (r"^model\.generation_embeddings\.", "gen_embed."),
        (r"^model\.generation_aligner\.fc1\.", "gen_aligner.layers.0."),
        (r"^model\.generation_head\.proj_out\.", "gen_head.output_mlp_projector."),
        (r"^model\.generation_head\.", "gen_head."),
        (r"^model\.vqmodel\.", "gen_vision_model."),
        (r"^(gen_vision_model\.(?:en|de)coder)\.(?:down|up)\.", r"\1.conv_blocks."),
    )

    def original(name: str) -> str:
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"^model\.generation_aligner\.hidden_layers\.(\d+)\.",
                      lambda m: f"gen_aligner.layers.{2 * int(m[1]) + 2}.", name)
        if name.startswith("gen_vision_model."):
            name = re.sub(r"\.mid\.(\w+)\.", lambda m: f".mid.{middle[m[1]]}.", name).replace(".block.", ".res.")
        return name

    return {original(name): tensor for name, tensor in tensors.items()}
