"""``decode`` gives the tokens of algorithm 1 as it stands in fifty lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Method, Sampling, SeedExact, decode
from coupled_decoding.decoding.reference import Coupling, decode_row
from coupled_decoding.decoding.sampling import target_distribution
from coupled_decoding.evaluation.exactness.tabular import TabularSession

METHODS: dict[str, tuple[Callable[[int], Method], Coupling, bool]] = {
    "AR": (lambda window: AR(), "gumbel", True),
    "SJD": (SJD, "independent", False),
    "SCD-maximal": (lambda window: SCD(window, coupling="maximal"), "maximal", False),
    "SCD-gumbel": (SCD, "gumbel", False),
    "SeedExact": (SeedExact, "gumbel", True),
}
"""Of each method, what makes it with a window, its coupling, and whether it accepts exact matches only."""


def model_of(session: TabularSession, row: int, sampling: Sampling) -> Callable[[list[int]], Tensor]:
    """The target distributions of a row of a session, by what was generated before."""

    def model(before: list[int]) -> Tensor:
        number = 0
        for code in before:
            number = number * session.vocab_size + code
        logits = session.tables[len(before)][int(session.prompts[row]), number]
        return target_distribution(logits, sampling)

    return model


@pytest.mark.parametrize("name", METHODS)
@given(
    seed=st.integers(0, 2**62), tables=st.integers(0, 2**31), codes=st.integers(1, 5), length=st.integers(1, 6),
    window=st.integers(1, 8), sampling=st.sampled_from([Sampling(), Sampling(top_k=2), Sampling(temperature=0.5)]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_decode_gives_the_tokens_of_algorithm_1(
    name: str, seed: int, tables: int, codes: int, length: int, window: int, sampling: Sampling
) -> None:
    """Three rows of two prompts at once, against one row at a time."""
    make, coupling, exact = METHODS[name]
    session = TabularSession.random(codes, length, torch.tensor([0, 1, 0]), seed=tables)
    decoded = decode(session, length, method=make(window), sampling=sampling, seed=seed)
    for row in range(3):
        expected = decode_row(
            model_of(session, row, sampling), length, codes, seed=seed + row, window=1 if name == "AR" else window,
            coupling=coupling, exact=exact,
        )
        assert decoded.tokens[row].tolist() == expected
