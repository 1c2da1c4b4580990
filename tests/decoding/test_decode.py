"""What decode promises beside the law: the same tokens whatever the window, batch, neighbours or generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Decoded, Layout, Method, Sampling, SeedExact, Session, decode
from coupled_decoding.decoding import loop
from coupled_decoding.decoding.rules.guesses import GUESSES
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from tests.decoding.helpers import SCENARIOS, ChainSession, Scenario

DTYPES = [torch.float32, torch.float64]
SAMPLINGS = [Sampling(), Sampling(top_k=2), Sampling(temperature=0.7, top_p=0.8), Sampling(temperature=0)]


def methods(window: int, first_guess: str = "uniform") -> list[Method]:
    """Every method that drafts."""
    return [
        SJD(window, first_guess),
        SCD(window, first_guess, "maximal"),
        SCD(window, first_guess, "gumbel"),
        SeedExact(window, first_guess),
    ]


def method_name(method: Method) -> str:
    return "-".join([method.name, *map(str, asdict(method).values())])


VARIED = [
    AR(), *methods(16), *methods(5, "above"), *methods(4, "repeat"), *methods(3, "random"), SCD(9, predict=True),
    SCD(7, coupling="maximal", predict=True), SCD(8, predict=True, branches=9), SeedExact(6, predict=True, branches=5),
]

# rows of one batch over many codes: grids of several shapes, one cut short, and several prompts
WIDE_CODES = torch.arange(10, 190)
SHAPES = [(4, 5), (1, 1), (6, 2), (3, 8)]
GRIDS = [Layout.grid(h, w, WIDE_CODES, row_end=3, prefix=[1, 2], suffix=[0]) for h, w in SHAPES]
LAYOUTS = [GRIDS[0], GRIDS[1], GRIDS[2], GRIDS[3], GRIDS[0], GRIDS[3]]
LENGTHS = [27, 5, 21, 30, 11, 30]
PROMPTS = [0, 9, 4, 4, 0, 7]
SEEDS = [11, 5, 2**63 - 1, 0, 11, 8]


def decode_wide(rows: Sequence[int], method: Method, dtype: torch.dtype, sampling: Sampling | None = None) -> Decoded:
    """The named rows of the batch, decoded together."""
    session = ChainSession(200, torch.tensor([PROMPTS[row] for row in rows]), dtype)
    return decode(
        session, [LENGTHS[row] for row in rows], method=method, sampling=sampling,
        layout=[LAYOUTS[row] for row in rows], seed=[SEEDS[row] for row in rows],
    )


def decode_scenario(scenario: Scenario, method: Method, sampling: Sampling, seed: int, batch: int,
                    dtype: torch.dtype) -> Tensor:
    kinds = [scenario.kind_of(row) for row in range(batch)]
    return decode(
        scenario.session(batch, dtype), [kind.length for kind in kinds], method=method, sampling=sampling,
        layout=[kind.layout for kind in kinds], seed=seed,
    ).tokens


# -- windows -----------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**62), batch=st.integers(1, 8), window=st.integers(1, 8), guess=st.sampled_from([*GUESSES]),
    predict=st.booleans(), branches=st.integers(0, 7), scenario=st.sampled_from(sorted(SCENARIOS)),
    sampling=st.sampled_from(SAMPLINGS), dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_seed_exact_gives_the_tokens_of_ar(
    seed: int, batch: int, window: int, guess: str, predict: bool, branches: int, scenario: str, sampling: Sampling,
    dtype: torch.dtype,
) -> None:
    """Whatever the drafts are, the layout, the sampling and the precision (the tables are exact in both)."""
    decoded = [
        decode_scenario(SCENARIOS[scenario], method, sampling, seed, batch, dtype)
        for method in (AR(), SeedExact(window, guess, predict=predict, branches=branches))
    ]
    assert torch.equal(*decoded)


@given(
    seed=st.integers(0, 2**62), model=st.integers(0, 2**31), size=st.integers(2, 4), length=st.integers(1, 7),
    window=st.integers(2, 8), branches=st.integers(0, 9), dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_seed_exact_gives_the_tokens_of_ar_on_any_model(
    seed: int, model: int, size: int, length: int, window: int, branches: int, dtype: torch.dtype
) -> None:
    """Over random models of several sizes and lengths, without a layout."""
    session = TabularSession.random(size, length, torch.tensor([0, 1, 1]), seed=model, dtype=dtype)
    for guess in GUESSES:
        expected = decode(session, length, method=AR(), seed=seed)
        got = decode(session, length, method=SeedExact(window, guess, branches=branches), seed=seed)
        assert torch.equal(got.tokens, expected.tokens)
        assert (got.trace.nfe <= expected.trace.nfe).all()


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_seed_exact_gives_the_tokens_of_ar_over_many_codes(dtype: torch.dtype, guess: str) -> None:
    """With 180 codes, grids and ragged rows, at every window from 1 to 8 and at some larger than the row."""
    everyone = range(len(LENGTHS))
    expected = decode_wide(everyone, AR(), dtype).tokens
    for window in (*range(1, 9), 16, 64):
        assert torch.equal(decode_wide(everyone, SeedExact(window, guess), dtype).tokens, expected)
    for window, branches in [(1, 4), (2, 1), (5, 8), (16, 100), (64, 1000)]:
        method = SeedExact(window, guess, predict=True, branches=branches)
        assert torch.equal(decode_wide(everyone, method, dtype).tokens, expected)


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_every_method_with_a_window_of_one_is_ar(guess: str, sampling: Sampling) -> None:
    """Nothing is drafted there: the same tokens in the same number of forwards."""
    everyone = range(len(LENGTHS))
    expected = decode_wide(everyone, AR(), torch.float32, sampling)
    assert expected.trace.nfe.tolist() == LENGTHS
    for method in methods(1, guess):
        got = decode_wide(everyone, method, torch.float32, sampling)
        assert torch.equal(got.tokens, expected.tokens)
        assert torch.equal(got.trace.nfe, expected.trace.nfe)


@pytest.mark.parametrize("method", methods(8), ids=method_name)
def test_greedy_decoding_is_greedy(method: Method) -> None:
    """At temperature 0 every method gives the model's argmax path, in no more forwards than tokens."""
    expected = decode_wide([0, 3], AR(), torch.float32, Sampling(temperature=0)).tokens
    assert torch.equal(decode_wide([0, 3], method, torch.float32, Sampling(temperature=0)).tokens, expected)


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", VARIED, ids=method_name)
def test_a_row_is_the_same_alone_and_in_the_batch(method: Method, dtype: torch.dtype) -> None:
    """Tokens and forwards of a row depend on nothing but the row."""
    together = decode_wide(range(len(LENGTHS)), method, dtype)
    for row, length in enumerate(LENGTHS):
        alone = decode_wide([row], method, dtype)
        assert torch.equal(alone.tokens[0], together.tokens[row, :length])
        assert (together.tokens[row, length:] == -1).all()
        assert alone.trace.nfe[0] == together.trace.nfe[row]
        assert torch.equal(alone.trace.committed[:, 0], together.trace.committed[: alone.trace.steps, row])
        assert torch.equal(alone.trace.changed[:, 0], together.trace.changed[: alone.trace.steps, row])


@given(rows=st.lists(st.integers(0, len(LENGTHS) - 1), min_size=1, max_size=9), method=st.sampled_from(VARIED))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_row_is_the_same_among_any_others(rows: list[int], method: Method) -> None:
    """In any order, with any neighbours, and beside copies of itself."""
    everyone = decode_wide(range(len(LENGTHS)), method, torch.float32).tokens
    some = decode_wide(rows, method, torch.float32).tokens
    for place, row in enumerate(rows):
        assert torch.equal(some[place, : LENGTHS[row]], everyone[row, : LENGTHS[row]])


# -- layouts -----------------------------------------------------------------------------------------------------------


@given(
    grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4),
    method=st.sampled_from(VARIED), row_end=st.sampled_from([None, 3, 50]),
    prefix=st.sampled_from([(), (1,), (1, 60, 2)]),
    suffix=st.sampled_from([(), (0,), (0, 3)]), seed=st.integers(0, 2**62),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_the_layout_always_holds(
    grids: list[tuple[int, int]], method: Method, row_end: int | None, prefix: tuple[int, ...], suffix: tuple[int, ...],
    seed: int,
) -> None:
    """Exactly the grid's tokens, the forced ones in their places (drawable ids among them), drawn ones legal."""
    layouts = [Layout.grid(h, w, WIDE_CODES, row_end=row_end, prefix=prefix, suffix=suffix) for h, w in grids]
    session = ChainSession(200, torch.arange(len(grids)))
    tokens = decode(session, [one.length for one in layouts], method=method, layout=layouts, seed=seed).tokens
    for (height, width), layout, row in zip(grids, layouts, tokens, strict=True):
        assert layout.length == len(prefix) + height * (width + (row_end is not None)) + len(suffix)
        row, rest = row[: layout.length], row[layout.length :]
        assert (rest == -1).all()
        assert torch.equal(row[layout.forced >= 0], layout.forced[layout.forced >= 0])
        assert torch.isin(row[layout.forced < 0], WIDE_CODES).all()
        picture = row[len(prefix) : layout.length - len(suffix)].view(height, -1)
        if row_end is not None:
            assert (picture[:, width] == row_end).all()


@given(data=st.data(), method=st.sampled_from(VARIED), seed=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_index_keeps_to_its_legal_codes(data: st.DataObject, method: Method, seed: int) -> None:
    """Random sets of legal codes, a random set at each index of each row, some as small as one code."""
    sets = data.draw(st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=4))
    legal = torch.zeros(len(sets), 7, dtype=torch.bool)
    for place, one in enumerate(sets):
        legal[place, list(one)] = True
    codes = torch.tensor([2, 3, 5, 7, 11, 13, 17])
    which = st.lists(st.integers(0, len(sets) - 1), min_size=12, max_size=12)
    kinds = [torch.tensor(data.draw(which)) for _ in range(3)]
    above = torch.arange(12) - 4
    above[:4] = -1
    layouts = [Layout(codes, torch.full((12,), -1), above, legal=legal, legal_set=kind) for kind in kinds]
    tokens = decode(ChainSession(20, torch.arange(3)), 12, method=method, layout=layouts, seed=seed).tokens
    for kind, row in zip(kinds, tokens, strict=True):
        columns = torch.searchsorted(codes, row)
        assert torch.equal(codes[columns], row)
        assert legal[kind, columns].all()


def test_a_layout_of_forced_tokens_alone() -> None:
    """With nothing to draw, the tokens are the forced ones, and a window takes them in at once."""
    layout = Layout(torch.tensor([4]), torch.tensor([1, 2, 3, 1]), torch.full((4,), -1))
    for method in VARIED:
        decoded = decode(ChainSession(5, torch.arange(2)), 4, method=method, layout=layout, seed=0)
        assert decoded.tokens.tolist() == [[1, 2, 3, 1]] * 2
        assert (decoded.trace.nfe == -(-4 // method.window)).all()


class SomeColumns(ChainSession):
    """Gives logits for its ``output_codes`` only."""

    output_codes = torch.tensor([0, 3, 4, 8, 9, 10, 11, 15])

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        return super().forward(tokens, positions, rows, parents)[..., self.output_codes]


@pytest.mark.parametrize("codes", [[3, 8, 15], [8, 9, 10, 11], [0, 3, 4, 8, 9, 10, 11, 15]])
def test_a_session_may_give_the_drawable_logits_only(codes: list[int]) -> None:
    """Output codes change nothing in the tokens, also where the layout draws from fewer of them."""
    layout = Layout.grid(3, 4, torch.tensor(codes), row_end=7)
    for method in VARIED:
        full, some = (
            decode(kind(20, torch.arange(3)), layout.length, method=method, layout=layout, seed=3).tokens
            for kind in (ChainSession, SomeColumns)
        )
        assert torch.equal(full, some)


# -- sessions, seeds, generators ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", VARIED, ids=method_name)
def test_a_session_may_be_decoded_again(method: Method) -> None:
    """Whatever an earlier decode left in the session's memory, finished or stopped, the next one does not see it."""
    scenario = SCENARIOS["grid"]
    kinds = [scenario.kind_of(row) for row in range(8)]
    lengths, layouts = [kind.length for kind in kinds], [kind.layout for kind in kinds]
    session = scenario.session(8)
    assert isinstance(session, Session)
    first = decode(session, lengths, method=method, layout=layouts, seed=1)
    decode(session, lengths, method=SJD(4), layout=layouts, seed=50, on_step=lambda step: step.number < 2)
    again = decode(session, lengths, method=method, layout=layouts, seed=1)
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.trace.committed, again.trace.committed)


def test_an_int_seeds_the_rows_in_order() -> None:
    """Row i of seed s is the first row of seed s + i, and a list gives each row its own."""
    session = ChainSession(50, torch.tensor([3, 3, 3]))
    counted = decode(session, 20, seed=7)
    assert counted.seeds == [7, 8, 9]
    assert torch.equal(decode(session, 20, seed=[9, 7, 8]).tokens, counted.tokens[[2, 0, 1]])
    assert torch.equal(decode(session, 20, seed=8).tokens[0], counted.tokens[1])


def test_no_seed_draws_and_records_one() -> None:
    """Fresh seeds each time; those in the result reproduce it."""
    session = ChainSession(50, torch.tensor([3, 3, 3]))
    one, other = decode(session, 20), decode(session, 20)
    assert len({*one.seeds, *other.seeds}) == 6
    assert torch.equal(decode(session, 20, seed=one.seeds).tokens, one.tokens)
    assert not torch.equal(one.tokens, other.tokens)


@pytest.mark.parametrize("method", VARIED, ids=method_name)
def test_torch_generators_are_left_alone(method: Method) -> None:
    """The result does not depend on torch's generator, and does not move it."""
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(decode_wide([0, 1], method, torch.float32).tokens)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


# -- given tokens ------------------------------------------------------------------------------------------------------


@given(data=st.data(), method=st.sampled_from([AR(), SeedExact(2), SeedExact(5, "repeat"), SeedExact(8, "above")]),
       scenario=st.sampled_from(sorted(SCENARIOS)), seed=st.integers(0, 2**62), at_once=st.integers(1, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_continuing_gives_the_same_second_half(
    data: st.DataObject, method: Method, scenario: str, seed: int, at_once: int
) -> None:
    """From any first tokens, a different number in each row, in a fresh session: the rest is the same."""
    kinds = [SCENARIOS[scenario].kind_of(row) for row in range(4)]
    lengths, layouts = [kind.length for kind in kinds], [kind.layout for kind in kinds]
    whole = decode(SCENARIOS[scenario].session(4), lengths, method=method, layout=layouts, seed=seed)
    known = [whole.tokens[row, : data.draw(st.integers(0, length))] for row, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "READ_AT_ONCE", at_once)  # so that given tokens are read in several forwards
        rest = decode(SCENARIOS[scenario].session(4), lengths, method=method, layout=layouts, seed=seed, given=known)
    assert torch.equal(rest.tokens, whole.tokens)
    assert rest.trace.committed.sum(0).tolist() == [
        length - len(one) for length, one in zip(lengths, known, strict=True)
    ]


@pytest.mark.parametrize("method", VARIED, ids=method_name)
def test_given_tokens_are_kept(method: Method) -> None:
    """Every method starts behind the given tokens and leaves them as they are, also where they fill the row."""
    for count in (1, 270, 300):
        known = torch.arange(2 * count).view(2, count) % 50
        length = 300 if count > 1 else 30
        decoded = decode(ChainSession(50, torch.arange(2)), length, method=method, given=known, seed=4)
        assert torch.equal(decoded.tokens[:, :count], known)
        assert ((decoded.tokens >= 0) & (decoded.tokens < 50)).all()
        assert decoded.trace.committed.sum(0).tolist() == [length - count] * 2
    assert decoded.trace.nfe.tolist() == [0, 0]


def test_given_tokens_are_independent_of_the_batch() -> None:
    """A row with given tokens goes on alone as it does beside rows with more or fewer."""
    known = [torch.tensor([5, 6, 7]), torch.tensor([], dtype=torch.long), torch.arange(20)]
    for method in [AR(), *methods(5, "above")]:
        together = decode(ChainSession(50, torch.arange(3)), 25, method=method, given=known, seed=4).tokens
        for row in range(3):
            alone = decode(ChainSession(50, torch.tensor([row])), 25, method=method, given=[known[row]], seed=4 + row)
            assert torch.equal(alone.tokens[0], together[row])
