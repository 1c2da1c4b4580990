"""Pictures and clips do not depend on what is decoded or encoded beside them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.models import contract

COUNT = 5


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


def made(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pixels of every picture that is made from now on, before they are rounded to bytes."""
    pixels: list[Tensor] = []
    to_images = contract.to_images

    def listening(batch: Tensor) -> list[Image.Image]:
        pixels.extend(batch)
        return to_images(batch)

    monkeypatch.setattr(contract, "to_images", listening)
    return pixels


def batches(part: torch.nn.Module) -> list[int]:
    """How many pictures a part of a tokenizer computes at once, each time that it does from now on.

    Whether sums of a batch run in another order is up to the machine: where they happen not to, this tells.
    """
    sizes: list[int] = []
    part.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    return sizes


def noise(count: int) -> list[Image.Image]:
    return [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)]


def test_pictures_are_the_same_alone_and_in_a_batch(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit of a channel, of the shipped tokenizer at its full size; and so are the codes of pictures."""
    model: Any = cd.from_pretrained("emoji", dtype=dtype).model
    tokens = torch.randint(512, (COUNT, 256), generator=torch.Generator().manual_seed(0))
    pixels, drawn, read = made(monkeypatch), batches(model.vq.decoder), batches(model.vq.encoder)
    together = model.decode(tokens, model.size)
    alone = [model.decode(stream, model.size)[0] for stream in tokens.split(1)]
    assert len(pixels) == 2 * COUNT
    assert all(torch.equal(one, other) for one, other in zip(pixels[:COUNT], pixels[COUNT:], strict=True))
    assert [one.tobytes() for one in together] == [one.tobytes() for one in alone]
    pictures = noise(COUNT)
    assert torch.equal(model.encode(pictures, model.size),
                       torch.cat([model.encode([picture], model.size) for picture in pictures]))
    assert {*drawn, *read} == {1}


def test_clips_are_the_same_alone_and_in_a_batch(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = cd.from_pretrained("doom", dtype=dtype).model
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(512, (COUNT, 256), generator=generator)
    tokens = torch.cat([first, torch.randint(512, 1024, (COUNT, 3 * 64), generator=generator)], 1)
    picture = model.tokenizer.picture
    pixels, drawn, read = made(monkeypatch), batches(picture.decoder), batches(picture.encoder)
    together = model.decode(tokens)
    alone = [model.decode(stream)[0] for stream in tokens.split(1)]
    assert len(pixels) == 2 * 4 * COUNT
    assert all(torch.equal(one, other) for one, other in zip(pixels[: 4 * COUNT], pixels[4 * COUNT :], strict=True))
    assert [[frame.tobytes() for frame in clip] for clip in together] == [
        [frame.tobytes() for frame in clip] for clip in alone]
    clips = [noise(3) for _ in range(2)]
    clips[1].reverse()
    assert torch.equal(model.encode(clips), torch.cat([model.encode([clip]) for clip in clips]))
    assert {*drawn, *read} == {1}
