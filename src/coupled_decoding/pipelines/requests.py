"""What may be asked of an engine, and what a pipeline makes of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.media.pixels import Size


@dataclass(frozen=True, eq=False)
class Request:
    """One picture.

    Args:
        prompt: its description.
        seed: a whole number from 0 to 2^63 - 1; None draws one from the system, which the ticket then states.
        sampling: temperature, top-k and top-p; the model's own by default.
        guidance_scale: weight of the prompt, ``u + s * (c - u)``; the model's own by default, 1 is none.
        size: width and height in pixels; the model's own by default.
        given: LongTensor ``[g]``: the first tokens, where they are already known.
    """

    prompt: str
    seed: int | None = None
    sampling: Sampling | None = None
    guidance_scale: float | None = None
    size: Size | None = None
    given: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ClipRequest:
    """One clip that continues from its first frames.

    Args:
        context_frames: the first frames; they are encoded when the request is submitted.
        context_tokens: LongTensor ``[n]``: tokens of the first frames, instead of frames.
        num_frames: frames of the whole clip, context included; the model's own by default.
        prompt: a text, for models that read one.
        seed: a whole number from 0 to 2^63 - 1; None draws one from the system, which the ticket then states.
        sampling: temperature, top-k and top-p; the model's own by default.
    """

    context_frames: Sequence[Image.Image] | None = None
    context_tokens: Tensor | None = None
    num_frames: int | None = None
    prompt: str | None = None
    seed: int | None = None
    sampling: Sampling | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A request that has been checked, with everything filled in that it leaves open: what an engine decodes.

    A pipeline derives from it to keep what it needs for reading the request and for making its result.
    """

    seed: int
    sampling: Sampling
    layout: Layout
    """Of the tokens that are generated."""
    given: Tensor | None = None
    """LongTensor ``[g]``: the first of them, where they are already known."""
    reading: Hashable = None
    """Plans of one kind with equal ones can be read into one session in one forward."""
    kind: Hashable = None
    """Only plans of one kind stand beside each other in a session."""


def check_given(given: Tensor | None, layout: Layout) -> None:
    """ValueError where first tokens are given whose shape does not fit; which ones are legal is seen when they start.
    """
    if given is not None and (given.ndim != 1 or len(given) > layout.length):
        raise ValueError(f"given has shape {list(given.shape)}: give one dimension of at most {layout.length} tokens")
