"""What decides the meaning of a training figure: the split, the captions, what the loss counts, the codebook."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer
from training.emoji.captions import BOI, BOS, CODES, MAX_PROMPT, draw_caption, prompt_ids, train_text_tokenizer
from training.emoji.data import HELD_OUT_PERCENT, SKIN_TONES, base_key, held_out
from training.emoji.tokenizer import MovingCodebook, sampling_weights, shift

code_points = st.lists(st.sampled_from(["1F468", "200D", "1F692", "2764", "1F469"]), min_size=1, max_size=4)
additions = st.lists(st.sampled_from([*SKIN_TONES, "FE0F"]), max_size=3)


@given(code_points, additions, st.randoms(use_true_random=False))
def test_tones_and_variation_selectors_do_not_change_the_side_of_the_split(
    base: list[str], extra: list[str], rng: random.Random
) -> None:
    """Wherever they stand in the sequence."""
    variant = base[:]
    for point in extra:
        variant.insert(rng.randint(0, len(variant)), point)
    assert base_key("-".join(variant)) == base_key("-".join(base)) == "-".join(base)


def test_the_held_out_share_is_what_it_says() -> None:
    share = sum(held_out(f"{number:X}") for number in range(20_000)) / 20_000
    assert share == pytest.approx(HELD_OUT_PERCENT / 100, abs=0.01)


def description(name: str, style: str = "noto", toned: bool = False) -> dict:
    return {"name": name, "aliases": [f"{name} alias"], "style": style, "key": name, "toned": toned}


NAMES, STYLES = ("red heart", "pizza", "woman firefighter"), ("noto", "flat")
SUBJECTS = [description(name, style) for name in NAMES for style in STYLES]


def test_captions_fit_and_carry_both_marks() -> None:
    """Every wording, whatever article and style are drawn; without a caption the prompt is the two marks."""
    text = train_text_tokenizer(SUBJECTS)
    rng = random.Random(0)
    for subject in SUBJECTS * 20:
        ids = prompt_ids(text, draw_caption(subject, rng))
        assert ids[0] == text.token_to_id(BOS)
        assert ids[-1] == text.token_to_id(BOI)
        assert len(ids) <= MAX_PROMPT
        assert all(one >= CODES for one in ids)
    assert prompt_ids(text, "") == text.encode("").ids == [text.token_to_id(BOS), text.token_to_id(BOI)]
    assert text.encode("A RED heart").ids == text.encode("a red heart").ids


def test_a_subject_and_its_tones_weigh_one_each() -> None:
    rows = [description("hand"), *(description("hand", toned=True) for _ in range(5)), description("pizza")]
    weights = sampling_weights(rows)
    assert weights[0] == weights[-1] == 1
    assert weights[1:6].sum().item() == pytest.approx(1)


def test_shifted_pictures_keep_their_size_and_let_white_in() -> None:
    pictures = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    moved = shift(pictures, torch.Generator().manual_seed(0), most=3)
    assert moved.shape == pictures.shape
    assert set(moved.unique().tolist()) == {0, 255}


@torch.no_grad()
def test_codes_follow_their_latents_and_unused_ones_come_back() -> None:
    """Two clusters, four codes: codes end in the clusters' means, none far from any latent."""
    torch.manual_seed(0)
    model = VQTokenizer(VQConfig(codes=4, code_dim=2, encoder_channels=(8, 8), decoder_channels=(8, 8, 8), blocks=1))
    model.codebook.copy_(torch.tensor([[0.0, 0.0], [9.0, 9.0], [99.0, 0.0], [0.0, -99.0]]))
    book = MovingCodebook(model, decay=0.8)
    for _ in range(60):
        centres = torch.randint(0, 2, (256, 1)) * 8.0 + 1
        latents = centres + 0.1 * torch.randn(256, 2)
        book.update(latents, model.nearest(latents))
    nearest_centre = torch.cdist(model.codebook, torch.tensor([[1.0, 1.0], [9.0, 9.0]])).min(1).values
    assert nearest_centre.max() < 1
