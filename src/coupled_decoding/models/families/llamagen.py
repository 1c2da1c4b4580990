"""LlamaGen (arXiv 2406.06525): a Llama over picture codes after a class of ImageNet (c2i) or a caption (t2i).

====================  ================================================================================================
token stream          a condition, then ``code * (side * side)``, raster order, no row ends, no end marker; one class
                      token (c2i), or 120 features of the caption, filled up on the left with features that nothing
                      sees (t2i). 256 pixels are 16 x 16 codes, 384 are 24 x 24, 512 are 32 x 32
codes                 ids 0 .. 16383 here; the ids after them name conditions
unconditional prompt  class 1000, which is none (c2i); the last features of ``uncond_embedding``, as many as the
                      caption has (t2i); ``u + s * (c - u)``, s = 4 (c2i) or 7.5 (t2i)
sampling              temperature 1, top-k 2000 (c2i) or 1000 (t2i)
files                 one ``c2i_*_SIZE.pt`` with ``vq_ds16_c2i.pt``, or one ``t2i_*_SIZE.pt`` with ``vq_ds16_t2i.pt``
                      and flan-t5-xl in the subfolder ``t5``; SIZE is that of a picture in pixels
====================  ================================================================================================

Sources: github.com/FoundationVision/LlamaGen (``autoregressive/models``, ``autoregressive/sample``, ``language``). Both
hub repositories hold several transformers: a folder must hold one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor

from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import build, read_tensors, require_files
from coupled_decoding.models.checkpoints.t5 import T5
from coupled_decoding.models.contract import Card, only_size
from coupled_decoding.models.families.code_grid import CodeGridPictures
from coupled_decoding.models.families.imagenet import CLASSES, class_id
from coupled_decoding.models.families.llamagen_text import cleaned
from coupled_decoding.models.networks.llamagen_transformer import CaptionEmbedding, LlamaGenTransformer, rotary_table
from coupled_decoding.models.networks.vqgan import VQGAN, load_vqgan, renamed_vq16
from coupled_decoding.models.prompts import checked_prompt
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.prompts import Prompt

VERIFIED = "logits, guidance and pixels against the official code at random weights; names and shapes of all weights"
NOT_VERIFIED = "published weights, which no machine of ours has had"


class LlamaGenBackbone(Backbone):
    """Ids below the number of codes are codes, those after them, ``others`` in number, what a prompt is made of.

    Args:
        places: tokens of every prompt.
        side: codes along each side of a picture.
    """

    def __init__(self, transformer: LlamaGenTransformer, others: int, places: int, side: int) -> None:
        self.codes, self.places = transformer.output.out_features, places
        super().__init__(transformer, self.codes + others, torch.arange(self.codes, device=transformer.device))
        rotary = rotary_table(places, side, transformer.head_dim, self.dtype)
        self.rotary, self.max_positions = rotary.to(self.device), len(rotary)

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        code = self.decoder.tok_embeddings(tokens.clamp(max=self.codes - 1))
        other = self.embed_others(tokens, positions, conditions)
        embedded = torch.where((tokens < self.codes).unsqueeze(-1), code, other)
        return self.decoder(embedded, self.rotary[positions], mask, cache)

    def embed_others(self, tokens: Tensor, positions: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
        """Input embeddings ``[R, T, width]`` of tokens that are no codes; anything where they are."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(self.decoder.output(hidden))


class ClassBackbone(LlamaGenBackbone):
    """Id ``codes + i`` is class i: row i of ``classes`` ``[N, width]``, the last of which is none."""

    def __init__(self, transformer: LlamaGenTransformer, side: int) -> None:
        self.classes: Tensor = transformer.cls_embedding()
        super().__init__(transformer, len(self.classes), 1, side)

    def embed_others(self, tokens: Tensor, positions: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
        return self.classes[(tokens - self.codes).clamp(min=0)]


class CaptionBackbone(LlamaGenBackbone):
    """A prompt's condition is text features ``[n, features]``: ids ``padding`` on the left, then n times ``feature``.

    The feature at a position is the condition's, counted from the right: the last of it is the prompt's last token.
    """

    def __init__(self, transformer: LlamaGenTransformer, side: int) -> None:
        self.embedding = cast(CaptionEmbedding, transformer.cls_embedding)
        super().__init__(transformer, 2, len(self.embedding.uncond_embedding), side)
        self.padding, self.feature = self.codes, self.codes + 1

    @torch.no_grad()
    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One tensor ``[N, places, width]``: input embeddings, zero features where there is padding."""
        nothing = self.embedding.uncond_embedding
        features = nothing.new_zeros(len(conditions), *nothing.shape)
        for row, one in enumerate(conditions):
            features[row, len(nothing) - len(one) :] = one.to(nothing)
        return (self.embedding(features),)

    def embed_others(self, tokens: Tensor, positions: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
        row = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
        return conditions[0][row, positions.clamp(max=self.places - 1)]


class LlamaGenModel(CodeGridPictures):
    """What both kinds have in common; see :class:`coupled_decoding.models.contract.PictureModel`."""

    names: ClassVar[str]
    """How the names of its files begin."""
    mark: ClassVar[str]
    """A weight that only this kind has."""

    @classmethod
    def load_parts(cls, folder: Path, placement: Placement) -> tuple[LlamaGenTransformer, VQGAN, int]:
        """The transformer, the tokenizer, and how many codes a picture has along each side."""
        if placement.device_map is not None:
            raise ValueError("device_map is given: this family's transformer, of 3B weights at most, runs on one "
                             "device; give device")
        path, vq_path = cls._only_transformer(folder), folder / f"vq_ds16_{cls.names}.pt"
        require_files(folder, [vq_path.name])
        pixels = cls._pixels_of(path)
        transformer = cls._load_transformer(path, placement)
        vq_tensors = read_tensors(vq_path)
        try:
            vq_tensors = renamed_vq16(vq_tensors)
        except ValueError as error:
            raise ValueError(f"{vq_path} holds no VQ-16 of LlamaGen") from error
        vq = load_vqgan(vq_tensors, vq_path, normalised=True, device=placement.device)
        codes = transformer.output.out_features
        if vq.config.codes != codes:
            raise ValueError(f"{vq_path} has {vq.config.codes} codes, {path.name} draws {codes}: they are of different "
                             "models")
        if pixels % vq.config.downsampling:
            raise ValueError(f"{path.name} says that a picture has {pixels} pixels a side: that is no multiple of the "
                             f"{vq.config.downsampling} of a code")
        return transformer, vq, pixels // vq.config.downsampling

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        only_size(cls.card, (cls._pixels_of(cls._only_transformer(folder)),) * 2, size)

    @classmethod
    def _only_transformer(cls, folder: Path) -> Path:
        found = sorted(path for path in folder.glob("*.pt") if re.fullmatch(r"[ct]2i_\w+\.pt", path.name))
        if not found:
            raise FileNotFoundError(f"the checkpoint {folder} lacks its transformer, {cls.names}_*.pt")
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ValueError(f"{folder} holds several transformers ({names}): give a folder with one of them and its "
                             f"vq_ds16_{cls.names}.pt")
        return found[0]

    @classmethod
    def _pixels_of(cls, path: Path) -> int:
        """Along each side of a picture: the weights do not tell it, only the name does."""
        found = re.search(r"_(\d+)\.pt$", path.name)
        if found is None:
            raise ValueError(f"{path} does not say the size of its pictures: name it as published, for example "
                             f"{cls.names}_XL_256.pt")
        return int(found[1])

    @classmethod
    def _load_transformer(cls, path: Path, placement: Placement) -> LlamaGenTransformer:
        tensors = read_tensors(path)
        tensors.pop("freqs_cis", None)  # a table that some versions stored; it is computed
        if cls.mark not in tensors:
            raise ValueError(f"{path} holds no {cls.names} transformer of LlamaGen: {cls.mark} is missing")
        return build(LlamaGenTransformer, tensors, path, "transformer of LlamaGen", placement.dtype, placement.device)


class LlamaGenOfClasses(LlamaGenModel):
    """Pictures of ImageNet's classes; a prompt is an id or a name."""

    backbone: ClassBackbone
    names, mark = "c2i", "cls_embedding.embedding_table.weight"
    card = Card(
        name="llamagen-c2i",
        checkpoints="FoundationVision/LlamaGen: c2i_B, _L at 256 and 384; c2i_XL, _XXL, _3B at 384",
        files="one of c2i_*_256.pt and c2i_*_384.pt, vq_ds16_c2i.pt",
        size="256x256 or 384x384, as the file says",
        sampling=Sampling(top_k=2000),
        guidance_scale=4.0,
        verified=VERIFIED,
        not_verified=NOT_VERIFIED,
    )

    def __init__(self, backbone: ClassBackbone, vq: VQGAN, side: int) -> None:
        super().__init__(backbone, vq, (side, side), (side * vq.config.downsampling,) * 2)

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> LlamaGenOfClasses:
        transformer, vq, side = cls.load_parts(folder, placement)
        backbone = ClassBackbone(transformer, side)
        classes = len(backbone.classes) - 1
        if classes != CLASSES:
            raise ValueError(f"the transformer in {folder} draws {classes} classes: this family draws the {CLASSES} of "
                             "ImageNet")
        return cls(backbone, vq, side)

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        return [self.backbone.codes + class_id(prompt)]

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return [self.backbone.codes + CLASSES]


class LlamaGenOfText(LlamaGenModel):
    """Pictures of captions. The text encoder is read from the subfolder ``t5``; without it, features must be given."""

    backbone: CaptionBackbone
    names, mark = "t2i", "cls_embedding.uncond_embedding"
    card = Card(
        name="llamagen-t2i",
        checkpoints="peizesun/llamagen_t2i: t2i_XL_stage1_256, t2i_XL_stage2_512; google/flan-t5-xl",
        files="one of t2i_*_256.pt and t2i_*_512.pt, vq_ds16_t2i.pt; t5/ with flan-t5-xl: config.json, tokenizer.json, "
              "weights (safetensors or pytorch_model.bin, sharded or not)",
        size="256x256 or 512x512, as the file says",
        sampling=Sampling(top_k=1000),
        guidance_scale=7.5,
        verified=VERIFIED,
        not_verified=NOT_VERIFIED,
    )

    def __init__(self, backbone: CaptionBackbone, vq: VQGAN, side: int, text: T5 | None) -> None:
        super().__init__(backbone, vq, (side, side), (side * vq.config.downsampling,) * 2)
        self.text = text
        self.nothing = backbone.embedding.uncond_embedding  # [places, features]
        self.places, self.features = self.nothing.shape

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> LlamaGenOfText:
        transformer, vq, side = cls.load_parts(folder, placement)
        text = T5(folder / "t5", placement) if (folder / "t5").is_dir() else None
        model = cls(CaptionBackbone(transformer, side), vq, side, text)
        if text is not None and text.width != model.features:
            raise ValueError(f"{folder / 't5'} gives features of width {text.width}, {cls.names}_*.pt reads "
                             f"{model.features}: it is another text encoder than flan-t5-xl")
        return model

    def prompt(self, prompt: str, size: Size) -> Prompt:
        if self.text is None:
            raise FileNotFoundError("this checkpoint lacks its text encoder: put google/flan-t5-xl into its subfolder "
                                    "t5, or give prompts of features to model.session_of")
        return self.prompt_of_features(self.text.features(cleaned(prompt), self.places))

    def prompt_of_features(self, features: Tensor) -> Prompt:
        """A prompt of text features ``[n, 2048]``, n at most 120, without padding. ValueError for other shapes."""
        if features.ndim != 2 or features.shape[1] != self.features or not 1 <= len(features) <= self.places:
            raise ValueError(f"features of shape {list(features.shape)}: give [n, {self.features}] with n from 1 to "
                             f"{self.places}")
        padding = [self.backbone.codes] * (self.places - len(features))
        return Prompt((*padding, *[self.backbone.feature] * len(features)), features)

    def check_prompt(self, prompt: str, size: Size) -> None:
        checked_prompt(prompt)

    def prompt_ids(self, prompt: str, size: Size) -> list[int]:
        return list(self.prompt(prompt, size).ids)

    def unconditional_ids(self, prompt_ids: Sequence[int], size: Size) -> list[int]:
        return list(prompt_ids)  # as many features, which are others

    def unconditional(self, prompt: Prompt, size: Size) -> Prompt:
        return Prompt(prompt.ids, self.nothing)
