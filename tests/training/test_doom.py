"""What training the video model promises: a fixed split, streams that show every frame, losses of the real model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import coupled_decoding as cd
from training.doom.data import HELD_OUT_PERCENT, Agent, held_out
from training.doom.tokenizer import AT_ONCE, CLIP, Streams, config
from training.doom.transformer import code_loss, rotary_over, stretch


def test_the_split_is_by_seed_and_never_moves() -> None:
    """Some six in a hundred episodes are held out; one of the first fifty."""
    assert [seed for seed in range(50) if held_out(seed)] == [27]
    share = sum(held_out(seed) for seed in range(10_000)) / 10_000
    assert abs(share - HELD_OUT_PERCENT / 100) < 0.015


def test_an_agent_is_its_seed_and_leaves_where_it_is_stuck() -> None:
    """The same seed acts the same; where it does not get on, it turns for a while and walks slowly."""
    one, other = (Agent(np.random.default_rng(3)) for _ in range(2))
    moved = [5.0] * 20 + [0.0] * 3
    acts = [one.act(m) for m in moved]
    assert acts == [other.act(m) for m in moved]
    assert all(not math.isnan(value) for act in acts for value in act)
    assert abs(acts[-1][0]) == 2.5


def test_streams_show_every_frame_after_the_first_once() -> None:
    """Each clip's frames come in order, AT_ONCE at a time, until a new clip begins at its second frame."""
    episodes = np.arange(4 * 65, dtype=np.uint8).reshape(4, 65, 1, 1, 1)
    frames = np.broadcast_to(episodes, (4, 65, 8, 8, 3))
    streams = Streams(frames, [0, 1, 2, 3], 5, np.random.default_rng(0))
    streams.refill()
    assert len(set(streams.age.tolist())) > 1
    for _ in range(40):
        age = streams.age.copy()
        shown = (streams.next()[:, :, 0, 0, 0] * 255).round().int().numpy()
        for row in range(5):
            expected = streams.clips[row, age[row] : age[row] + AT_ONCE, 0, 0, 0]
            assert shown[row].tolist() == expected.tolist()
        new = streams.refill()
        assert (streams.age[new] == 1).all()
        assert (streams.age + AT_ONCE <= CLIP).all()


@torch.no_grad()
@pytest.mark.parametrize("start", [0, 2])
def test_the_loss_is_that_of_the_model_that_ships(tiny_doom: Path, start: int) -> None:
    """Nats of a stretch from the first frame and of a later one, against a session's logits, in bfloat16's precision.

    A later stretch is computed at the places of an earlier one: positions only tell how far apart tokens are.
    """
    pipe = cd.from_pretrained(tiny_doom)
    model = pipe.model
    sizes = model.backbone.decoder.sizes
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 12, (6, 16), generator=generator)
    codes = torch.cat([first, torch.randint(12, 22, (6, 4 * 5), generator=generator)], 1)
    where = stretch(sizes, start, sizes.span)
    rotary = rotary_over(sizes, stretch(sizes, min(start, 1), sizes.span))
    loss = code_loss(model.backbone.decoder, codes[:, where], rotary)
    assert loss.shape == (6, 8 if start == 0 else 11)
    if start == 0:
        session = model.session(codes[:, :16], 6, None)
        logits = session.forward(codes[:, 15:23], torch.arange(15, 23).expand(6, -1))
        expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), codes[:, 16:24] - 12, reduction="none")
        torch.testing.assert_close(loss, expected, atol=0.1, rtol=0.05)
    else:
        shifted = code_loss(model.backbone.decoder, codes[:, where], rotary_over(sizes, where))
        torch.testing.assert_close(loss, shifted, atol=0.1, rtol=0.05)


def test_the_rate_reaches_the_shipped_tokenizer() -> None:
    assert config(0.25).change.rate == 0.25
