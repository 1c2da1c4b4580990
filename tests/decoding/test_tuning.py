"""The window that tunes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import coupled_decoding as cd
from coupled_decoding.decoding.rules.chances import EMOJI
from coupled_decoding.decoding.tuning import SIZES, Tuner, choices, endless_window, measure, tokens_per_step
from coupled_decoding.evaluation.exactness.tabular import TabularSession

FLAT = [1.0] * len(SIZES)
LINEAR = [float(size) for size in SIZES]


@pytest.mark.parametrize("rows", [1, 3])
def test_the_tokens_are_those_of_ar(tiny_emoji: Path, rows: int) -> None:
    """Whatever is chosen, and whenever it changes, in float64: rows of a batch too, and with prediction."""
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    prompts = ["a heart", "pizza", "a dog"][:rows]
    ar = pipe(prompts, method=cd.AR(), seed=3)
    for method in (cd.SeedExact("auto"), cd.SeedExact("auto", predict=True)):
        out = pipe(prompts, method=method, seed=3)
        assert torch.equal(out.tokens, ar.tokens)
        assert out.metadata[0]["window"] == "auto"
    assert [*pipe.model.backbone.costs(guided=False)] == [rows]  # measured once for both


@given(st.lists(st.sampled_from([(1, 0), (4, 0), (2, 6), (8, 0), (8, 8)]), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_windows_may_grow_and_shrink_at_every_step(sizes: list[tuple[int, int]]) -> None:
    """Any order of windows and trees gives AR's tokens: positions that fall out of a window enter it again."""
    session = TabularSession.random(4, 8, torch.tensor([0, 1]), seed=3)
    ar = cd.decode(session, 8, method=cd.AR(), seed=1).tokens

    class Given(Tuner):
        def observe(self, *_: object) -> None:
            self.choice = sizes[self.steps % len(sizes)]
            self.steps += 1

        steps = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coupled_decoding.decoding.loop.Tuner", Given)
        assert torch.equal(cd.decode(session, 8, method=cd.SeedExact("auto"), seed=1).tokens, ar)


@given(st.floats(1.0, 60.0), st.sampled_from(list(choices(True))))
def test_what_is_seen_tells_what_an_endless_window_would_commit(endless: float, choice: tuple[int, int]) -> None:
    """Backwards as forwards, where the window is long enough to tell; more tokens never mean fewer elsewhere."""
    tokens = tokens_per_step(endless, choice)
    assert 1 <= tokens <= max(1, choice[0])
    if tokens > 1 and 0.9 * choice[0] > EMOJI.settling * tokens:
        assert endless_window(tokens, choice) == pytest.approx(endless)
    assert tokens_per_step(endless + 1, choice) >= tokens


def test_what_costs_nothing_is_read() -> None:
    """Where all forwards take as long the largest is chosen; where each token costs, AR."""
    assert sum(Tuner(FLAT, 1, trees=True).choice) == SIZES[-1]
    assert Tuner(FLAT, 1, trees=False).choice == (SIZES[-1], 0)
    assert Tuner(LINEAR, 1, trees=True).choice == (1, 0)


def test_the_choice_follows_what_is_committed() -> None:
    """Long runs of right drafts want a long window, short ones a tree; and back."""
    tuner = Tuner(FLAT, 2, trees=True)
    for _ in range(100):
        tuner.observe([40, 50], 2, 0.0)
    assert tuner.choice == (128, 0)
    for _ in range(100):
        tuner.observe([2, 3], 2, 0.0)
    assert tuner.choice == (64, 64)


def test_trees_that_take_long_outside_the_model_are_left() -> None:
    tuner = Tuner(FLAT, 1, trees=True)
    assert tuner.choice[1] > 0
    for _ in range(100):
        tuner.observe([3], 1, 0.01 if tuner.choice[1] == 0 else 5.0)
    assert tuner.choice == (128, 0)


def test_fewer_rows_may_read_more() -> None:
    """The cost of a forward is that of all its tokens: when rows have ended, others get longer windows."""
    tuner = Tuner([1.0, 1.0, 1.0, 1.0, 4.0, 8.0, 16.0], 8, trees=False)
    assert tuner.choice == (8, 0)
    for _ in range(5):
        tuner.observe([3], 1, 0.0)
    assert tuner.choice == (64, 0)


def test_forwards_are_measured_once_and_only_as_far_as_they_may_pay() -> None:
    session = TabularSession.random(3, 4, torch.tensor([0, 0]), seed=1)
    clock, asked = [0.0], []

    def forward(tokens: torch.Tensor, *_: object) -> torch.Tensor:
        asked.append(tokens.shape[1])
        clock[0] += max(8, tokens.shape[1])
        return torch.zeros(*tokens.shape, 3)

    session.forward = forward  # type: ignore[method-assign, assignment]
    assert measure(session, lambda: clock[0]) == [8, 8, 8, 8, 16]
    assert max(asked) == 16
    asked.clear()
    measure(session, lambda: clock[0])
    assert asked == []


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: cd.SCD("auto"), "window is 'auto': what a seed gives would depend on the machine's speed"),
    (lambda: cd.SJD("auto"), "window is 'auto': what a seed"),
    (lambda: cd.SeedExact("auto", branches=4), "branches is 4 with window='auto', which chooses them too: leave it"),
    (lambda: cd.SeedExact("wide"), "window is wide: give a whole number of at least 1"),
])
def test_what_cannot_be_is_refused(make, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=sentence):
        make()
