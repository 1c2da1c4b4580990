"""Continued clips: frames, or tokens of an earlier call, and what a model draws after them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.arguments import seeds_of
from coupled_decoding.decoding.loop import decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.models.contract import VideoModel
from coupled_decoding.models.prompts import texts_of
from coupled_decoding.pipelines.engine import Engine
from coupled_decoding.pipelines.metadata import recipe
from coupled_decoding.pipelines.requests import ClipRequest, Plan

Clip = Sequence[Image.Image]
KINDS_KEPT = 32
"""Numbers of frames, of contexts and of clips, whose layouts are kept, so that requests of one kind share one."""


@dataclass(frozen=True, eq=False)
class ClipStep(Step):
    """What ``on_step`` is told after each forward: the decoder's step, and the frames that are whole by then."""

    whole: list[int]
    """Frames of each clip that are whole, context included."""
    _prompt: Tensor
    _model: VideoModel

    @classmethod
    def of(cls, step: Step, prompt: Tensor, model: VideoModel) -> ClipStep:
        """A step of tokens that come after ``prompt``, LongTensor ``[B, n]``."""
        whole = [whole_frames(model, prompt.shape[1] + count) for count in step.committed]
        return cls(**vars(step), whole=whole, _prompt=prompt, _model=model)

    @property
    def frames(self) -> list[list[Image.Image]]:
        """Whole frames of each clip, context included. Decoded when asked for, which takes its time."""
        clips = torch.cat([self._prompt, self.tokens], 1)
        return [self._model.decode(clip[: self._model.length_of(whole)].unsqueeze(0))[0]
                for clip, whole in zip(clips, self.whole, strict=True)]


@dataclass(frozen=True, eq=False)
class Videos:
    """What a pipeline returns: one entry a clip, in the order of the contexts."""

    frames: list[list[Image.Image]]
    """Of each clip, context included. Empty where ``on_step`` stopped the decode, or the model has ``tokens_only``."""
    context_tokens: Tensor
    """LongTensor ``[B, n]``: the context that each clip continues."""
    tokens: Tensor
    """LongTensor ``[B, length]``: what was drawn after it, -1 where decoding was stopped."""
    seeds: list[int]
    trace: Trace
    metadata: list[dict[str, str]]
    """What reproduces each clip together with its context, as text."""
    cancelled: bool
    """Whether ``on_step`` stopped the decode."""

    @property
    def all_tokens(self) -> Tensor:
        """LongTensor ``[B, n + length]``: of whole clips, what a further call takes as ``context_tokens``."""
        return torch.cat([self.context_tokens, self.tokens], 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipPlan(Plan):
    """One clip, with everything filled in that a call or a request leaves open.

    The last frames of the context are given tokens, not prompt: first guesses may copy them.
    """

    prompt: Tensor
    """LongTensor ``[p]``: tokens of the frames that are read before anything is generated."""
    context: Tensor
    """LongTensor ``[n]``: tokens of all frames of the context, the prompt's included."""
    num_frames: int
    text: str | None


class VideoPipeline:
    """First frames to clips with any decoding method; made by :func:`coupled_decoding.from_pretrained`."""

    def __init__(self, model: VideoModel, name: str) -> None:
        self.model, self.name = model, name
        self._layout_of = lru_cache(maxsize=KINDS_KEPT)(model.layout_of)

    def __call__(
        self,
        context_frames: Clip | Sequence[Clip] | None = None,
        *,
        num_frames: int | None = None,
        prompts: str | Sequence[str] | None = None,
        context_tokens: Tensor | None = None,
        method: Method | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] | None = None,
        clips_per_context: int = 1,
        on_step: Callable[[ClipStep], bool | None] | None = None,
    ) -> Videos:
        """Go on with clips.

        Args:
            context_frames: the first frames of a clip, or of several clips that all have the same number. They are cut
                to the model's proportions and scaled to its size.
            num_frames: how many frames a clip has, context included; the model's own by default.
            prompts: one text for all clips or one for each, for models that read one.
            context_tokens: LongTensor ``[B, n]``, instead of frames: tokens of first frames, such as ``all_tokens`` of
                an earlier, shorter call. Going on from them loses nothing, where frames would be encoded again.
            method: how to decode; ``SCD()`` by default.
            sampling: temperature, top-k and top-p; the model's own by default.
            seed: an int gives clip i the seed ``seed + i``; see :func:`coupled_decoding.decode`.
            clips_per_context: clips that continue each context, which is read once for all of them.
            on_step: progress; returning False stops.

        Raises:
            ValueError: an argument that does not fit; the sentence says which and why.
        """
        plans = [self.plan(request) for request in self._requests(
            context_frames, context_tokens, num_frames, prompts, sampling, seed, clips_per_context)]
        method, layout, prompt = method or SCD(), plans[0].layout, torch.stack([plan.prompt for plan in plans])
        decoded = decode(
            self.read(plans), layout.length, method=method, sampling=plans[0].sampling, layout=layout,
            seed=[plan.seed for plan in plans], given=[plan.given for plan in plans if plan.given is not None],
            on_step=None if on_step is None else lambda step: on_step(ClipStep.of(step, prompt, self.model)),
        )
        return self._videos(plans, method, decoded.tokens, decoded.trace)

    def generate_many(
        self,
        context_frames: Clip | Sequence[Clip] | None = None,
        *,
        batch: int = 8,
        num_frames: int | None = None,
        prompts: str | Sequence[str] | None = None,
        context_tokens: Tensor | None = None,
        method: Method | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] | None = None,
        clips_per_context: int = 1,
    ) -> Iterator[tuple[int, Videos]]:
        """Continue many clips, ``batch`` at a time, and give each as soon as it is done (continuous batching).

        A place that a finished clip leaves is taken by the next one at once. Each clip is the one that a call with its
        context and seed alone gives. What else may be done with single requests: :class:`coupled_decoding.Engine`.

        Args:
            batch: how many clips are drawn at the same time.
            context_frames, num_frames, prompts, context_tokens, method, sampling, seed, clips_per_context: as of a
                call.

        Yields:
            In order of completion, the number of the clip, all clips of the first context counted first, and the clip:
            :class:`Videos` with one entry. The seconds of its trace are those of the forwards that it took part in,
            which it shared.

        Raises:
            ValueError: an argument that does not fit, before anything is drawn; but a text that the model cannot read
                is found when its turn comes.
        """
        if batch < 1:
            raise ValueError(f"batch is {batch}: give at least 1")
        requests = self._requests(
            context_frames, context_tokens, num_frames, prompts, sampling, seed, clips_per_context)
        engine = Engine(self, batch=min(batch, len(requests)), method=method)
        for request in requests:
            engine.submit(request)
        return ((ticket.id, ticket.result) for ticket in engine.drain())

    def _requests(
        self, context_frames: Clip | Sequence[Clip] | None, context_tokens: Tensor | None, num_frames: int | None,
        prompts: str | Sequence[str] | None, sampling: Sampling | None, seed: int | Sequence[int] | None,
        clips_per_context: int,
    ) -> list[ClipRequest]:
        """One for each clip; ValueError where what they have in common is wrong."""
        contexts = self._contexts(context_frames, context_tokens)
        if clips_per_context < 1:
            raise ValueError(f"clips_per_context is {clips_per_context}: give at least 1")
        texts = [prompts] * len(contexts) if prompts is None or isinstance(prompts, str) else [*texts_of(prompts)]
        if len(texts) != len(contexts):
            raise ValueError(f"{len(texts)} prompts for {len(contexts)} clips: give one for all, or one for each")
        rows = [row for row in zip(contexts, texts, strict=True) for _ in range(clips_per_context)]
        return [ClipRequest(context_tokens=context, num_frames=num_frames, prompt=text, seed=one, sampling=sampling)
                for (context, text), one in zip(rows, seeds_of(seed, len(rows)), strict=True)]

    # -- what an engine asks of a pipeline ----------------------------------------------------------------------------

    def plan(self, request: ClipRequest) -> ClipPlan:
        """What a request asks for, with the model's own in place of what it leaves open; ValueError where it is wrong.

        Frames are encoded.
        """
        model, tokens = self.model, request.context_tokens
        num_frames = model.frames if request.num_frames is None else request.num_frames
        length = model.length_of(num_frames)
        context = self._contexts(request.context_frames, None if tokens is None else tokens.unsqueeze(0))[0]
        num_context = model.frames_of(len(context))
        if len(context) >= length:
            raise ValueError(f"num_frames is {num_frames}, and the context has {num_context}: nothing is left to draw")
        read = max((frames for frames in model.lengths if frames < num_context), default=num_context)
        prompt, given = context.split([model.length_of(read), len(context) - model.length_of(read)])
        return ClipPlan(
            prompt=prompt, context=context, num_frames=num_frames, text=request.prompt, given=given,
            seed=seeds_of(None if request.seed is None else [request.seed], 1)[0],
            sampling=request.sampling or model.sampling, layout=self._layout_of(read, num_frames),
            reading=(len(prompt), num_frames, request.prompt is None),
        )

    def read(self, plans: Sequence[ClipPlan]) -> Session:
        """A session of their prompts, which are of one length, as are the clips."""
        texts = [plan.text for plan in plans if plan.text is not None]
        return self.model.session(torch.stack([plan.prompt for plan in plans]), plans[0].num_frames, texts or None)

    def finish(self, plan: ClipPlan, method: Method, tokens: Tensor, trace: Trace) -> Videos:
        """One clip of its tokens, LongTensor ``[length]``."""
        return self._videos([plan], method, tokens.unsqueeze(0), trace)

    def preview(self, plan: ClipPlan, tokens: Tensor) -> list[Image.Image]:
        """The whole frames of some tokens, LongTensor ``[length]``, context included."""
        if self.model.tokens_only:
            return []
        stream = torch.cat([plan.prompt, tokens])
        known = max(len(plan.context), len(plan.prompt) + int((tokens >= 0).sum()))
        stream[: len(plan.context)] = plan.context  # which no row holds before it begins
        whole = self.model.length_of(whole_frames(self.model, known))
        return self.model.decode(stream[:whole].unsqueeze(0))[0]

    def _videos(self, plans: Sequence[ClipPlan], method: Method, tokens: Tensor, trace: Trace) -> Videos:
        """Of tokens ``[B, length]`` of plans that share sampling and numbers of frames."""
        finished, first = bool((tokens >= 0).all()), plans[0]
        contexts = torch.stack([plan.context for plan in plans])
        common = {
            **recipe(self.name, self.model.dtype, method, first.sampling), "size": "{}x{}".format(*self.model.size),
            "frames": str(first.num_frames), "context_frames": str(self.model.frames_of(len(first.context))),
        }
        drawn = tokens[:, len(first.context) - len(first.prompt) :].cpu()
        clips = torch.cat([contexts, drawn], 1)
        return Videos(
            frames=self.model.decode(clips) if finished and not self.model.tokens_only else [],
            context_tokens=contexts,
            tokens=drawn,
            seeds=[plan.seed for plan in plans],
            trace=trace,
            metadata=[{**({} if plan.text is None else {"prompt": plan.text}), "seed": str(plan.seed), **common}
                      for plan in plans],
            cancelled=not finished,
        )

    def _contexts(self, frames: Clip | Sequence[Clip] | None, tokens: Tensor | None) -> Tensor:
        """Tokens of all contexts, LongTensor ``[B, n]`` on the CPU."""
        if (frames is None) == (tokens is None):
            raise ValueError("give either context_frames or context_tokens")
        if tokens is not None:
            if tokens.ndim != 2 or len(tokens) == 0:
                raise ValueError(f"context_tokens have shape {list(tokens.shape)}: give [clips, tokens]")
            tokens = tokens.long().cpu()
            self.model.check_context(tokens)
            return tokens
        clips = _clips(frames or [])
        counts = {len(clip) for clip in clips}
        if len(counts) != 1:
            raise ValueError(f"context_frames hold clips of {', '.join(map(str, sorted(counts))) or 'no'} frames: give "
                             "at least one clip, and the same number of frames for each")
        self.model.length_of(counts.pop())
        return self.model.encode(clips).cpu()


def whole_frames(model: VideoModel, count: int) -> int:
    """How many frames the first ``count`` tokens of a clip make."""
    return [*model.lengths][bisect_right([*model.lengths.values()], count) - 1]


def _clips(frames: Clip | Sequence[Clip]) -> list[Clip]:
    if all(isinstance(one, Image.Image) for one in frames):
        return [cast(Clip, frames)] if frames else []
    return list(cast("Sequence[Clip]", frames))
