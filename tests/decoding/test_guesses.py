"""First guesses: what they start a position from, and labels that tell the truth about it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from coupled_decoding import Layout, SeedExact, decode
from coupled_decoding.decoding.guesses import GUESSES, Entering
from coupled_decoding.decoding.noise import exponentials
from tests.decoding.helpers import ChainSession, assert_agrees

COUNT = 20_000
LEGAL = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)


def entering(legal: Tensor | None, last: int = -1, above: int = -1) -> Entering:
    seeds = torch.arange(COUNT)
    return Entering(
        noise=exponentials(seeds, torch.zeros_like(seeds), torch.arange(5)),
        legal=None if legal is None else legal.expand(COUNT, -1),
        last=torch.full((COUNT,), last),
        above=torch.full((COUNT,), above),
    )


@pytest.mark.parametrize("legal", [None, LEGAL], ids=["all", "some"])
@pytest.mark.parametrize("guess", GUESSES)
def test_without_a_source_every_guess_is_uniform(guess: str, legal: Tensor | None) -> None:
    """Guesses spread evenly over the legal codes, and only these."""
    drafts, _ = GUESSES[guess](entering(legal))
    allowed = torch.ones(5) if legal is None else legal.double()
    assert_agrees(torch.bincount(drafts, minlength=5), allowed.double() / allowed.sum())


@pytest.mark.parametrize("guess", ["uniform", "repeat", "above"])
def test_a_uniform_draw_has_the_uniform_label(guess: str) -> None:
    """Its label is the distribution over the legal codes, not one-hot."""
    _, labels = GUESSES[guess](entering(LEGAL))
    assert torch.equal(labels, (LEGAL.double() / 3).expand(COUNT, -1))


def test_random_has_a_one_hot_label() -> None:
    """As published: the same draw as uniform, labelled as if it had been certain."""
    drafts, labels = GUESSES["random"](entering(LEGAL))
    assert torch.equal(drafts, GUESSES["uniform"](entering(LEGAL))[0])
    assert torch.equal(labels, one_hot(drafts, 5).double())


@pytest.mark.parametrize("guess", ["repeat", "above"])
def test_copies_are_one_hot_where_they_are_legal(guess: str) -> None:
    """A legal source is copied with a one-hot label; an illegal one gives a uniform guess with the uniform label."""
    source = {"repeat": "last", "above": "above"}[guess]
    drafts, labels = GUESSES[guess](entering(LEGAL, **{source: 2}))
    assert (drafts == 2).all()
    assert torch.equal(labels, one_hot(drafts, 5).double())
    drafts, labels = GUESSES[guess](entering(LEGAL, **{source: 1}))
    assert LEGAL[drafts].all()
    assert torch.equal(labels, (LEGAL.double() / 3).expand(COUNT, -1))


class Listening(ChainSession):
    """Remembers what it was fed."""

    def __init__(self) -> None:
        super().__init__(50, torch.tensor([2]))
        self.fed: list[list[int]] = []

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        self.fed.append(tokens[0].tolist())
        return super().forward(tokens, positions, rows)


@pytest.mark.parametrize(("guess", "fed"), [("repeat", [13, 13, 13, 13]), ("above", [13, 10, 11, 12])])
def test_the_decoder_feeds_the_copies(guess: str, fed: list[int]) -> None:
    """After a row of given codes, the first window starts from the last code or from the row above."""
    session = Listening()
    decode(session, 8, method=SeedExact(4, guess), layout=Layout.grid(2, 4, 50), given=torch.tensor([[10, 11, 12, 13]]))
    reading, first, *_ = session.fed
    assert reading == [2, 10, 11, 12]
    assert first == fed
