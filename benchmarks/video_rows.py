"""The frames that each method draws after the contexts of held-out clips, and their features, kept in shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.kept import kept_tensor
from coupled_decoding.evaluation.metrics.clips import ClipFeatures
from coupled_decoding.media.pixels import to_pixels
from coupled_decoding.pipelines.video import VideoPipeline
from data.held_out import CONTEXT, FRAMES, Clip

HELD_OUT, TOKENIZER, AR = "held-out clips", "held-out clips through the tokenizer", "AR"
SEEDS_APART = 100_000

Drawer = Callable[[Sequence[Clip], int], Tensor]
"""From some clips, and the place of the first of them among all, to tokens of whole clips, LongTensor ``[B, n]``."""


@dataclass(frozen=True, eq=False)
class Row:
    pixels: Tensor
    """Frames after the context, float ``[clips, frames, 3, H, W]``."""
    features: ClipFeatures


def drawers(pipe: VideoPipeline, window: int) -> dict[str, Drawer | None]:
    """What draws each row's frames; None for the true ones. Each method has seeds of its own."""
    methods = {
        AR: cd.AR(), "AR, other seeds": cd.AR(), "SJD": cd.SJD(window=window),
        "SCD-maximal": cd.SCD(window=window, coupling="maximal"), "SCD-gumbel": cd.SCD(window=window),
    }

    def draw(method: cd.Method, seed: int, clips: Sequence[Clip], first: int) -> Tensor:
        contexts = [clip[:CONTEXT] for clip in clips]
        return pipe(contexts, num_frames=FRAMES, method=method, sampling=cd.Sampling(), seed=seed + first).all_tokens

    return {
        HELD_OUT: None,
        TOKENIZER: lambda clips, first: pipe.model.encode(clips),
        **{name: partial(draw, method, i * SEEDS_APART) for i, (name, method) in enumerate(methods.items())},
    }


def make_rows(
    pipe: VideoPipeline,
    clips: Sequence[Clip],
    batch: int,
    window: int,
    network: Callable[[Tensor], Tensor],
    folder: Path,
) -> dict[str, Row]:
    """All rows by name.

    Args:
        batch: clips that are decoded together, a shard.
        network: gives features; see :meth:`coupled_decoding.evaluation.metrics.clips.ClipFeatures.of`.
        folder: of the shards. Its name tells apart what gives other shards.
    """
    rows = {}
    for name, drawer in drawers(pipe, window).items():
        shards = []
        for first in tqdm(range(0, len(clips), batch), desc=name):
            some, path = clips[first : first + batch], folder / name.replace(" ", "-") / f"{first:04}"
            if drawer is not None:
                tokens = kept_tensor(path.with_suffix(".tokens"), partial(drawer, some, first))
                some = pipe.model.decode(tokens)
            pixels = torch.stack([to_pixels(clip[CONTEXT:], pipe.model.size, torch.device("cpu")) for clip in some])
            features = kept_tensor(path.with_suffix(".features"), partial(_features, pixels, network))
            shards.append((pixels, features))
        pixels, features = (torch.cat(part) for part in zip(*shards, strict=True))
        rows[name] = Row(pixels, ClipFeatures(*features.split([pixels.shape[1], pixels.shape[1] - 1], 1)))
    return rows


def _features(pixels: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
    """Of frames and of differences, one after the other: ``[B, 2 T - 1, d]``."""
    features = ClipFeatures.of(pixels, network)
    return torch.cat([features.frames, features.differences], 1)
