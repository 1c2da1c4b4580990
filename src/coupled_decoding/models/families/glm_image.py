"""GLM-Image (zai-org/GLM-Image), its autoregressive part: a GLM-4 that draws tokens for a diffusion decoder.

====================  ================================================================================================
token stream          ``PROMPT <sop> h w <eop> <sop> h' w' <eop> <|dit_token_16384|>``, then a small picture of h' * w'
                      codes, one of h * w codes, and the end mark 16385; raster order, no row ends, nothing between the
                      pictures. A code stands for 32 x 32 pixels; the small picture has the same shape and about
                      16 * 16 codes
codes                 ids 0 .. 16383 of the one vocabulary, text ids follow; ``lm_head`` has 16512 rows
positions             in three dimensions: p, p, p in the prompt of n tokens; s, s + y, s + x for the code in row y and
                      column x of a picture, where s is n for the small one, n + max(h', w') for the large one
unconditional prompt  none: there is no guidance in this part
sampling              temperature 0.9, top-p 0.75
files                 the published pipeline folder, of which ``vision_language_encoder/`` and
                      ``processor/tokenizer.json`` are read; or ``vision_language_encoder/`` by itself, with
                      ``tokenizer.json`` in it
====================  ================================================================================================

The tokens are no picture yet. :meth:`GlmImageModel.render` gives them to diffusers' ``GlmImagePipeline`` with the
decoder of the same folder; :func:`prior_token_ids` makes of them what that pipeline, however loaded, takes in place of
tokens of its own.

Sources: transformers' ``models/glm_image``, diffusers' ``pipelines/glm_image``, and the published ``config.json``,
``generation_config.json``, ``chat_template.jinja`` and ``tokenizer_config.json``. Only text to image; the vision tower,
which reads pictures, is not loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GlmImageTextConfig, GlmImageTextModel

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.extras import require_extra
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import (
    load_pretrained,
    naming,
    read_folder,
    require_files,
    under,
)
from coupled_decoding.models.checkpoints.recognition import GLM_PART as PART
from coupled_decoding.models.checkpoints.recognition import glm_part
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.contract import Card, PictureModel, check_multiples
from coupled_decoding.models.prompts import checked_prompt
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.prompts import Prompt

BEGIN, SIZE_BEGIN, SIZE_END = "<|dit_token_16384|>", "<sop>", "<eop>"
PATCH = 32
"""Pixels down and across that a code of the large picture stands for."""
SMALL_SIDE = 16
"""Codes down and across of the small picture where the picture is a square."""
DECODER_FILES = (
    "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
)

Grid = tuple[int, int]
"""Rows and columns of codes."""


def grids_of(size: Size) -> tuple[Grid, Grid]:
    """The small and the large picture of a size. ValueError for a size that is not made of whole codes."""
    width, height = size
    check_multiples(GlmImageModel.card, PATCH, size)
    rows, columns = height // PATCH, width // PATCH
    ratio = rows / columns
    small = int(math.sqrt(ratio) * SMALL_SIDE), int(math.sqrt(1 / ratio) * SMALL_SIDE)
    if 0 in small:
        raise ValueError(f"size is {width}x{height}: glm-image first draws a small picture of that shape, of which a "
                         "side would be shorter than one code; give a shape less narrow")
    return small, (rows, columns)


def positions3_of(positions: Tensor, shapes: Tensor) -> Tensor:
    """Time, row and column of tokens, LongTensor ``[3, R, T]``, by their positions in the stream, ``[R, T]``.

    ``shapes`` LongTensor ``[R, 5]``: tokens of the row's prompt, then rows and columns of its small and its large
    picture. A prompt's token stands at its position in all three, and so does the end mark, behind the pictures.
    """
    prompt, small_rows, small_columns, rows, columns = shapes.unsqueeze(-1).unbind(1)  # [R, 1] each
    index = positions - prompt
    in_large, in_end = index >= small_rows * small_columns, index >= small_rows * small_columns + rows * columns
    inside = torch.where(in_large, index - small_rows * small_columns, index)
    across = torch.where(in_large, columns, small_columns)
    start = torch.where(in_large, torch.maximum(small_rows, small_columns), 0)
    start = torch.where(in_end, start + torch.maximum(rows, columns), start)
    row, column = (torch.where(in_end, 0, one) for one in (inside // across, inside % across))
    drawn = prompt + start + torch.stack([torch.zeros_like(row), row, column])
    return torch.where(index < 0, positions, drawn)


def prior_token_ids(tokens: Tensor, size: Size) -> Tensor:
    """What diffusers' ``GlmImagePipeline`` takes as ``prior_token_ids``, from token streams ``[B, length]``.

    The codes of the large picture, each of them twice down and twice across: LongTensor ``[B, 4 * h * w]``::

        out = pipe(prompts, size=(1152, 768))
        diffusion(prompts, prior_token_ids=prior_token_ids(out.tokens, (1152, 768)), width=1152, height=768).images
    """
    small, (rows, columns) = grids_of(size)
    first, codes = math.prod(small), rows * columns
    if tokens.ndim != 2 or tokens.shape[1] != first + codes + 1 or (tokens < 0).any():
        raise ValueError(f"tokens have shape {tuple(tokens.shape)}: a picture of {size[0]}x{size[1]} needs whole "
                         f"streams of {first + codes + 1}, one a row")
    large = tokens[:, first : first + codes].unflatten(1, (rows, columns))
    return large.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)


class GlmImageBackbone(Backbone):
    """Ids are the checkpoint's own: codes first, then text. ``head`` ``[codes, hidden]`` has the rows of the codes."""

    def __init__(self, decoder: GlmImageTextModel, head: Tensor) -> None:
        self.head = head
        codes = torch.arange(len(head), device=decoder.device)
        super().__init__(decoder, decoder.config.vocab_size, output_codes=codes)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.decoder.get_input_embeddings()(tokens)

    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One LongTensor ``[N, 5]``: the shapes of :func:`positions3_of`."""
        return (torch.stack([*conditions]).to(self.device),)

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        positions3 = positions3_of(positions, *conditions)
        return self.transformers_trunk(positions3, mask, cache, inputs_embeds=self.embed(tokens))

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(nn.functional.linear(hidden.to(self.head.device), self.head))


class GlmImageModel(PictureModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.PictureModel`."""

    backbone: GlmImageBackbone
    card = Card(
        name="glm-image",
        checkpoints="zai-org/GLM-Image",
        files=f"{PART}/config.json, {PART}/model.safetensors (or shards), processor/tokenizer.json; to render, the "
              "rest of the pipeline too",
        size="width and height any multiples of 32; 1024x1024 by default",
        sampling=Sampling(temperature=0.9, top_p=0.75),
        guidance_scale=1.0,
        verified="prompt and logits at every place against transformers' generate, and what diffusers' pipeline makes "
                 "of the tokens, at random weights; names and shapes of all weights against transformers' class",
        not_verified="published weights, which no machine of ours has had",
    )
    tokens_only = ("its tokens condition a diffusion decoder: in Python, pipe.model.render(prompts, tokens, size) "
                   "draws them with diffusers")

    def __init__(self, backbone: GlmImageBackbone, text: Text, end: int, decoder_folder: Path | None = None) -> None:
        """``end`` is the id of the end mark, ``decoder_folder`` the pipeline that :meth:`render` draws with."""
        self.backbone, self.text, self.end, self.decoder_folder = backbone, text, end, decoder_folder
        self.size = (1024, 1024)

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> GlmImageModel:
        part = glm_part(folder)
        pipeline_folder = part.absolute().parent
        require_files(part, ["config.json"])
        with naming(part / "config.json") as config:
            language = GlmImageTextConfig(**config["text_config"])
            codes: int = config["vq_config"]["num_embeddings"]
            begin, end = int(config["image_start_token_id"]), int(config["image_end_token_id"])
        beside = part if (part / "tokenizer.json").is_file() else pipeline_folder / "processor"
        text = Text(beside / "tokenizer.json")
        *_, found = [text.id_of(mark) for mark in (SIZE_BEGIN, SIZE_END, BEGIN)]
        if found != begin:
            raise ValueError(f"{text.path} gives {BEGIN} the id {found}, {part / 'config.json'} says {begin}: they are "
                             "not of one checkpoint")
        tensors = read_folder(part)
        decoder = load_pretrained(
            GlmImageTextModel, part, placement, config=language, tensors=under("model.language_model.", tensors)
        )
        head = _rows_of_codes(tensors, codes, language.hidden_size, part)
        return cls(GlmImageBackbone(decoder, head.to(decoder.device, placement.dtype)), text, end, pipeline_folder)

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        grids_of(size)

    def layout_of(self, size: Size) -> Layout:
        codes = len(self.backbone.head)
        (rows, columns), large_grid = grids_of(size)
        small = Layout.grid(rows, columns, codes)
        large = Layout.grid(*large_grid, codes, suffix=[self.end])
        return small.then(large)

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        """Ids of a prompt with the sizes of both pictures, the large one first, and the mark that begins them."""
        small, large = grids_of(size)
        sizes = "".join(f"{SIZE_BEGIN}{rows} {columns}{SIZE_END}" for rows, columns in (large, small))
        return self.text.ids(checked_prompt(prompt) + sizes + BEGIN)

    def prompt(self, prompt: str, size: Size) -> Prompt:
        small, large = grids_of(size)
        ids = tuple(self.prompt_ids(prompt, size))
        return Prompt(ids, torch.tensor([len(ids), *small, *large]))

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        raise ValueError("glm-image draws its tokens without guidance: leave guided rows out")

    def guidance(self, scale: float, size: Size) -> float:
        if scale != 1:
            raise ValueError(f"guidance_scale is {scale}: glm-image draws its tokens without guidance, give 1 (its "
                             "diffusion decoder has a scale of its own)")
        return scale

    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        raise NotImplementedError  # not reached: see encode

    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        raise NotImplementedError  # not reached: there are tokens only

    def encode(self, pictures: Sequence[Image.Image], size: Size) -> Tensor:
        """ValueError: how the small picture of a given one was made for training is not published."""
        raise ValueError("glm-image does not make tokens of pictures here: give tokens that it drew")

    def render(self, prompts: Sequence[str], tokens: Tensor, size: Size, **options: Any) -> list[Image.Image]:
        """Pictures of token streams, by diffusers' ``GlmImagePipeline`` with the decoder of this model's folder.

        It is loaded at the first call, in this model's precision and on its device::

            out = pipe(prompts, size=(1152, 768), seed=7)
            images = pipe.model.render(out.prompts, out.tokens, (1152, 768), num_inference_steps=30)

        Args:
            prompts: one a row; the decoder reads the words between quotation marks, which it writes into the picture.
            tokens: LongTensor ``[B, length]``, as ``pipe(...)`` returns them.
            size: width and height in pixels, those of the tokens.
            options: more arguments of that pipeline: ``num_inference_steps``, ``guidance_scale``, ``generator``.

        Raises:
            ModuleNotFoundError: diffusers is missing; names the extra that brings it.
            FileNotFoundError: the decoder is missing; names its files.
            ValueError: tokens that are no streams of this size.
        """
        prior = prior_token_ids(tokens, size).to(self.device)
        width, height = size
        drawn = self._diffusion(prompt=list(prompts), prior_token_ids=prior, width=width, height=height, **options)
        images: list[Image.Image] = drawn.images
        return images

    @cached_property
    def _diffusion(self) -> Any:
        """diffusers' pipeline without the autoregressive part."""
        require_extra("diffusers", "glm", "rendering the tokens of glm-image")
        folder, dtype = self.decoder_folder, self.dtype
        if folder is None:
            raise FileNotFoundError("this model was made without the folder of a decoder: load the published pipeline")
        require_files(folder, DECODER_FILES)
        from diffusers import (
            AutoencoderKL,
            FlowMatchEulerDiscreteScheduler,
            GlmImagePipeline,
            GlmImageTransformer2DModel,
        )
        from transformers import ByT5Tokenizer, T5EncoderModel

        # one by one: a pipeline's own loading reads from the folder which classes to use
        pipeline = GlmImagePipeline(
            tokenizer=ByT5Tokenizer.from_pretrained(folder / "tokenizer"),
            processor=None,
            text_encoder=load_pretrained(T5EncoderModel, folder / "text_encoder", Placement(dtype, self.device)),
            vision_language_encoder=None,
            vae=AutoencoderKL.from_pretrained(folder / "vae", dtype=dtype, use_safetensors=True),
            transformer=GlmImageTransformer2DModel.from_pretrained(
                folder / "transformer", dtype=dtype, use_safetensors=True
            ),
            scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        )
        return pipeline.to(self.device)


def _rows_of_codes(tensors: Mapping[str, Tensor], codes: int, hidden: int, part: Path) -> Tensor:
    """Those of the output head, ``[codes, hidden]``."""
    head = tensors.get("lm_head.weight")
    if head is None or head.ndim != 2 or len(head) < codes or head.shape[1] != hidden:
        found = "none" if head is None else f"one of shape {tuple(head.shape)}"
        raise ValueError(f"the weights in {part} do not fit its config.json: expected a lm_head.weight of at least "
                         f"{codes} rows of {hidden}, found {found}")
    return head[:codes]
