"""Rows that end by themselves: at a token, say, as text does."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Layout, Method, Sampling, SeedExact, Step, decode
from coupled_decoding.evaluation.exactness.statistics import count_sequences
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from tests.decoding.helpers import ChainSession, assert_agrees

LAST, LENGTH, VOCAB = 2, 5, 3
METHODS: list[Method] = [AR(), SJD(4), SCD(4), SCD(3, coupling="maximal"), SeedExact(4),
                         SeedExact(5, predict=True, branches=4)]


def at_last(row: int, tokens: Tensor) -> int | None:
    """Ends a row with its first token ``LAST``."""
    found = (tokens == LAST).nonzero()
    return int(found[0]) + 1 if len(found) else None


def names(method: Method) -> str:
    return method.name


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_what_is_kept_follows_the_law_of_stopping_at_the_same_place(method: Method) -> None:
    """The enumerated law with everything behind the last token folded away; prompts of two lengths."""
    rows = 40_000
    session = TabularSession.random(VOCAB, LENGTH, torch.arange(rows) % 2, seed=4)
    tokens = decode(session, LENGTH, method=method, seed=11, stop=at_last).tokens
    shown = torch.where(tokens < 0, VOCAB, tokens)
    for prompt in (0, 1):
        law = session.joint_law(prompt, LENGTH, Sampling(), Layout.free(LENGTH, VOCAB))
        folded = torch.zeros([VOCAB + 1] * LENGTH, dtype=torch.float64)
        for sequence in itertools.product(range(VOCAB), repeat=LENGTH):
            end = sequence.index(LAST) + 1 if LAST in sequence else LENGTH
            folded[(*sequence[:end], *[VOCAB] * (LENGTH - end))] += law[sequence]
        assert_agrees(count_sequences(shown[prompt::2], VOCAB + 1), folded)



@pytest.mark.parametrize("method", METHODS, ids=names)
def test_rows_that_end_change_nothing_for_the_others(method: Method) -> None:
    """The tokens of a decode without ends, cut where the rule cuts; fewer forwards, and a trace that adds up."""
    session, steps = ChainSession(60, torch.arange(4)), list[Step]()
    whole = decode(session, 40, method=method, seed=2)
    stop_at = [7, 40, 1, 23]

    def stop(row: int, tokens: Tensor) -> int | None:
        return stop_at[row] if len(tokens) >= stop_at[row] else None

    cut = decode(session, 40, method=method, seed=2, stop=stop, on_step=steps.append)
    for row, end in enumerate(stop_at):
        assert torch.equal(cut.tokens[row, :end], whole.tokens[row, :end])
        assert (cut.tokens[row, end:] == -1).all()
    assert cut.tokens.shape == whole.tokens.shape
    assert cut.trace.committed.sum(0).tolist() == stop_at
    assert steps[-1].committed == steps[-1].lengths == stop_at
    assert (cut.trace.nfe <= whole.trace.nfe).all()


@pytest.mark.parametrize("end", [0, 99])
def test_an_end_that_is_not_among_the_new_tokens_is_refused(end: int) -> None:
    with pytest.raises(ValueError, match=f"stop ends row 0 after {end} tokens: give one of 1 to 1"):
        decode(ChainSession(60, torch.arange(1)), 10, method=AR(), stop=lambda row, tokens: end)
