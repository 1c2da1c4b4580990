"""What the transformer is trained on says what it should: colours that are named are there, nothing held out leaks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from tokenizers import Tokenizer
from torch import Tensor

from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer
from training.emoji.captions import draw_caption, prompt_ids, train_text_tokenizer
from training.emoji.colours import (
    COLOUR_WORDS,
    HUES,
    hue_of,
    left_out,
    nearest_colour,
    recoloured,
    single_colour,
    turned,
)
from training.emoji.examples import LONGEST, Examples, build, mirrorable, variants

PAINT = {
    "red": (221, 46, 68), "orange": (244, 144, 12), "yellow": (255, 204, 77), "green": (120, 177, 89),
    "blue": (85, 172, 238), "purple": (146, 102, 204), "pink": (240, 100, 160),
}


def disc(colour: tuple[int, int, int], other: tuple[int, int, int] | None = None) -> np.ndarray:
    """A disc on white, half of it of another colour if one is given."""
    picture = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((8, 8, 56, 56), fill=colour)
    if other is not None:
        draw.pieslice((8, 8, 56, 56), 90, 270, fill=other)
    return np.asarray(picture)


def description(name: str = "balloon", **more: object) -> dict:
    return {"unified": "1F388", "key": "1F388", "name": name, "aliases": ["ball"], "style": "noto", "toned": False,
            "held_out": False, **more}


@pytest.mark.parametrize("own", HUES)
def test_a_drawing_of_one_colour_is_called_by_it_and_turned_to_any_other(own: str) -> None:
    """The mean hue of the turned drawing is nearest to the colour that its caption names."""
    picture = disc(PAINT[own])
    assert single_colour(picture, description()) == own
    for colour in HUES:
        found = hue_of(turned(picture, colour))
        assert found is not None
        assert nearest_colour(found.mean) == colour


def test_drawings_of_two_colours_people_flags_and_grey_are_never_turned() -> None:
    red = disc(PAINT["red"])
    assert single_colour(red, description()) == "red"
    assert single_colour(disc(PAINT["red"], PAINT["green"]), description()) is None
    assert single_colour(disc((90, 90, 90)), description()) is None
    assert single_colour(red, description("woman dancing")) is None
    assert single_colour(red, description("tunisia", unified="1F1F9-1F1F3")) is None
    assert single_colour(red, description(toned=True)) is None


@given(st.sampled_from(COLOUR_WORDS), st.sampled_from([*HUES]), st.sampled_from(["heart", "book", "apple"]))
def test_a_colour_word_is_changed_or_put_in_front(word: str, colour: str, thing: str) -> None:
    assert recoloured(f"{word} {thing}", colour) == f"{colour} {thing}"
    assert recoloured(thing, colour) == f"{colour} {thing}"
    assert recoloured(word, colour) is None


def test_captions_of_turned_drawings_name_the_colour_always() -> None:
    rng = random.Random(0)
    for name in ("red heart", "balloon", "orange"):
        for _ in range(50):
            assert "blue" in draw_caption(description(name, aliases=["red"]), rng, "blue").split(",")[0].split()


def test_mirror_images_are_of_what_does_not_point_or_read() -> None:
    assert mirrorable(description("dog"))
    for name in ("right arrow", "keycap 4", "three o’clock", "eleven-thirty", "books", "woman walking", "letter a"):
        assert not mirrorable(description(name))


def test_variants_share_the_weight_and_leave_pairs_out() -> None:
    """A picture and its variants weigh 1 together, its other colours half as much; pairs left out are not made."""
    picture = torch.from_numpy(disc(PAINT["red"]).copy()).permute(2, 0, 1)
    d = description(key=next(key for key in map(str, range(99)) if left_out(key, "blue") and not left_out(key, "pink")))
    made = variants(picture, d, torch.Generator().manual_seed(0))
    colours = [colour for _, _, colour in made if colour is not None]
    assert "blue" not in colours
    assert "red" not in colours
    assert "pink" in colours
    assert sum(share for _, share, colour in made if colour is None) == pytest.approx(1)
    assert sum(share for _, share, colour in made if colour is not None) == pytest.approx(0.5)
    assert all(variant.shape == picture.shape and variant.dtype == torch.uint8 for variant, _, _ in made)


@pytest.fixture(scope="module")
def text() -> Tokenizer:
    return train_text_tokenizer([description("balloon"), description("dog")])


@pytest.fixture(scope="module")
def examples(text: Tokenizer) -> Examples:
    torch.manual_seed(0)
    vq = VQTokenizer(VQConfig(encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1))
    pictures = torch.stack([torch.from_numpy(disc(PAINT[c]).copy()).permute(2, 0, 1) for c in ("red", "green")])
    return build(pictures, [description("balloon"), description("dog", key="1F415")], vq, text)


def test_a_batch_is_prompt_picture_and_nothing_between(examples: Examples, text: Tokenizer) -> None:
    """The codes stand right behind the prompt's last mark, with a caption and without, and behind another's caption."""
    rows, which = torch.tensor([0, 3, 5, 1]), torch.tensor([0, -1, 7, 2])
    captioned = torch.tensor([0, 3, 5, len(examples.codes) - 1])
    ids, before, codes = examples.batch(rows, which, captioned)
    assert ids.shape == (4, LONGEST + 256)
    for row in range(4):
        length = int(before[row, 0]) + 1
        prompt = ids[row, :length].tolist()
        expected = examples.prompts[captioned[row], which[row].clamp(min=0), :length].tolist()
        assert prompt == (prompt_ids(text, "") if which[row] < 0 else expected)
        assert prompt[-1] == prompt_ids(text, "")[-1]
        assert torch.equal(ids[row, length : length + 256], codes[row])
        assert torch.equal(codes[row], examples.codes[rows[row]].long())


def test_the_first_example_of_a_subject_is_the_picture_itself(examples: Examples) -> None:
    assert len(examples.codes) == len(examples.weights) == len(examples.prompts) == len(examples.lengths)
    assert (examples.weights > 0).all()
    assert _total(examples.weights) == pytest.approx(2 * 3.5 * 1.5, rel=1e-5)


def _total(weights: Tensor) -> float:
    return float(weights.double().sum())
