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

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_weights, read_tensors, require_files
from coupled_decoding.models.checkpoints.t5 import T5
from coupled_decoding.models.contract import Card, only_size
from coupled_decoding.models.families.imagenet import CLASSES, class_id
from coupled_decoding.models.families.llamagen_text import cleaned
from coupled_decoding.models.families.square import SquarePictures
from coupled_decoding.models.networks.llamagen_transformer import CaptionEmbedding, LlamaGenTransformer, rotary_angles
from coupled_decoding.models.networks.vqgan import load_vqgan, renamed_vq16
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.prompts import Prompt
from coupled_decoding.serving.session import TransformersSession

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
        rotary = rotary_angles(places, side, transformer.head_dim, self.dtype)
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


class LlamaGenModel(SquarePictures):
    """What both kinds have in common; see :class:`coupled_decoding.models.contract.PictureModel`."""

    backbone: LlamaGenBackbone
    transformer: LlamaGenTransformer
    kind: ClassVar[str]
    """What the names of its files say."""
    mark: ClassVar[str]
    """A weight that only this kind has."""

    def __init__(self, folder: Path, placement: Placement) -> None:
        if placement.device_map is not None:
            raise ValueError("device_map is given: this family's transformer, of 3B weights at most, runs on one "
                             "device; give device")
        self.folder, self.dtype, self.device = folder, placement.dtype, placement.device
        path = self._only_transformer(folder)
        vq_path = folder / f"vq_ds16_{self.kind}.pt"
        require_files(folder, [vq_path.name])
        self.size = self._size_of(path)
        self.transformer = self._load_transformer(path)
        vq_tensors = read_tensors(vq_path)
        try:
            vq_tensors = renamed_vq16(vq_tensors)
        except ValueError as error:
            raise ValueError(f"{vq_path} holds no VQ-16 of LlamaGen") from error
        self.vq = load_vqgan(vq_tensors, vq_path, normalised=True, device=self.device)
        codes = self.transformer.output.out_features
        if self.vq.config.codes != codes:
            raise ValueError(f"{vq_path} has {self.vq.config.codes} codes, {path.name} draws {codes}: they are of "
                             "different models")
        if self.size[0] % self.vq.config.downsampling:
            raise ValueError(f"{path.name} says that a picture has {self.size[0]} pixels a side: that is no multiple "
                             f"of the {self.vq.config.downsampling} of a code")
        self.side = self.size[0] // self.vq.config.downsampling
        self.layout = Layout.grid(self.side, self.side, codes)

    @classmethod
    def check_size(cls, folder: Path, size: Size) -> None:
        only_size(cls.card, cls._size_of(cls._only_transformer(folder)), size)

    @classmethod
    def _only_transformer(cls, folder: Path) -> Path:
        found = sorted(path for path in folder.glob("*.pt") if re.fullmatch(r"[ct]2i_\w+\.pt", path.name))
        if not found:
            raise FileNotFoundError(f"the checkpoint {folder} lacks its transformer, {cls.kind}_*.pt")
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ValueError(f"{folder} holds several transformers ({names}): give a folder with one of them and "
                             f"its vq_ds16_{cls.kind}.pt")
        return found[0]

    @classmethod
    def _size_of(cls, path: Path) -> Size:
        """The weights do not tell the size of a picture, only the name does."""
        found = re.search(r"_(\d+)\.pt$", path.name)
        if found is None:
            raise ValueError(f"{path} does not say the size of its pictures: name it as published, for example "
                             f"{cls.kind}_XL_256.pt")
        return (int(found[1]),) * 2

    def _load_transformer(self, path: Path) -> LlamaGenTransformer:
        tensors = read_tensors(path)
        tensors.pop("freqs_cis", None)  # a table that some versions stored; it is computed
        if self.mark not in tensors:
            raise ValueError(f"{path} holds no {self.kind} transformer of LlamaGen: {self.mark} is missing")
        try:
            with torch.device("meta"):
                transformer = LlamaGenTransformer(tensors)
        except KeyError as error:
            raise ValueError(f"{path} holds no transformer of LlamaGen: {error} is missing") from error
        except ValueError as error:
            raise ValueError(f"{path} does not fit: {error}") from error
        load_weights(transformer, path, tensors=tensors, dtype=self.dtype)
        return transformer.to(self.device).eval()


class LlamaGenOfClasses(LlamaGenModel):
    """Pictures of ImageNet's classes; a prompt is an id or a name."""

    backbone: ClassBackbone
    kind, mark = "c2i", "cls_embedding.embedding_table.weight"
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
    sampling, guidance_scale = card.sampling, card.guidance_scale

    def __init__(self, folder: Path, placement: Placement) -> None:
        super().__init__(folder, placement)
        self.backbone = ClassBackbone(self.transformer, self.side)
        classes = len(self.backbone.classes) - 1
        if classes != CLASSES:
            raise ValueError(f"the transformer in {folder} draws {classes} classes: this family draws the {CLASSES} of "
                             "ImageNet")

    def session(self, prompts: Sequence[str], guidance_scale: float, size: Size) -> TransformersSession:
        codes = self.backbone.codes
        ids = [[codes + class_id(prompt)] for prompt in prompts]
        return TransformersSession(
            self.backbone, ids, self.layout_of(size).length,
            negative_prompts=None if guidance_scale == 1 else [[codes + CLASSES]] * len(ids),
            guidance_scale=guidance_scale,
        )


class LlamaGenOfText(LlamaGenModel):
    """Pictures of captions. The text encoder is read from the subfolder ``t5``; without it, features must be given."""

    backbone: CaptionBackbone
    kind, mark = "t2i", "cls_embedding.uncond_embedding"
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
    sampling, guidance_scale = card.sampling, card.guidance_scale

    def __init__(self, folder: Path, placement: Placement) -> None:
        super().__init__(folder, placement)
        self.backbone = CaptionBackbone(self.transformer, self.side)
        self.nothing = self.backbone.embedding.uncond_embedding  # [places, features]
        self.places, self.features = self.nothing.shape
        self.text = T5(folder / "t5", placement) if (folder / "t5").is_dir() else None
        if self.text is not None and self.text.width != self.features:
            raise ValueError(f"{folder / 't5'} gives features of width {self.text.width}, {self.kind}_*.pt reads "
                             f"{self.features}: it is another text encoder than flan-t5-xl")

    def session(self, prompts: Sequence[str], guidance_scale: float, size: Size) -> TransformersSession:
        if self.text is None:
            raise FileNotFoundError(f"the checkpoint {self.folder} lacks its text encoder: put google/flan-t5-xl into "
                                    "its subfolder t5, or give features to model.session_of_features")
        read = {prompt: self.text.features(cleaned(prompt), self.places) for prompt in dict.fromkeys(prompts)}
        return self.session_of_features([read[prompt] for prompt in prompts], guidance_scale, size)

    def session_of_features(self, features: Sequence[Tensor], guidance_scale: float, size: Size) -> TransformersSession:
        """A session of text features instead of prompts: ``[n, 2048]`` of each row, n at most 120, without padding.

        Rows that share one tensor are read once. ValueError for other shapes.
        """
        for one in features:
            if one.ndim != 2 or one.shape[1] != self.features or not 1 <= len(one) <= self.places:
                raise ValueError(f"features of shape {list(one.shape)}: give [n, {self.features}] with n from 1 to "
                                 f"{self.places}")
        padding, feature = self.backbone.codes, self.backbone.feature
        ids = [(padding,) * (self.places - len(one)) + (feature,) * len(one) for one in features]
        negative = [Prompt(one, self.nothing) for one in ids]
        return TransformersSession(
            self.backbone, [Prompt(*one) for one in zip(ids, features, strict=True)], self.layout_of(size).length,
            negative_prompts=None if guidance_scale == 1 else negative, guidance_scale=guidance_scale,
        )
