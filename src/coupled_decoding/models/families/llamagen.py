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
from typing import Any, ClassVar, cast

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
from coupled_decoding.serving.session import TransformersSession

VERIFIED = "logits, guidance and pixels against the official code at random weights; names and shapes of all weights"
NOT_VERIFIED = "published weights, which no machine of ours has had"


class LlamaGenBackbone(Backbone):
    """Ids below the number of codes are codes, id ``codes + i`` is row i of ``conditions`` ``[N, width]``.

    ``angles`` are those of :func:`rotary_angles` at every position.
    """

    def __init__(
        self, transformer: LlamaGenTransformer, conditions: Tensor, angles: Tensor, padding: int | None = None
    ) -> None:
        self.codes = transformer.output.out_features
        super().__init__(
            transformer, self.codes + len(conditions), torch.arange(self.codes, device=transformer.device)
        )
        self.conditions, self.angles, self.padding = conditions, angles, padding
        self.max_positions = len(angles)

    def embed(self, tokens: Tensor) -> Tensor:
        code = self.decoder.tok_embeddings(tokens.clamp(max=self.codes - 1))
        condition = self.conditions[(tokens - self.codes).clamp(min=0)]
        return torch.where((tokens < self.codes).unsqueeze(-1), code, condition)

    def trunk(self, tokens: Tensor, **kwargs: Any) -> Tensor:
        angles = self.angles[kwargs["position_ids"]]
        return self.decoder(self.embed(tokens), angles, kwargs["attention_mask"], kwargs["past_key_values"])

    def adopt(self, other: Backbone, tokens: Tensor) -> Tensor:
        """Takes over the conditions of these tokens, where the other has conditions of its own."""
        theirs = cast(LlamaGenBackbone, other).conditions
        if theirs is self.conditions:
            return tokens
        first = self.codes + len(self.conditions)
        self.conditions = torch.cat([self.conditions, theirs[tokens - self.codes]])
        return first + torch.arange(len(tokens), device=tokens.device)

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(self.decoder.output(hidden))


class LlamaGenModel(SquarePictures):
    """What both kinds have in common; see :class:`coupled_decoding.models.contract.PictureModel`."""

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

    def backbone(self, conditions: Tensor, places: int, padding: int | None = None) -> LlamaGenBackbone:
        """For prompts of ``places`` tokens, whose ids after the codes are the rows of ``conditions``."""
        angles = rotary_angles(places, self.side, self.transformer.head_dim, self.dtype).to(self.device)
        return LlamaGenBackbone(self.transformer, conditions, angles, padding)


class LlamaGenOfClasses(LlamaGenModel):
    """Pictures of ImageNet's classes; a prompt is an id or a name."""

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
        self.classes: Tensor = self.transformer.cls_embedding()
        classes = len(self.classes) - 1
        if classes != CLASSES:
            raise ValueError(f"the transformer in {folder} draws {classes} classes: this family draws the {CLASSES} of "
                             "ImageNet")

    def session(self, prompts: Sequence[str], guidance_scale: float, size: Size) -> TransformersSession:
        backbone = self.backbone(self.classes, places=1)
        ids = [[backbone.codes + class_id(prompt)] for prompt in prompts]
        return TransformersSession(
            backbone, ids, self.layout_of(size).length,
            negative_prompts=None if guidance_scale == 1 else [[backbone.codes + CLASSES]] * len(ids),
            guidance_scale=guidance_scale,
        )


class LlamaGenOfText(LlamaGenModel):
    """Pictures of captions. The text encoder is read from the subfolder ``t5``; without it, features must be given."""

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
        self.embedding = cast(CaptionEmbedding, self.transformer.cls_embedding)
        self.nothing = self.embedding.uncond_embedding  # [places, features]
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

    @torch.no_grad()
    def session_of_features(self, features: Sequence[Tensor], guidance_scale: float, size: Size) -> TransformersSession:
        """A session of text features instead of prompts: ``[n, 2048]`` of each row, n at most 120, without padding.

        Rows that share one tensor are read once. ValueError for other shapes.
        """
        for one in features:
            if one.ndim != 2 or one.shape[1] != self.features or not 1 <= len(one) <= self.places:
                raise ValueError(f"features of shape {list(one.shape)}: give [n, {self.features}] with n from 1 to "
                                 f"{self.places}")
        table, padding = [torch.zeros_like(self.nothing[:1]), self.nothing], self.transformer.output.out_features
        nothing = range(padding + 1, padding + 1 + self.places)
        ids: dict[int, range] = {}
        end = nothing.stop
        for one in features:
            if id(one) not in ids:
                ids[id(one)] = range(end, end + len(one))
                end += len(one)
                table.append(one.to(self.device, self.dtype))
        backbone = self.backbone(self.embedding(torch.cat(table)), self.places, padding)
        fill = [[padding] * (self.places - len(one)) for one in features]
        prompts = [[*left, *ids[id(one)]] for left, one in zip(fill, features, strict=True)]
        negative = [[*left, *nothing[len(left) :]] for left in fill]
        return TransformersSession(
            backbone, prompts, self.layout_of(size).length,
            negative_prompts=None if guidance_scale == 1 else negative, guidance_scale=guidance_scale,
        )
