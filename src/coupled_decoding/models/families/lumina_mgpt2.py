"""Lumina-mGPT 2.0 (arXiv 2507.17801): Chameleon's architecture trained from scratch over the codes of MoVQGAN-270M.

====================  ================================================================================================
token stream          ``<bos> Generate an image of WxH according to the following prompt:\\nPROMPT <sep> <start>``, then
                      the generated part: ``h w (code * columns <newline>) * rows <end>``
size tokens           h and w, in this order, count units of 32 pixels by their names: ``<reserved08824>`` is 24, 768
                      pixels, 96 codes; h is rows, w columns
codes                 ids 155000 .. 171383, eight pixels each; ``<start>`` is ``<racm3:break>`` 151665, ``<end>``
                      ``<eoss>`` 151666, ``<newline>`` ``<reserved08799>`` 151670, ``<sep>`` ``<reserved08706>``
unconditional prompt  ``<start>`` alone, at position 0; ``u + s * (c - u)``, s = 4 (for more see :func:`decaying`)
sampling              temperature 1, top-k 4096
files                 ``config.json`` (``model_type`` chameleon), ``tokenizer.json``, ``tokenizer_config.json``, weights
                      as safetensors or ``pytorch_model.bin``, sharded or not; and ``movqgan_270M.ckpt`` of
                      ai-forever/MoVQGAN, beside them or in ``movqgan/270M``, where upstream keeps it
====================  ================================================================================================

Upstream lets the model draw ``<start>``, h and w as text; here they are what the prompt and the size say. Source:
github.com/Alpha-VLLM/Lumina-mGPT-2.0 (``lumina_mgpt``: ``inference_solver.py``, ``data``, ``model``, ``movqgan``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import naming, read_folder, require_files
from coupled_decoding.models.checkpoints.recognition import LUMINA_2_FIRST_CODE as FIRST_CODE
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.contract import Card, PictureModel, check_multiples
from coupled_decoding.models.families.chameleon import ChameleonBackbone, language_config, load_backbone
from coupled_decoding.models.networks.movqgan import load_movqgan
from coupled_decoding.models.networks.vqgan import VQGAN
from coupled_decoding.models.prompts import checked_prompt
from coupled_decoding.serving.guidance import GuidanceScale

START, END, NEWLINE, SEPARATOR = "<racm3:break>", "<eoss>", "<reserved08799>", "<reserved08706>"
TEMPLATE = "Generate an image of {width}x{height} according to the following prompt:\n{prompt}" + SEPARATOR
UNIT = 32
"""Pixels of a size token's unit."""
DECODER = "movqgan_270M.ckpt"
GUIDANCE_FLOOR = 4.0


class LuminaMGPT2Model(PictureModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    card = Card(
        name="lumina-mgpt-2",
        checkpoints="Alpha-VLLM/Lumina-mGPT-2.0, -2.0-Omni; movqgan_270M.ckpt of ai-forever/MoVQGAN",
        files="config.json, tokenizer.json, tokenizer_config.json, model.safetensors or pytorch_model.bin (or shards), "
              "movqgan_270M.ckpt (here or in movqgan/270M)",
        size="768x768, and others whose sides are multiples of 32",
        sampling=Sampling(top_k=4096),
        guidance_scale=4.0,
        verified="logits, guidance and pixels against Alpha-VLLM's code at random weights; names and shapes of all "
                 "weights at 7B and of MoVQGAN-270M",
        not_verified="published weights, which no machine of ours has had",
    )

    def __init__(self, backbone: ChameleonBackbone, vq: VQGAN, text: Text, begin: str) -> None:
        """``begin`` is the token that prompts begin with."""
        self.backbone, self.vq, self.text = backbone, vq, text
        self.begin, self.start, self.end, self.newline = map(text.id_of, (begin, START, END, NEWLINE))
        self.codes = codes_of(vq)
        self.size = (768, 768)

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> LuminaMGPT2Model:
        require_files(folder, ["config.json", "tokenizer.json", "tokenizer_config.json"])
        vq = load_movqgan(decoder_file(folder), placement.device)
        text = Text(folder / "tokenizer.json")
        with naming(folder / "tokenizer_config.json") as config:
            begin = config.get("bos_token") or config["eos_token"]
            begin = begin if isinstance(begin, str) else begin["content"]
        for mark in (begin, START, END, NEWLINE):
            text.id_of(mark)  # said before gigabytes are read
        with naming(folder / "config.json") as sizes:
            language = language_config(sizes)
        return cls(load_backbone(folder, placement, language, read_folder(folder), codes_of(vq)), vq, text, begin)

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        check_multiples(cls.card, UNIT, size)

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of codes. ValueError for a size that has none."""
        width, height = size
        check_multiples(self.card, UNIT, size)
        return height // self.vq.config.downsampling, width // self.vq.config.downsampling

    def layout_of(self, size: Size) -> Layout:
        rows, columns = self.grid(size)
        try:
            units = [self.text.id_of(f"<reserved{8800 + side // UNIT:05d}>") for side in reversed(size)]
        except ValueError as error:
            raise ValueError(f"size is {size[0]}x{size[1]}: this checkpoint has no token for such a side") from error
        return Layout.grid(rows, columns, self.codes, row_end=self.newline, prefix=units, suffix=[self.end])

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        """Token ids of a prompt within its template, the start of the picture included."""
        text = TEMPLATE.format(width=size[0], height=size[1], prompt=checked_prompt(prompt))
        return [self.begin, *self.text.ids(text), self.start]

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return [self.start]

    def guidance(self, scale: float, size: Size) -> GuidanceScale:
        return scale if scale <= GUIDANCE_FLOOR else decaying(scale, *self.grid(size))

    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        return self.layout_of(size).stream_of(FIRST_CODE + self.vq.encode(pixels).flatten(1))

    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        codes = self.layout_of(size).drawn_of(tokens) - FIRST_CODE
        return self.vq.decode(codes.view(-1, *self.grid(size)))


def codes_of(vq: VQGAN) -> Tensor:
    """Token ids of the codes, LongTensor ``[C]``."""
    return FIRST_CODE + torch.arange(vq.config.codes)


def decaying(scale: float, rows: int, columns: int) -> Callable[[Tensor], Tensor]:
    """The guidance scale at a generated index, for scales above 4: it falls to 4 within the first rows.

    Upstream multiplies its scale before each code: ``s = max(4, s * (1 - n / area))`` with ``n`` the tokens after
    ``<start>`` and ``area`` a quarter of the picture's codes. Scales of up to 4, the published one among them, stay as
    they are, as in upstream's speculative path; its plain path would raise them to 4.
    """
    area = rows * columns // 4
    factors = 1 - torch.arange(area + 1, dtype=torch.float64) / area
    factors[:2] = 1  # the size tokens are not guided
    scales = (scale * factors.cumprod(0)).clamp(min=GUIDANCE_FLOOR).float()
    return lambda index: scales.to(index.device)[index.clamp(max=area)]


def decoder_file(folder: Path) -> Path:
    """Where the pixel decoder lies. FileNotFoundError says where to get it."""
    for path in (folder / DECODER, folder / "movqgan" / "270M" / DECODER):
        if path.is_file():
            return path
    raise FileNotFoundError(f"the checkpoint {folder} lacks {DECODER}: put that file of ai-forever/MoVQGAN there, or "
                            "in its subfolder movqgan/270M")
