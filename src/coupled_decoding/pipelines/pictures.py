"""Prompts to pictures: the one gesture of this package."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.arguments import seeds_of
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.loop import decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.contract import PictureModel
from coupled_decoding.models.prompts import checked_prompt, texts_of
from coupled_decoding.pipelines.engine import Engine
from coupled_decoding.pipelines.metadata import recipe
from coupled_decoding.pipelines.partial import filled, greyed
from coupled_decoding.pipelines.requests import Plan, Request, check_given

KINDS_KEPT = 32
"""Sizes whose layouts are kept, so that requests of one size share one."""


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


@dataclass(frozen=True, eq=False, kw_only=True)
class PicturePlan(Plan):
    """One picture, with everything filled in that a call or a request leaves open."""

    prompt: str
    scale: float
    """Of guidance; 1 is none."""
    size: Size


class PicturePipeline:
    """Text to picture with any decoding method; made by :func:`coupled_decoding.from_pretrained`."""

    def __init__(self, model: PictureModel, name: str) -> None:
        self.model, self.name = model, name
        self._layout_of = lru_cache(maxsize=KINDS_KEPT)(model.layout_of)

    @property
    def layout(self) -> Layout:
        """Of the token stream of a picture of the model's own size."""
        return self._layout_of(self.model.size)

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
            given: the first tokens of each picture, LongTensor ``[B, g]`` or one tensor per picture: decoding continues
                from there. ``pipe.model.encode(images, size)`` makes tokens of pictures.
            on_step: progress; returning False stops.

        Raises:
            ValueError: an argument that does not fit; the sentence says which and why.
        """
        requests = self._requests(prompts, sampling, guidance_scale, seed, images_per_prompt, size)
        plans, method = [self.plan(request) for request in requests], method or SCD()
        layout = plans[0].layout
        decoded = decode(
            self.read(plans), layout.length, method=method, sampling=plans[0].sampling, layout=layout,
            seed=[plan.seed for plan in plans], given=given, on_step=on_step,
        )
        return self._pictures(plans, method, decoded.tokens, decoded.trace)

    def check(self, prompt: str, size: tuple[int, int] | None = None) -> None:
        """Whether the model reads a prompt, without a forward. ValueError says why it does not."""
        self.model.check_prompt(prompt, size or self.model.size)

    def generate_many(
        self,
        prompts: str | Sequence[str],
        *,
        batch: int = 8,
        method: Method | None = None,
        sampling: Sampling | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] | None = None,
        images_per_prompt: int = 1,
        size: tuple[int, int] | None = None,
    ) -> Iterator[tuple[int, Pictures]]:
        """Draw many pictures, ``batch`` at a time, and give each as soon as it is done (continuous batching).

        A place that a finished picture leaves is taken by the next one at once, so forwards stay full although pictures
        take different numbers of them. Each picture is the one that a call with its prompt and seed alone gives.

        Args:
            prompts: one or more descriptions.
            batch: how many pictures are drawn at the same time.
            method, sampling, guidance_scale, seed, images_per_prompt, size: as of a call.

        Yields:
            In order of completion, the number of the picture, all pictures of the first prompt counted first, and the
            picture: :class:`Pictures` with one entry. The seconds of its trace are those of the forwards that it took
            part in, which it shared.

        Raises:
            ValueError: an argument that does not fit, before anything is drawn; but a prompt that the model cannot read
                is found when its turn comes.
        """
        requests = self._requests(prompts, sampling, guidance_scale, seed, images_per_prompt, size)
        engine = Engine(self, batch=min(batch, len(requests)), method=method)
        for request in requests:
            engine.submit(request)
        return ((ticket.id, ticket.result) for ticket in engine.drain())

    def _requests(
        self, prompts: str | Sequence[str], sampling: Sampling | None, guidance_scale: float | None,
        seed: int | Sequence[int] | None, images_per_prompt: int, size: Size | None,
    ) -> list[Request]:
        """One for each picture; ValueError where what they have in common is wrong."""
        prompts = texts_of(prompts)
        if not prompts:
            raise ValueError("no prompts: give at least one description of a picture")
        if images_per_prompt < 1:
            raise ValueError(f"images_per_prompt is {images_per_prompt}: give at least 1")
        rows = [prompt for prompt in prompts for _ in range(images_per_prompt)]
        return [Request(prompt, one, sampling, guidance_scale, size)
                for prompt, one in zip(rows, seeds_of(seed, len(rows)), strict=True)]

    # -- what an engine asks of a pipeline ----------------------------------------------------------------------------

    def plan(self, request: Request) -> PicturePlan:
        """What a request asks for, with the model's own in place of what it leaves open; ValueError where it is wrong.
        """
        scale = self.guidance_scale if request.guidance_scale is None else request.guidance_scale
        if not math.isfinite(scale) or scale < 0:
            raise ValueError(f"guidance_scale is {scale}: give a number of at least 0 (1 is no guidance)")
        width, height = request.size or self.model.size
        layout = self._layout_of((width, height))
        check_given(request.given, layout)
        return PicturePlan(
            prompt=checked_prompt(texts_of([request.prompt])[0]), scale=scale, size=(width, height), layout=layout,
            seed=seeds_of(None if request.seed is None else [request.seed], 1)[0], given=request.given,
            sampling=request.sampling or self.sampling, reading=(width, height), kind=scale != 1,
        )

    def read(self, plans: Sequence[PicturePlan]) -> Session:
        """A session of their prompts, which are of one size, and all guided or none."""
        return self.model.session([plan.prompt for plan in plans], [plan.scale for plan in plans], plans[0].size)

    def finish(self, plan: PicturePlan, method: Method, tokens: Tensor, trace: Trace) -> Pictures:
        """One picture of its tokens, LongTensor ``[length]``."""
        return self._pictures([plan], method, tokens.unsqueeze(0), trace)

    def preview(self, plan: PicturePlan, tokens: Tensor) -> list[Image.Image]:
        """The picture of some tokens, LongTensor ``[length]``, grey where they are -1."""
        if self.model.tokens_only:
            return []
        pictures = self.model.decode(filled(tokens, plan.layout).unsqueeze(0), plan.size)
        return [greyed(picture, tokens, plan.layout) for picture in pictures]

    def _pictures(self, plans: Sequence[PicturePlan], method: Method, tokens: Tensor, trace: Trace) -> Pictures:
        """Of tokens ``[B, length]`` of plans that share sampling, scale and size."""
        finished, first = bool((tokens >= 0).all()), plans[0]
        common = {
            **recipe(self.name, self.model.dtype, method, first.sampling), "guidance_scale": str(first.scale),
            "size": "{}x{}".format(*first.size),
        }
        return Pictures(
            images=self.model.decode(tokens, first.size) if finished and not self.model.tokens_only else [],
            prompts=[plan.prompt for plan in plans],
            seeds=[plan.seed for plan in plans],
            tokens=tokens,
            trace=trace,
            metadata=[{"prompt": plan.prompt, "seed": str(plan.seed), **common} for plan in plans],
            cancelled=not finished,
        )
