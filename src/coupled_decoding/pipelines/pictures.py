"""Prompts to pictures: the one gesture of this package."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.loop import decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.target import Sampling
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.models.family import PictureModel
from coupled_decoding.pipelines.metadata import recipe


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a pipeline returns: one entry a picture, all pictures of the first prompt first."""

    images: list[Image.Image]
    """Empty where ``on_step`` stopped the decode, or the family's tokens are no pictures by themselves."""
    prompts: list[str]
    seeds: list[int]
    tokens: Tensor
    """LongTensor ``[B, length]``, -1 where decoding was stopped."""
    trace: Trace
    metadata: list[dict[str, str]]
    """What reproduces each picture, as text: what PNG files carry."""
    cancelled: bool
    """Whether ``on_step`` stopped the decode."""


class PicturePipeline:
    """Text to picture with any decoding method; made by :func:`coupled_decoding.from_pretrained`."""

    def __init__(self, model: PictureModel, name: str) -> None:
        self.model, self.name = model, name

    @property
    def layout(self) -> Layout:
        """Of the token stream of a picture of the model's own size."""
        return self.model.layout_of(self.model.size)

    @property
    def sampling(self) -> Sampling:
        """What is applied unless a call says otherwise."""
        return self.model.sampling

    @property
    def guidance_scale(self) -> float:
        """What is applied unless a call says otherwise; 1 is no guidance."""
        return self.model.guidance_scale

    def __call__(
        self,
        prompts: str | Sequence[str],
        *,
        method: Method | None = None,
        sampling: Sampling | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] | None = None,
        images_per_prompt: int = 1,
        size: tuple[int, int] | None = None,
        given: Tensor | Sequence[Tensor] | None = None,
        on_step: Callable[[Step], bool | None] | None = None,
    ) -> Pictures:
        """Draw pictures.

        Args:
            prompts: one or more descriptions.
            method: how to decode; ``SCD()`` by default.
            sampling: temperature, top-k and top-p; the model's own by default.
            guidance_scale: weight of the prompt, ``u + s * (c - u)``; the model's own by default.
            seed: an int gives picture i the seed ``seed + i``; see :func:`coupled_decoding.decode`.
            images_per_prompt: pictures of each prompt, which is read once for all of them.
            size: width and height in pixels, where the family makes pictures of several sizes; the model's own by
                default. Where the size is part of the token stream, what is drawn is conditioned on it.
            given: the first tokens of each picture, LongTensor ``[B, g]`` or one tensor a picture: decoding goes on
                from there. ``pipe.model.encode(images, size)`` makes tokens of pictures.
            on_step: progress; returning False stops.

        Raises:
            ValueError: an argument that does not fit; the sentence says which and why.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts:
            raise ValueError("no prompts: give at least one description of a picture")
        if images_per_prompt < 1:
            raise ValueError(f"images_per_prompt is {images_per_prompt}: give at least 1")
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        if not math.isfinite(scale) or scale < 0:
            raise ValueError(f"guidance_scale is {scale}: give a number of at least 0 (1 is no guidance)")
        method, sampling = method or SCD(), sampling or self.sampling
        rows = [prompt for prompt in prompts for _ in range(images_per_prompt)]
        size = size or self.model.size
        layout = self.model.layout_of(size)
        decoded = decode(
            self.model.session(rows, scale, size), layout.length, method=method, sampling=sampling, layout=layout,
            seed=seed, given=given, on_step=on_step,
        )
        finished = bool((decoded.tokens >= 0).all())
        common = {
            **recipe(self.name, self.model.dtype, method, sampling), "guidance_scale": str(scale),
            "size": f"{size[0]}x{size[1]}",
        }
        return Pictures(
            images=self.model.decode(decoded.tokens, size) if finished else [],
            prompts=rows,
            seeds=decoded.seeds,
            tokens=decoded.tokens,
            trace=decoded.trace,
            metadata=[{"prompt": p, "seed": str(s), **common} for p, s in zip(rows, decoded.seeds, strict=True)],
            cancelled=not finished,
        )
