"""The shipped video family: a small transformer over the codes of a causal tokenizer, trained on a first-person game.

=====================  ===============================================================================================
token stream           a first frame of 16x16 codes, then 8x8 codes for each later frame, raster order, no marks; a
                       context of at least one frame is the prompt
codes                  ids 0 .. 511 in a first frame, 512 .. 1023 in later ones: what changes from frame to frame
positions              3-D rotary embedding; a token sees 12 frames, its own included, so clips may continue forever
guidance               none
sampling               temperature 1, nothing cut
files                  ``clip_config.json``, ``model.safetensors``, ``tokenizer/config.json``,
                       ``tokenizer/model.safetensors``
=====================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from coupled_decoding.atomic import folder_written_whole
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_weights, naming, require_files
from coupled_decoding.models.checkpoints.writing import write_json, write_weights
from coupled_decoding.models.contract import Card, VideoModel, check_codes
from coupled_decoding.models.networks.clip_tokenizer import CHANGE_DOWNSAMPLING, ClipConfig, ClipTokenizer
from coupled_decoding.models.networks.clip_transformer import ClipTransformer, ClipTransformerConfig, rotary_of
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.prompts import Prompt
from coupled_decoding.serving.session import TransformersSession

FILES = ("clip_config.json", "model.safetensors", "tokenizer/config.json", "tokenizer/model.safetensors")
FRAMES = 33
"""Of a clip, context included, where a call says nothing else."""
MOST_FRAMES = 1000
"""Of a clip: keys and values of all of them are kept."""


class DoomBackbone(Backbone):
    """The transformer over clips; the condition of a prompt is the index in its clip's stream at which it begins."""

    def __init__(self, transformer: ClipTransformer) -> None:
        sizes = transformer.sizes
        codes = sizes.first_codes + torch.arange(sizes.codes, device=transformer.device)
        super().__init__(transformer, sizes.first_codes + sizes.codes, codes)
        self.max_positions = int(sizes.begin_of(torch.tensor(MOST_FRAMES)))
        index = torch.arange(self.max_positions, device=self.device)
        precise = torch.complex128 if self.dtype == torch.float64 else torch.complex64
        self.rotary = rotary_of(sizes.positions3_of(index), sizes.head_dim).to(precise)  # [most, head_dim / 2]
        # the first index that the token at each index sees, [most]
        self.earliest = sizes.begin_of((sizes.time_of(index) - sizes.span + 1).clamp(min=0))

    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One LongTensor ``[N]``."""
        return (torch.stack([*conditions]).to(self.device),)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.decoder.tok_embeddings(tokens)

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        begin = conditions[0].unsqueeze(1)  # [R, 1]
        index = (begin + positions).clamp(max=len(self.earliest) - 1)
        slots = torch.arange(mask.shape[-1], device=mask.device)
        seen = mask & (slots >= (self.earliest[index] - begin).unsqueeze(-1)).unsqueeze(1)
        return self.decoder(self.embed(tokens), self.rotary[index], seen, cache)

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(self.decoder.output(hidden))


class DoomModel(VideoModel):
    """A checkpoint folder of this family; see :class:`coupled_decoding.models.contract.VideoModel`."""

    backbone: DoomBackbone
    card = Card(
        name="doom",
        checkpoints="ships with this package",
        files=", ".join(FILES),
        size="64x64, any number of frames",
        sampling=Sampling(),
        guidance_scale=1.0,
        verified="everything: trained and measured here",
        not_verified="nothing",
    )
    frames_per_second = 17.5  # two tics of the game apart

    def __init__(self, transformer: ClipTransformer, tokenizer: ClipTokenizer) -> None:
        self.backbone, self.tokenizer, self.sizes = DoomBackbone(transformer), tokenizer, transformer.sizes
        height, width = self.sizes.grid
        self.size = (CHANGE_DOWNSAMPLING * width, CHANGE_DOWNSAMPLING * height)
        self.frames = FRAMES
        self.lengths = {n: int(self.sizes.begin_of(torch.tensor(n))) for n in range(1, MOST_FRAMES + 1)}

    @classmethod
    def load(cls, folder: Path, placement: Placement) -> DoomModel:
        if placement.device_map is not None:
            raise ValueError("device_map is given: this family's transformer runs on one device; give device")
        require_files(folder, FILES)
        with naming(folder / "clip_config.json") as config:
            sizes = ClipTransformerConfig.from_dict(config)
        with naming(folder / "tokenizer/config.json") as config:
            tokenizer = ClipTokenizer(ClipConfig.from_dict(config)).eval()
        with torch.device("meta"):
            transformer = ClipTransformer(sizes).eval()
        load_weights(transformer, folder / "model.safetensors", dtype=placement.dtype)
        load_weights(tokenizer, folder / "tokenizer/model.safetensors")
        return cls(transformer.to(placement.device), tokenizer.to(placement.device))

    def layout_of(self, num_context: int, num_frames: int) -> Layout:
        sizes = self.sizes
        codes = sizes.first_codes + torch.arange(sizes.codes)
        return Layout.clip(num_frames - num_context, *sizes.grid, codes)

    def check_context(self, tokens: Tensor) -> None:
        sizes = self.sizes
        self.frames_of(tokens.shape[1])
        check_codes(tokens[:, : sizes.first_size], 0, sizes.first_codes)
        check_codes(tokens[:, sizes.first_size :], sizes.first_codes, sizes.first_codes + sizes.codes)

    def session(self, contexts: Tensor, num_frames: int, prompts: Sequence[str] | None) -> TransformersSession:
        """Of a context longer than what a token sees, the last frames are read, as many as it sees before it."""
        if prompts is not None:
            raise ValueError("prompts are given: this family reads no text; leave them out")
        sizes, end = self.sizes, self.length_of(num_frames)
        known = self.frames_of(contexts.shape[1])
        first = int(sizes.begin_of(torch.tensor(max(0, known - sizes.span + 1))))
        begin = torch.tensor(first)
        read = [Prompt(tuple(context), begin) for context in contexts[:, first:].tolist()]
        return TransformersSession(self.backbone, read, end - contexts.shape[1])

    @torch.no_grad()
    def tokens_of(self, pixels: Tensor) -> Tensor:
        return self.tokenizer.encode(pixels.unsqueeze(0))

    @torch.no_grad()
    def pixels_of(self, tokens: Tensor) -> Tensor:
        width, height = self.size
        return self.tokenizer.decode(tokens.to(self.device), height, width)[0]


def write_checkpoint(folder: Path, transformer: ClipTransformer, tokenizer: ClipTokenizer) -> None:
    """Write a folder of this family, whole or not at all; other files that stand in it (a card, examples) stay.

    Weights are stored in float16.
    """
    with folder_written_whole(folder, keep=True) as partial:
        write_json(transformer.sizes.to_dict(), partial / "clip_config.json")
        write_weights(transformer, partial / "model.safetensors")
        write_json(tokenizer.config.to_dict(), partial / "tokenizer/config.json")
        write_weights(tokenizer, partial / "tokenizer/model.safetensors")
