"""First guesses: what they start a position from, and labels that tell the truth about it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from coupled_decoding import SJD, Layout, SeedExact, decode
from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.guesses import GUESSES, Entering
from coupled_decoding.decoding.rules.memory import KEPT, Memory
from tests.decoding.helpers import ChainSession, assert_agrees

COUNT = 20_000
LEGAL = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)


def entering(
    legal: Tensor | None, last: int = -1, above: int = -1, previous: int = -1, remembered: Tensor | None = None
) -> Entering:
    seeds = torch.arange(COUNT)
    return Entering(
        noise=exponentials(seeds, torch.zeros_like(seeds), torch.arange(5)),
        legal=None if legal is None else legal.expand(COUNT, -1),
        last=torch.full((COUNT,), last),
        above=torch.full((COUNT,), above),
        previous=torch.full((COUNT,), previous),
        remembered=None if remembered is None else remembered.expand(COUNT, -1),
    )


@pytest.mark.parametrize("legal", [None, LEGAL], ids=["all", "some"])
@pytest.mark.parametrize("guess", GUESSES)
def test_without_a_source_every_guess_is_uniform(guess: str, legal: Tensor | None) -> None:
    """Guesses spread evenly over the legal codes, and only these."""
    drafts, _ = GUESSES[guess](entering(legal))
    allowed = torch.ones(5) if legal is None else legal.double()
    assert_agrees(torch.bincount(drafts, minlength=5), allowed.double() / allowed.sum())


@pytest.mark.parametrize("guess", [name for name in GUESSES if name != "random"])
def test_a_uniform_draw_has_the_uniform_label(guess: str) -> None:
    """Its label is the distribution over the legal codes, not one-hot."""
    _, labels = GUESSES[guess](entering(LEGAL))
    assert torch.equal(labels, (LEGAL.double() / 3).expand(COUNT, -1))


def test_random_has_a_one_hot_label() -> None:
    """As published: the same draw as uniform, labelled as if it had been certain."""
    drafts, labels = GUESSES["random"](entering(LEGAL))
    assert torch.equal(drafts, GUESSES["uniform"](entering(LEGAL))[0])
    assert torch.equal(labels, one_hot(drafts, 5).double())


@pytest.mark.parametrize("guess", ["repeat", "above", "previous-frame", "previous-frame-distribution"])
def test_copies_are_one_hot_where_they_are_legal(guess: str) -> None:
    """A legal source is copied with a one-hot label; an illegal one gives a uniform guess with the uniform label."""
    source = {"repeat": "last", "above": "above"}.get(guess, "previous")
    drafts, labels = GUESSES[guess](entering(LEGAL, **{source: 2}))
    assert (drafts == 2).all()
    assert torch.equal(labels, one_hot(drafts, 5).double())
    drafts, labels = GUESSES[guess](entering(LEGAL, **{source: 1}))
    assert LEGAL[drafts].all()
    assert torch.equal(labels, (LEGAL.double() / 3).expand(COUNT, -1))


@pytest.mark.parametrize("legal", [None, LEGAL], ids=["all", "some"])
def test_remembered_distributions_are_drawn_from_and_told(legal: Tensor | None) -> None:
    """Drafts spread as the legal part of the distribution, which is their label, whatever stood there."""
    remembered = torch.tensor([0.5, 0.2, 0.3, 0.0, 0.0])
    drafts, labels = GUESSES["previous-frame-distribution"](entering(legal, previous=3, remembered=remembered))
    law = remembered.double() if legal is None else remembered.double() * legal
    law = law / law.sum()
    torch.testing.assert_close(labels, law.expand(COUNT, -1), atol=1e-7, rtol=0)
    assert_agrees(torch.bincount(drafts, minlength=5), law)


def test_where_nothing_is_remembered_the_code_is_copied() -> None:
    """Zeros, as of a given frame, and a distribution over illegal codes say nothing."""
    for remembered in (torch.zeros(5), torch.tensor([0.0, 0.4, 0.0, 0.0, 0.6])):
        drafts, labels = GUESSES["previous-frame-distribution"](entering(LEGAL, previous=3, remembered=remembered))
        assert (drafts == 3).all()
        assert torch.equal(labels, one_hot(drafts, 5).double())


def test_memory_keeps_the_likeliest_codes() -> None:
    """Of 100 codes the 64 likeliest, with a sum of one; nothing for positions that were never remembered."""
    memory = Memory(2, 7, 100, torch.device("cpu"))
    target = torch.softmax(2 * torch.randn(2, 100, generator=torch.Generator().manual_seed(1)), -1)
    memory.remember(torch.tensor([0, 1]), torch.tensor([4, 2]), target)
    recalled = memory.recall(torch.tensor([1, 0, 0]), torch.tensor([2, 2, -1]), 100)
    least = target[1].sort(descending=True).values[KEPT - 1]
    wanted = torch.where(target[1] >= least, target[1], 0)
    torch.testing.assert_close(recalled, torch.stack([wanted / wanted.sum(), torch.zeros(100), torch.zeros(100)]))


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


@pytest.mark.parametrize("guess", ["previous-frame", "previous-frame-distribution"])
def test_the_decoder_feeds_the_frame_before(guess: str) -> None:
    """After a given frame, the first window starts from its codes."""
    session = Listening()
    known = torch.tensor([[10, 11, 12, 13]])
    decode(session, 8, method=SeedExact(4, guess), layout=Layout.clip(2, 2, 2, 50), given=known)
    assert session.fed[1] == [13, 10, 11, 12]


def test_distributions_come_from_the_frame_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the first frame, a position that enters has the target distribution of the same place one frame earlier."""
    targets: list[Tensor] = []
    labels: list[Tensor] = []
    guess = GUESSES["previous-frame-distribution"]

    class Recording(ChainSession):
        def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
            logits = super().forward(tokens, positions, rows)
            targets.append(logits[0, 0].softmax(-1))
            return logits

    def listening(entering: Entering) -> tuple[Tensor, Tensor]:
        drafts, label = guess(entering)
        labels.append(label[0].float())
        return drafts, label

    monkeypatch.setitem(GUESSES, "previous-frame-distribution", listening)
    # with a window of 1 the position of an index enters right before the forward that decides it
    method = SJD(1, "previous-frame-distribution")
    decode(Recording(50, torch.tensor([2])), 12, method=method, layout=Layout.clip(3, 2, 2, 50), seed=1)
    assert len(labels) == 12
    for index in range(4, 12):
        torch.testing.assert_close(labels[index], targets[index - 4])
