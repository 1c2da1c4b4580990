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
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from coupled_decoding.atomic import folder_written_whole
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_pretrained, load_weights, naming, read_json, require_files
from coupled_decoding.models.checkpoints.writing import write_json, write_weights
from coupled_decoding.models.contract import Card, only_size
from coupled_decoding.models.families.code_grid import CodeGridPictures
from coupled_decoding.models.networks.vq import DOWNSAMPLING, VQConfig, VQTokenizer
from coupled_decoding.models.prompts import checked_prompt, shorten
from coupled_decoding.serving.causal_lm import CausalLM

FILES = (
    "config.json", "model.safetensors", "tokenizer.json", "picture_config.json", "vq/config.json",
    "vq/model.safetensors",
)


class EmojiModel(CodeGridPictures):
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

    backbone: CausalLM
    vq: VQTokenizer

    def __init__(
        self, backbone: CausalLM, vq: VQTokenizer, text: Tokenizer, grid: tuple[int, int], *, max_prompt: int,
        sampling: Sampling = card.sampling, guidance_scale: float = card.guidance_scale,
    ) -> None:
        rows, columns = grid
        super().__init__(backbone, vq, grid, (columns * DOWNSAMPLING, rows * DOWNSAMPLING))
        self.text, self.max_prompt = text, max_prompt
        self._sampling, self._guidance_scale = sampling, guidance_scale

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> EmojiModel:
        require_files(folder, FILES)
        with naming(folder / "picture_config.json") as config:
            max_prompt, guidance_scale, sampling = (config[key] for key in ("max_prompt", "guidance_scale", "sampling"))
            applied = Sampling(**sampling)
        with naming(folder / "vq/config.json") as config:
            vq = VQTokenizer(VQConfig(**config)).eval()
        load_weights(vq, folder / "vq/model.safetensors")
        read_json(folder / "tokenizer.json")  # the library's own error would not name the file
        text = Tokenizer.from_file(str(folder / "tokenizer.json"))
        model = load_pretrained(AutoModelForCausalLM, folder, placement)
        backbone = CausalLM(model, output_codes=torch.arange(vq.config.codes))
        return cls(backbone, vq.to(placement.device), text, grid_of(folder), max_prompt=max_prompt, sampling=applied,
                   guidance_scale=guidance_scale)

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        only_size(cls.card, size_of(folder), size)

    @property
    def sampling(self) -> Sampling:
        return self._sampling

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        ids: list[int] = self.text.encode(checked_prompt(prompt)).ids  # marks included
        if len(ids) > self.max_prompt:
            raise ValueError(f"the prompt {shorten(prompt)!r} has {len(ids)} tokens: the model reads "
                             f"{self.max_prompt}; make it shorter")
        return ids

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        ids: list[int] = self.text.encode("").ids
        return ids


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
    folder: Path, model: Any, vq: VQTokenizer, text: Tokenizer, *, grid: tuple[int, int], max_prompt: int
) -> None:
    """Write a folder of this family, whole or not at all; other files that stand in it (a card) stay.

    Weights are stored in float16. ``model`` is a LlamaForCausalLM, ``grid`` the codes down and across, ``max_prompt``
    the most tokens of a prompt, both marks included.
    """
    picture = {"grid": grid, "max_prompt": max_prompt, "guidance_scale": 1.0, "sampling": {"temperature": 1.0}}
    with folder_written_whole(folder, keep=True) as partial:
        model.half().save_pretrained(partial)
        (partial / "generation_config.json").unlink(missing_ok=True)  # its defaults would be applied by ``generate``
        text.save(str(partial / "tokenizer.json"))
        write_json(picture, partial / "picture_config.json")
        write_json(vq.config.to_dict(), partial / "vq/config.json")
        write_weights(vq, partial / "vq/model.safetensors")
