"""What the pipeline of clips tells while it draws, and several clips of one context."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import coupled_decoding as cd
from coupled_decoding.pipelines.video import ClipStep, VideoPipeline


@pytest.fixture(scope="module")
def pipe(tiny_doom: Path) -> VideoPipeline:
    return cd.from_pretrained(tiny_doom, dtype="float64")


def context(shade: int, frames: int = 3) -> list[Image.Image]:
    return [Image.new("RGB", (16, 16), (shade, 50 * number, 90)) for number in range(frames)]


@pytest.mark.parametrize("frames", [1, 3])
def test_steps_know_the_frames_that_are_whole(pipe: VideoPipeline, frames: int) -> None:
    """They are the beginning of the final clips, grow one by one where tokens do, and end with all frames."""
    steps: list[ClipStep] = []
    shown = []

    def look(step: ClipStep) -> None:
        steps.append(step)
        shown.append(step.frames)

    out = pipe([context(10, frames), context(200, frames)], num_frames=6, method=cd.SCD(window=6), seed=1, on_step=look)
    per_frame = pipe.model.length_of(2) - pipe.model.length_of(1)
    for step, clips in zip(steps, shown, strict=True):
        drawn = [count - (step.lengths[0] - out.tokens.shape[1]) for count in step.committed]
        assert step.whole == [frames + count // per_frame for count in drawn]
        assert [len(clip) for clip in clips] == step.whole
        for clip, final in zip(clips, out.frames, strict=True):
            assert [frame.tobytes() for frame in clip] == [frame.tobytes() for frame in final[: len(clip)]]
    assert steps[-1].whole == [6, 6]


def test_several_clips_of_a_context_are_those_of_their_seeds(pipe: VideoPipeline) -> None:
    """All clips of the first context first, with seeds that count up over all of them."""
    both = [context(10), context(200)]
    out = pipe(both, num_frames=5, seed=4, clips_per_context=2)
    assert out.seeds == [4, 5, 6, 7]
    for row, seed in enumerate(out.seeds):
        alone = pipe(both[row // 2], num_frames=5, seed=seed)
        assert torch.equal(out.tokens[row], alone.tokens[0])
    with pytest.raises(ValueError, match="clips_per_context is 0: give at least 1"):
        pipe(both, num_frames=5, clips_per_context=0)


def test_a_listener_can_stop_a_clip(pipe: VideoPipeline) -> None:
    out = pipe(context(10), num_frames=6, method=cd.AR(), seed=1, on_step=lambda step: step.whole[0] < 4)
    assert (out.cancelled, out.frames) == (True, [])
    assert int((out.tokens >= 0).sum()) == pipe.model.length_of(4) - pipe.model.length_of(3)
