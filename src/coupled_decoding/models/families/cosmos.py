"""Cosmos-1 autoregressive (arXiv 2501.03575): clips continued from one or nine frames, by a text in some models.

====================  ================================================================================================
token stream          codes of time, row and column in this order, [5, 40, 64] for 33 frames of 1024x640: 2560 for the
                      first frame, 2560 for every eight after it; no marks between them. A context of 1 or 9 frames is
                      the prompt; models that read a text begin with ``<bov>``
codes                 ids 0 .. 63999; ``<bov>`` is 64000
text (5B, 13B)        512 features of T5-11B, zeros after the text's own; zeros are attended, too
positions             3-D rotary embedding, stretched (YaRN) in 12B and 13B; 5B and 13B add sines of time, row and
                      column in every layer; ``<bov>`` stands at no place
guidance              none
sampling              temperature 1, top-p 0.8 (published examples: 0.8 for 4B and 13B, 0.9 for 12B, 0.7 for 5B)
files                 ``model.pt``; ``t5/`` with google-t5/t5-11b for texts; for frames the tokenizer's folder, in this
                      one or beside it, which holds programs, not weights (see ``cosmos_tokenizer.py``)
====================  ================================================================================================

Sources: github.com/nvidia-cosmos/cosmos-predict1 (``cosmos_predict1/autoregressive``, ``auxiliary/t5_text_encoder.py``)
and github.com/NVIDIA/Cosmos, branch archived-ces2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import build, read_tensors, require_files
from coupled_decoding.models.checkpoints.t5 import T5
from coupled_decoding.models.contract import Card, VideoModel, check_codes
from coupled_decoding.models.networks.cosmos_tokenizer import FRAMES_A_CODE, PIXELS_A_CODE, CosmosTokenizer
from coupled_decoding.models.networks.cosmos_transformer import CosmosTransformer, position_embeddings, rotary_table
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.prompts import Prompt
from coupled_decoding.serving.session import TransformersSession

SHAPE = (5, 40, 64)
"""Codes of a clip along time, rows and columns."""
TEXT_PLACES = 512
STRETCHED_WIDTH = 5120
"""Models of this width (12B, 13B) were first trained on shorter clips."""
MARK = "layers.0.attention.q_norm.weight"
TOKENIZERS = ("Cosmos-1.0-Tokenizer-DV8x16x16", "Cosmos-Tokenize1-DV8x16x16-720p")
TOKENS_ONLY = (
    "this family's tokenizer is published as TorchScript, which is a program and not weights: give "
    "allow_torchscript=True to from_pretrained to run it, or give and take tokens without frames"
)


class CosmosBackbone(Backbone):
    """Ids below the number of codes are codes; a row that reads a text begins with the id ``codes``.

    A prompt's condition is text features ``[n, text_width]``, n at most 512.

    Args:
        rotary, embeddings: tables of the transformer's by position, the start's included; see its ``forward``.
    """

    def __init__(self, transformer: CosmosTransformer, rotary: Tensor, embeddings: Tensor | None) -> None:
        self.codes, self.rotary, self.embeddings = transformer.codes, rotary, embeddings
        start = 0 if transformer.text_width is None else 1
        super().__init__(transformer, self.codes + start, torch.arange(self.codes, device=transformer.device))
        self.max_positions = len(rotary)

    @torch.no_grad()
    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Keys and values ``[N, groups, 512, head_dim]`` that each layer looks at, zeros of features after a text."""
        padded = torch.stack([F.pad(one, (0, 0, 0, TEXT_PLACES - len(one))) for one in conditions])
        read = self.decoder.read_texts(padded.to(self.device, self.dtype))
        return tuple(part for keys_and_values in read for part in keys_and_values)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.decoder.tok_embeddings(tokens.clamp(max=self.codes))

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        embeddings = None if self.embeddings is None else self.embeddings[positions]
        texts = [*zip(conditions[::2], conditions[1::2], strict=True)] or None
        return self.decoder(self.embed(tokens), self.rotary[positions], embeddings, mask, cache, texts)

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(self.decoder.output(hidden))


class CosmosModel(VideoModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.VideoModel`."""

    backbone: CosmosBackbone
    card = Card(
        name="cosmos-1",
        checkpoints="nvidia/Cosmos-1.0-Autoregressive-4B, -12B, -5B-Video2World, -13B-Video2World; "
                    "nvidia/Cosmos-Predict1-4B, -12B, -5B-Video2World, -13B-Video2World",
        files="model.pt; t5/ with google-t5/t5-11b for texts (5B, 13B); Cosmos-1.0-Tokenizer-DV8x16x16/ or "
              "Cosmos-Tokenize1-DV8x16x16-720p/ for frames, in the folder or beside it",
        size="33 frames of 1024x640",
        sampling=Sampling(top_p=0.8),
        guidance_scale=1.0,
        verified="logits against the official code at random weights, with and without a text; names and shapes of all "
                 "weights at 4B, 5B, 12B and 13B",
        not_verified="published weights and the published tokenizer, which no machine of ours has had",
    )
    frames_per_second = 25.0  # at which the published examples write clips
    frames_by_torchscript = True

    def __init__(self, transformer: CosmosTransformer, text: T5 | None, tokenizer: CosmosTokenizer | None) -> None:
        """``text`` is for prompts, where the transformer reads a text at all, ``tokenizer`` for frames."""
        self.backbone = CosmosBackbone(transformer, *_tables(transformer))
        self.text_width, self.text, self.tokenizer = transformer.text_width, text, tokenizer
        self.tokens_only = "" if tokenizer else TOKENS_ONLY
        latents, self.rows, self.columns = SHAPE
        self.size = (PIXELS_A_CODE * self.columns, PIXELS_A_CODE * self.rows)
        self.lengths = {1 + FRAMES_A_CODE * i: (1 + i) * self.rows * self.columns for i in range(latents)}
        self.frames = max(self.lengths)

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> CosmosModel:
        if placement.device_map is not None:
            raise ValueError("device_map is given: this family's transformer runs on one device; give device")
        require_files(folder, ["model.pt"])
        transformer = _load_transformer(folder / "model.pt", placement)
        text = T5(folder / "t5", placement) if (folder / "t5").is_dir() else None
        if text is not None and text.width != transformer.text_width:
            raise ValueError(f"{folder / 't5'} gives features of width {text.width}, model.pt reads "
                             f"{transformer.text_width or 'no text'}")
        tokenizer = None
        if placement.allow_torchscript:
            tokenizer = CosmosTokenizer(_tokenizer_folder(folder), placement.device)
        return cls(transformer, text, tokenizer)

    def layout_of(self, num_context: int, num_frames: int) -> Layout:
        tokens = self.length_of(num_frames) - self.length_of(num_context)
        return Layout.clip(tokens // (self.rows * self.columns), self.rows, self.columns, self.backbone.codes)

    def check_context(self, tokens: Tensor) -> None:
        self.frames_of(tokens.shape[1])
        check_codes(tokens, 0, self.backbone.codes)

    def session(self, contexts: Tensor, num_frames: int, prompts: Sequence[str] | None) -> TransformersSession:
        if prompts is None:
            return self.session_of_features(contexts, num_frames, None)
        if self.text_width is None:
            raise ValueError("prompts are given: this checkpoint reads no text, Video2World ones do; leave them out")
        if self.text is None:
            raise FileNotFoundError("this checkpoint lacks its text encoder: put google-t5/t5-11b into "
                                    "its subfolder t5, or give features to model.session_of_features")
        read = {prompt: self.text.features(prompt, TEXT_PLACES) for prompt in dict.fromkeys(prompts)}
        return self.session_of_features(contexts, num_frames, [read[prompt] for prompt in prompts])

    @torch.no_grad()
    def session_of_features(
        self, contexts: Tensor, num_frames: int, features: Sequence[Tensor] | None
    ) -> TransformersSession:
        """A session of text features instead of prompts: ``[n, 1024]`` of each row, n at most 512, without padding.

        Rows that share one tensor share its keys and values. ValueError for other shapes, and where features are given
        to a model that reads none or are missing for one that does.
        """
        length, width = self.length_of(num_frames) - contexts.shape[1], self.text_width
        if (features is None) != (width is None):
            raise ValueError("this checkpoint reads no text: give no features" if width is None else
                             "this checkpoint reads a text with each clip: give prompts or features")
        if features is None:
            return TransformersSession(self.backbone, contexts.tolist(), length)
        for one in features:
            if one.ndim != 2 or one.shape[1] != width or not 1 <= len(one) <= TEXT_PLACES:
                raise ValueError(f"features of shape {list(one.shape)}: give [n, {width}] with n from 1 to "
                                 f"{TEXT_PLACES}")
        prompts = [Prompt((self.backbone.codes, *context), one)
                   for context, one in zip(contexts.tolist(), features, strict=True)]
        return TransformersSession(self.backbone, prompts, length)

    def tokens_of(self, pixels: Tensor) -> Tensor:
        """A clip is filled up to its full length with the last frame, as published; no code sees later frames."""
        length = self.length_of(len(pixels))
        whole = torch.cat([pixels, pixels[-1:].expand(self.frames - len(pixels), -1, -1, -1)])
        codes = self._pixels().encode(whole.transpose(0, 1).unsqueeze(0))
        if int(codes.max()) >= self.backbone.codes:
            raise ValueError(f"the tokenizer gives code {int(codes.max())}, the transformer draws "
                             f"{self.backbone.codes}: they are of different models")
        return codes.flatten(1)[:, :length]

    def pixels_of(self, tokens: Tensor) -> Tensor:
        """A shorter clip is filled up with its last codes, too, and cut again: no frame sees later codes."""
        codes = tokens.view(1, -1, self.rows, self.columns)
        latents = codes.shape[1]
        whole = torch.cat([codes, codes[:, -1:].expand(-1, len(self.lengths) - latents, -1, -1)], 1)
        frames = 1 + FRAMES_A_CODE * (latents - 1)
        return self._pixels().decode(whole)[0, :, :frames].transpose(0, 1)

    def _pixels(self) -> CosmosTokenizer:
        assert self.tokenizer is not None, "without it there are tokens only"
        return self.tokenizer


def _load_transformer(path: Path, placement: Placement) -> CosmosTransformer:
    # training adds a state of its library's for each module, and some checkpoints a prefix
    tensors = {name.removeprefix("model."): tensor for name, tensor in read_tensors(path).items()
               if not name.endswith("_extra_state")}
    if MARK not in tensors:
        raise ValueError(f"{path} holds no transformer of Cosmos-1: {MARK} is missing")
    return build(CosmosTransformer, tensors, path, "transformer of Cosmos-1", placement.dtype, placement.device)


def _tables(transformer: CosmosTransformer) -> tuple[Tensor, Tensor | None]:
    """Rotary factors and, where texts are read, position embeddings of every position."""
    stretched = transformer.width == STRETCHED_WIDTH
    rotary = rotary_table(transformer.head_dim, SHAPE, stretched, transformer.dtype).to(transformer.device)
    if transformer.text_width is None:
        return rotary, None
    embeddings = position_embeddings(transformer.width, SHAPE, transformer.dtype).to(transformer.device)
    # the start is not turned, and nothing is added to it
    return torch.cat([torch.ones_like(rotary[:1]), rotary]), F.pad(embeddings, (0, 0, 1, 0))


def _tokenizer_folder(folder: Path) -> Path:
    for place in (folder, folder.resolve().parent):
        for name in TOKENIZERS:
            if (place / name).is_dir():
                return place / name
    raise FileNotFoundError(f"the checkpoint {folder} lacks its tokenizer: put nvidia/{TOKENIZERS[0]}, which is "
                            "encoder.jit and decoder.jit, into it or beside it under that name")
