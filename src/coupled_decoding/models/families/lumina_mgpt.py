"""Lumina-mGPT 1.0 (arXiv 2408.02657): Chameleon trained on, for pictures of any shape.

====================  ================================================================================================
token stream          ``<s> Generate an image of WxH according to the following prompt:\\n PROMPT <end of turn>
                      <start>``, size tokens (rows, then columns, of 32-pixel squares; n is ``<reserved{8800 + n}>``),
                      rows of ``W / 16`` codes each followed by a row end, ``<end> <end of turn>``
codes                 :mod:`~coupled_decoding.models.families.chameleon`
sizes                 the official list of crops: ``w`` by ``h`` squares of 32 pixels, at most 4:1, where
                      ``w * h <= n < (w + 1) * (h + 1)`` and ``n`` squares make the checkpoint's area
unconditional prompt  ``<start>`` alone; ``u + s * (c - u)``, officially from the third token of a picture on: the two
                      before it are the size, which is forced here, so that every code is guided
sampling              temperature 1, top-k 2000, s = 4: the call in the official README (defaults of its code are 3 and
                      2000, of its web page 3 and 4000)
files                 ``config.json``, weights (safetensors or ``pytorch_model.bin``, sharded or not); and of Meta's
                      Chameleon, published apart, ``text_tokenizer.json`` and ``vqgan.ckpt``
====================  ================================================================================================

Source: github.com/Alpha-VLLM/Lumina-mGPT (``inference_solver.py``, ``data/item_processor.py``). A folder of this family
is known by ``mask_image_logits: false`` in its ``config.json``, without which the official code could draw nothing. For
which area it was trained its files do not say, but its published name does (``Lumina-mGPT-7B-768``: 768x768); under
another name all three areas are allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import naming, read_folder, read_tensors, require_files
from coupled_decoding.models.contract import Card
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

TEMPLATE = "Generate an image of {width}x{height} according to the following prompt:\n{prompt}" + END_OF_TURN
ROW_END = "<reserved08799>"
SQUARE = 32
SIDES = (512, 768, 1024)
"""Of the square pictures of the published checkpoints."""


class LuminaMGPTModel(ChameleonPictures):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    card = Card(
        name="lumina-mgpt",
        checkpoints="Alpha-VLLM/Lumina-mGPT-7B-512, -7B-768, -7B-768-Omni, -7B-1024, -34B-512",
        files="config.json, model.safetensors or pytorch_model.bin (or shards); from Meta's Chameleon "
              "text_tokenizer.json, vqgan.ckpt (beside them, or in tokenizer or chameleon/tokenizer)",
        size="512x512, 768x768 or 1024x1024, or another shape of that area up to 4:1, sides multiples of 32",
        sampling=Sampling(top_k=2000),
        guidance_scale=4.0,
        verified="logits, guidance, legal tokens, list of sizes and pixels against Alpha-VLLM's code at random "
                 "weights; names and shapes of all weights at 7B and 34B",
        not_verified="published weights and files, which no machine of ours has had",
    )

    def __init__(
        self, backbone: ChameleonBackbone, vq: VQGAN, text: ChameleonText, sides: Sequence[int] = SIDES
    ) -> None:
        """``sides`` are those of square pictures, in pixels, whose areas the checkpoint was trained for."""
        super().__init__(backbone, vq, text)
        self.sides = tuple(sides)
        self.size = (self.sides[len(self.sides) // 2],) * 2  # the middle one where several are allowed

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> LuminaMGPTModel:
        require_files(folder, ["config.json"])
        with naming(folder / "config.json") as sizes:
            config = language_config(sizes)
        text = ChameleonText(find(folder, "text_tokenizer.json", "tokenizer.json"))
        vqgan = find(folder, "vqgan.ckpt")
        vq = load_pixels(read_tensors(vqgan), vqgan, text, placement.device)
        backbone = load_backbone(folder, placement, config, read_folder(folder), text.code_tokens)
        return cls(backbone, vq, text, sides_of(folder))

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        squares_of(size, sides_of(folder))

    def layout_of(self, size: Size) -> Layout:
        columns, rows = squares_of(size, self.sides)
        codes = SQUARE // self.vq.config.downsampling
        return Layout.grid(
            rows * codes, columns * codes, self.text.code_tokens,
            prefix=[self.text.id_of(f"<reserved{8800 + squares:05}>") for squares in (rows, columns)],
            row_end=self.text.id_of(ROW_END),
            suffix=[self.text.id_of(EOI), self.text.id_of(END_OF_TURN)],
        )

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        text = TEMPLATE.format(width=size[0], height=size[1], prompt=checked_prompt(prompt))
        return [self.text.id_of(BOS), *self.text.ids(text), self.text.id_of(BOI)]

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return [self.text.id_of(BOI)]


def sides_of(folder: Path) -> tuple[int, ...]:
    """Of square pictures that a checkpoint makes: the name of its folder says it, or else any may be meant."""
    sides = "|".join(str(side) for side in SIDES)
    named = re.findall(rf"Lumina-mGPT-\d+B-({sides})\b", str(folder.resolve()))
    return (int(named[-1]),) if named else SIDES


def squares_of(size: Size, sides: tuple[int, ...]) -> tuple[int, int]:
    """Columns and rows of squares of a picture. ValueError where no checkpoint for these sides makes it."""
    width, height = size
    columns, rows = width // SQUARE, height // SQUARE
    if width % SQUARE or height % SQUARE or not any(fits(columns, rows, side) for side in sides):
        areas = " or ".join(f"{side}x{side}" for side in sides)
        raise ValueError(f"size is {width}x{height}: this checkpoint makes pictures of about the area of {areas}, "
                         f"at most 4:1, with sides in steps of {SQUARE}; {like(size, sides)} has this shape")
    return columns, rows


def fits(columns: int, rows: int, side: int) -> bool:
    """Whether a picture of so many squares is in the official list of a checkpoint for ``side`` by ``side`` pixels."""
    squares = (side // SQUARE) ** 2
    if min(columns, rows) < 1 or max(columns, rows) > 4 * min(columns, rows):
        return False
    return columns * rows <= squares < (columns + 1) * (rows + 1)


def like(size: Size, sides: tuple[int, ...]) -> str:
    """The size that is made whose shape is closest to that of one which is not, for an error message."""
    squares = range(1, 2 * max(sides) // SQUARE + 1)
    made = [(columns, rows) for columns in squares for rows in squares if any(fits(columns, rows, s) for s in sides)]
    wanted = math.log(max(size[0], 1) / max(size[1], 1))
    columns, rows = min(made, key=lambda one: (abs(math.log(one[0] / one[1]) - wanted), -one[0] * one[1]))
    return f"{SQUARE * columns}x{SQUARE * rows}"
