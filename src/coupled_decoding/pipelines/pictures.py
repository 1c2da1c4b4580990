"""Prompts to pictures: the one gesture of this package."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.arguments import seeds_of
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.loop import Decoded, Decoding, decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.contract import PictureModel
from coupled_decoding.models.prompts import texts_of
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
        asked = self._asked(prompts, method, sampling, guidance_scale, images_per_prompt, size)
        decoded = decode(
            self.model.session(asked.rows, asked.scale, asked.size), asked.layout.length, method=asked.method,
            sampling=asked.sampling, layout=asked.layout, seed=seed, given=given, on_step=on_step,
        )
        return self._pictures(asked, asked.rows, decoded)

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
        asked = self._asked(prompts, method, sampling, guidance_scale, images_per_prompt, size)
        if batch < 1:
            raise ValueError(f"batch is {batch}: give at least 1")
        return self._stream(asked, seeds_of(seed, len(asked.rows)), batch)

    def _stream(self, asked: Asked, seeds: list[int], batch: int) -> Iterator[tuple[int, Pictures]]:
        total, started = len(asked.rows), min(batch, len(asked.rows))
        session = self.model.session(asked.rows[:started], asked.scale, asked.size)
        run = Decoding(session, asked.method, asked.layout)
        number = list(range(started))  # of the picture in each row
        for row in range(started):
            run.open(row, seeds[row], sampling=asked.sampling)
        while (report := run.step()) is not None:
            if report.broken:
                raise ValueError(f"the session gave NaN logits for prompt {asked.rows[number[report.broken[0]]]!r}: "
                                 "float16 may have overflowed, try bfloat16")
            # given before the next prompts are read, of which one may be more than the model reads
            for row in report.ended:
                which = number[row]
                decoded = Decoded(run.tokens(row).unsqueeze(0), run.part(row), [seeds[which]])
                yield which, self._pictures(asked, [asked.rows[which]], decoded)
            fresh = range(started, min(started + len(report.ended), total))
            if fresh:
                read = self.model.session(asked.rows[fresh.start : fresh.stop], asked.scale, asked.size)
                for source, (row, following) in enumerate(zip(report.ended, fresh, strict=False)):
                    session.adopt(row, read, source)
                    run.open(row, seeds[following], sampling=asked.sampling)
                    number[row] = following
                started = fresh.stop

    def _asked(
        self, prompts: str | Sequence[str], method: Method | None, sampling: Sampling | None,
        guidance_scale: float | None, images_per_prompt: int, size: Size | None,
    ) -> Asked:
        """What a call asks for, with the model's own in place of what it leaves open; ValueError where it is wrong."""
        prompts = texts_of(prompts)
        if not prompts:
            raise ValueError("no prompts: give at least one description of a picture")
        if images_per_prompt < 1:
            raise ValueError(f"images_per_prompt is {images_per_prompt}: give at least 1")
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        if not math.isfinite(scale) or scale < 0:
            raise ValueError(f"guidance_scale is {scale}: give a number of at least 0 (1 is no guidance)")
        size = size or self.model.size
        return Asked(
            rows=[prompt for prompt in prompts for _ in range(images_per_prompt)], scale=scale, size=size,
            layout=self.model.layout_of(size), method=method or SCD(), sampling=sampling or self.sampling,
        )

    def _pictures(self, asked: Asked, prompts: list[str], decoded: Decoded) -> Pictures:
        finished = bool((decoded.tokens >= 0).all())
        common = {
            **recipe(self.name, self.model.dtype, asked.method, asked.sampling), "guidance_scale": str(asked.scale),
            "size": "{}x{}".format(*asked.size),
        }
        return Pictures(
            images=self.model.decode(decoded.tokens, asked.size) if finished and not self.model.tokens_only else [],
            prompts=prompts,
            seeds=decoded.seeds,
            tokens=decoded.tokens,
            trace=decoded.trace,
            metadata=[{"prompt": p, "seed": str(s), **common} for p, s in zip(prompts, decoded.seeds, strict=True)],
            cancelled=not finished,
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """What a call asks for."""

    rows: list[str]
    """The prompt of each picture."""
    scale: float
    size: Size
    layout: Layout
    method: Method
    sampling: Sampling
