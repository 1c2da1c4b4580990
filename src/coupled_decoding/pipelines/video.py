"""Clips gone on with: frames, or tokens of an earlier call, and what a model draws after them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.loop import decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.models.contract import VideoModel
from coupled_decoding.models.prompts import texts_of
from coupled_decoding.pipelines.metadata import recipe

Clip = Sequence[Image.Image]


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
        frames, ends = list(model.lengths), list(model.lengths.values())
        whole = [frames[bisect_right(ends, prompt.shape[1] + count) - 1] for count in step.committed]
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
    """LongTensor ``[B, n]``: what was gone on from."""
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


class VideoPipeline:
    """First frames to clips with any decoding method; made by :func:`coupled_decoding.from_pretrained`."""

    def __init__(self, model: VideoModel, name: str) -> None:
        self.model, self.name = model, name

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
            clips_per_context: clips that go on from each context, which is read once for all of them.
            on_step: progress; returning False stops.

        Raises:
            ValueError: an argument that does not fit; the sentence says which and why.
        """
        num_frames = self.model.frames if num_frames is None else num_frames
        length = self.model.length_of(num_frames)
        contexts = self._contexts(context_frames, context_tokens)
        num_context = self.model.frames_of(contexts.shape[1])
        if clips_per_context < 1:
            raise ValueError(f"clips_per_context is {clips_per_context}: give at least 1")
        if contexts.shape[1] >= length:
            raise ValueError(f"num_frames is {num_frames}, and the context has {num_context}: nothing is left to draw")
        texts = [prompts] * len(contexts) if isinstance(prompts, str) else prompts and texts_of(prompts)
        if texts is not None and len(texts) != len(contexts):
            raise ValueError(f"{len(texts)} prompts for {len(contexts)} clips: give one for all, or one for each")
        contexts = contexts.repeat_interleave(clips_per_context, 0)
        texts = None if texts is None else [text for text in texts for _ in range(clips_per_context)]
        method, sampling = method or SCD(), sampling or self.model.sampling
        # the last frames of the context are given tokens, not prompt: first guesses may copy them
        read = max((frames for frames in self.model.lengths if frames < num_context), default=num_context)
        prompt, given = contexts.split([self.model.length_of(read), contexts.shape[1] - self.model.length_of(read)], 1)
        layout = self.model.layout_of(read, num_frames)
        decoded = decode(
            self.model.session(prompt, num_frames, texts), layout.length, method=method, sampling=sampling,
            layout=layout, seed=seed, given=given,
            on_step=None if on_step is None else lambda step: on_step(ClipStep.of(step, prompt, self.model)),
        )
        finished = bool((decoded.tokens >= 0).all())
        common = {
            **recipe(self.name, self.model.dtype, method, sampling), "size": "{}x{}".format(*self.model.size),
            "frames": str(num_frames), "context_frames": str(num_context),
        }
        drawn = decoded.tokens[:, given.shape[1] :].cpu()
        clips = torch.cat([contexts, drawn], 1)
        return Videos(
            frames=self.model.decode(clips) if finished and not self.model.tokens_only else [],
            context_tokens=contexts,
            tokens=drawn,
            seeds=decoded.seeds,
            trace=decoded.trace,
            metadata=[{**({} if texts is None else {"prompt": texts[i]}), "seed": str(one), **common}
                      for i, one in enumerate(decoded.seeds)],
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


def _clips(frames: Clip | Sequence[Clip]) -> list[Clip]:
    if all(isinstance(one, Image.Image) for one in frames):
        return [cast(Clip, frames)] if frames else []
    return list(cast("Sequence[Clip]", frames))
