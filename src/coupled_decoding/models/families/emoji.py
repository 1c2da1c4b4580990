"""The shipped family: a Llama over captions and the codes of a small VQ tokenizer, trained on emoji.

=====================  ===============================================================================================
token stream           ``<bos> caption <boi> code * (16 * 16)``, raster order, no row ends, no end marker
codes                  ids 0 .. 511, then the three marks, then byte-level BPE text
unconditional prompt   ``<bos> <boi>``; guidance ``u + s * (c - u)``, default scale 1 (none)
sampling               temperature 1, nothing cut
files                  ``config.json``, ``model.safetensors`` (LlamaForCausalLM), ``tokenizer.json``,
                       ``picture_config.json``, ``vq/config.json``, ``vq/model.safetensors``
=====================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM

from coupled_decoding.atomic import folder_written_whole
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size, to_images, to_pixels
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_pretrained, load_weights, naming, read_json, require_files
from coupled_decoding.models.checkpoints.writing import write_json, write_weights
from coupled_decoding.models.contract import Card, PictureModel, only_size
from coupled_decoding.models.networks.vq import DOWNSAMPLING, VQConfig, VQTokenizer
from coupled_decoding.models.prompts import checked_prompt, shorten
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession

FILES = (
    "config.json", "model.safetensors", "tokenizer.json", "picture_config.json", "vq/config.json",
    "vq/model.safetensors",
)


class EmojiModel(PictureModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    card = Card(
        name="emoji",
        checkpoints="ships with this package",
        files=", ".join(FILES),
        size="64x64",
        sampling=Sampling(),
        guidance_scale=1.0,
        verified="everything: trained and measured here",
        not_verified="nothing",
    )

    def __init__(self, folder: Path, placement: Placement) -> None:
        require_files(folder, FILES)
        self.dtype, self.device = placement.dtype, placement.device
        self.height, self.width = grid_of(folder)
        with naming(folder / "picture_config.json") as config:
            self.max_prompt: int = config["max_prompt"]
            self.guidance_scale: float = config["guidance_scale"]
            self.sampling = Sampling(**config["sampling"])
        self.size = size_of(folder)
        with naming(folder / "vq/config.json") as config:
            self.vq = VQTokenizer(VQConfig(**config)).eval()
        load_weights(self.vq, folder / "vq/model.safetensors")
        self.vq.to(self.device)
        self.layout = Layout.grid(self.height, self.width, self.vq.config.codes)
        read_json(folder / "tokenizer.json")  # the library's own error would not name the file
        self.text = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.unconditional: list[int] = self.text.encode("").ids
        model = load_pretrained(AutoModelForCausalLM, folder, placement)
        self.backbone = CausalLM(model, output_codes=self.layout.codes)
        self.transformer = self.backbone.decoder

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        only_size(cls.card, size_of(folder), size)

    def layout_of(self, size: Size) -> Layout:
        only_size(self.card, self.size, size)
        return self.layout

    def prompt_ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt, marks included."""
        ids: list[int] = self.text.encode(checked_prompt(prompt)).ids
        if len(ids) > self.max_prompt:
            raise ValueError(f"the prompt {shorten(prompt)!r} has {len(ids)} tokens: the model reads "
                             f"{self.max_prompt}; make it shorter")
        return ids

    def check_prompt(self, prompt: str, size: Size) -> None:
        self.prompt_ids(prompt)

    def session(self, prompts: Sequence[str], guidance_scale: float, size: Size) -> TransformersSession:
        """Read the prompts in; guided rows get an unconditional twin."""
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        negative = None if guidance_scale == 1 else [self.unconditional] * len(ids)
        return TransformersSession(
            self.backbone, ids, self.layout_of(size).length, negative_prompts=negative, guidance_scale=guidance_scale
        )

    @torch.no_grad()
    def encode(self, pictures: Sequence[Image.Image], size: Size) -> Tensor:
        only_size(self.card, self.size, size)
        return self.vq.encode(to_pixels(pictures, size, self.device)).flatten(1)

    @torch.no_grad()
    def decode(self, tokens: Tensor, size: Size) -> list[Image.Image]:
        only_size(self.card, self.size, size)
        return to_images(self.vq.decode(tokens.view(-1, self.height, self.width).to(self.device)))


def grid_of(folder: Path) -> tuple[int, int]:
    """Rows and columns of codes that a checkpoint's pictures have."""
    with naming(folder / "picture_config.json") as config:
        rows, columns = config["grid"]
        return rows, columns


def size_of(folder: Path) -> Size:
    """Of a checkpoint's pictures."""
    rows, columns = grid_of(folder)
    return columns * DOWNSAMPLING, rows * DOWNSAMPLING


def write_checkpoint(
    folder: Path, model: Any, vq: VQTokenizer, text: Tokenizer, *, grid: tuple[int, int], max_prompt: int,
    guidance_scale: float = 1.0,
) -> None:
    """Write a folder of this family, whole or not at all; other files that stand in it (a card) stay.

    Weights are stored in float16. ``model`` is a LlamaForCausalLM, ``grid`` the codes down and across, ``max_prompt``
    the most tokens of a prompt, both marks included, ``guidance_scale`` what is applied by default.
    """
    picture = {"grid": grid, "max_prompt": max_prompt, "guidance_scale": guidance_scale,
               "sampling": {"temperature": 1.0}}
    with folder_written_whole(folder, keep=True) as partial:
        model.half().save_pretrained(partial)
        (partial / "generation_config.json").unlink(missing_ok=True)  # its defaults would be applied by ``generate``
        text.save(str(partial / "tokenizer.json"))
        write_json(picture, partial / "picture_config.json")
        write_json(vq.config.to_dict(), partial / "vq/config.json")
        write_weights(vq, partial / "vq/model.safetensors")
