"""The causal tokenizer of clips: what its codes may depend on, and how they are chosen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coupled_decoding.models.networks.clip_tokenizer import ChangeConfig, ClipConfig, ClipTokenizer, misfits, warp
from coupled_decoding.models.networks.vq import VQConfig

CODES = 24


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    torch.manual_seed(0)
    picture = VQConfig(codes=20, code_dim=4, encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1)
    return ClipTokenizer(ClipConfig(picture, ChangeConfig(codes=CODES, code_dim=4, width=64))).eval()


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Noise that moves: two clips of six frames, 32x24 pixels."""
    noise = torch.rand(2, 3, 24, 64, generator=torch.Generator().manual_seed(1))
    return torch.stack([noise[..., 2 * t : 2 * t + 32] for t in range(6)], 1)


def test_codes_depend_on_no_later_frame(tokenizer: ClipTokenizer, clips: Tensor) -> None:
    """Of a clip cut short, codes and frames are the first of the whole clip's; 8x6 codes, then 4x3 a frame."""
    codes = tokenizer.encode(clips)
    assert codes.shape == (2, 8 * 6 + 5 * 4 * 3)
    assert codes[:, :48].max() < 20
    assert (codes[:, 48:].min() >= 20) & (codes.max() < 20 + CODES)
    frames = tokenizer.decode(codes, 24, 32)
    assert frames.shape == clips.shape
    for count in range(1, 6):
        length = 48 + 12 * (count - 1)
        assert torch.equal(tokenizer.encode(clips[:, :count]), codes[:, :length])
        torch.testing.assert_close(tokenizer.decode(codes[:, :length], 24, 32), frames[:, :count])


def test_each_frame_is_coded_against_what_the_decoder_has(tokenizer: ClipTokenizer, clips: Tensor) -> None:
    """The encoder's picture of the frame before is the decoder's, so errors are seen and do not add up unseen."""
    codes = tokenizer.encode(clips)
    frames = tokenizer.decode(codes, 24, 32)
    last = None
    for t in range(1, 6):
        chosen = tokenizer.change.encode(clips[:, t], frames[:, t - 1], last)
        start = 48 + 12 * (t - 1)
        assert torch.equal(chosen.flatten(1) + 20, codes[:, start : start + 12])
        last = chosen


@pytest.mark.parametrize("rate", [0.0, 0.3, 1e6])
def test_codes_are_chosen_by_distance_and_cost(tokenizer: ClipTokenizer, rate: float) -> None:
    """The least ``|z - c|^2 - rate log p(c)``, p half the code before and half how often codes are used; by hand."""
    change, generator = tokenizer.change, torch.Generator().manual_seed(2)
    latents = torch.randn(50, 4, generator=generator)
    last = torch.randint(0, CODES, (50,), generator=generator)
    used = torch.softmax(torch.randn(CODES, generator=generator), 0)
    kept = change.rate, change.usage
    change.rate, change.usage = rate, used
    chosen, alone = change.choose(latents, last), change.choose(latents, None)
    change.rate, change.usage = kept
    for row, latent in enumerate(latents):
        distance = (latent - change.codebook).square().sum(1)
        staying = 0.5 * used + 0.5 * (torch.arange(CODES) == last[row])
        assert chosen[row] == (distance - rate * staying.log()).argmin()
        assert alone[row] == (distance - rate * used.log()).argmin()
    if rate == 1e6:
        assert torch.equal(chosen, last)


def test_warping_looks_up_where_the_motion_points() -> None:
    """A motion of (2, -1) takes each pixel from two to the right and one above; halves are cubic; borders repeat."""
    picture = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(3))
    motion = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 8, 10)
    moved = warp(picture, motion)
    torch.testing.assert_close(moved[..., 1:, :8], picture[..., :-1, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., 1:, 9], picture[..., :-1, 9], atol=1e-5, rtol=0)
    half = warp(picture, torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 8, 10))
    near, far = picture[..., 1:8] + picture[..., 2:9], picture[..., :7] + picture[..., 3:]
    # cubic convolution with a = -3/4 weighs the four pixels around a middle so
    torch.testing.assert_close(half[..., 1:8], (19 * near - 3 * far) / 32, atol=1e-5, rtol=0)


def test_the_encoder_is_told_which_shift_fits() -> None:
    """A picture moved four pixels to the left and two down fits best at that shift, in the middle of it."""
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    found = misfits(torch.roll(picture, (2, -4), (2, 3)), picture)
    shifts = [(down, across) for down in range(-3, 4) for across in range(-5, 6)]
    best = found[0, :, 2:6, 2:6].flatten(1).argmin(0)
    assert {shifts[i] for i in best.tolist()} == {(-1, 2)}  # in pairs of pixels: from above and from the right
