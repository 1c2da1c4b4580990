"""Every argument that does not fit is refused in one sentence that says which, and what to give instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Layout, Method, Sampling, SeedExact, SessionBase, decode
from tests.decoding.helpers import ChainSession

CODES = torch.tensor([2, 3, 5])
FREE = Layout.free(6, CODES)
NOTHING = torch.full((6,), -1)
SETS = Layout(CODES, torch.tensor([-1, -1, 7, -1, -1, -1]), legal=torch.tensor([[1, 1, 0], [0, 1, 1]]).bool(),
              legal_set=torch.tensor([0, 1, 0, 1, 0, 1]))


def session(batch: int = 2) -> ChainSession:
    return ChainSession(10, torch.arange(batch))


@pytest.mark.parametrize(("length", "arguments", "sentence"), [
    (0, {}, "length is 0: give at least 1"),
    ([3, -1], {}, "length is -1: give at least 1"),
    ([3], {}, "length has 1 entries: give one number, or one for each of 2 rows"),
    ([3, 3, 3], {}, "length has 3 entries"),
    (3, {"seed": -1}, r"seed is -1 in row 0: give whole numbers from 0 to 2\^63 - 1"),
    (3, {"seed": 2**63}, "seed is 9223372036854775808 in row 0: give whole numbers"),
    (3, {"seed": 2**63 - 1}, "seed is 9223372036854775808 in row 1: give whole numbers"),
    (3, {"seed": [1]}, "1 seeds: give one number, or one for each of 2 rows"),
    (3, {"seed": [1, -4]}, "seed is -4"),
    (3, {"layout": [FREE]}, "1 layouts: give one, or one for each of 2 rows"),
    (7, {"layout": FREE}, "row 0 has length 7, but its layout ends after 6 tokens"),
    ([6, 4], {"layout": [FREE, Layout.free(3, CODES)]}, "row 1 has length 4, but its layout ends after 3 tokens"),
    (3, {"layout": Layout.free(3, 11)}, "the layout names token 10: the session has ids 0 to 9"),
    (3, {"layout": Layout.grid(1, 2, CODES, row_end=12)}, "the layout names token 12: the session has ids 0 to 9"),
    (3, {"layout": [FREE, Layout.free(6, 4)]}, "row 1 draws from other codes than row 0"),
    (3, {"layout": [FREE, SETS]}, "row 1 draws from other codes than row 0"),
    (6, {"given": torch.tensor([[2]])}, "given tokens for 1 rows: the session has 2"),
    (6, {"given": [torch.tensor([2]), torch.tensor([[2]])]}, r"given tokens of row 1 have shape \(1, 1\)"),
    (6, {"given": torch.tensor(4)}, "given"),
    (3, {"given": torch.full((2, 4), 2)}, r"given tokens of row 0 have shape \(4,\): give one dimension of at most 3"),
    (6, {"layout": FREE, "given": [[2, 3], [2, 4]]}, "given token 4 at index 1 of row 1 is not legal there"),
    (6, {"layout": FREE, "given": [[2, -1], [2, 3]]}, "given token -1 at index 1 of row 0 is not legal there"),
    (6, {"given": [[2, 10], [2, 3]]}, "given token 10 at index 1 of row 0 is not legal there"),
    (6, {"layout": SETS, "given": [[3, 3], [5]]}, "given token 5 at index 0 of row 1 is not legal there"),
    (6, {"layout": SETS, "given": [[3, 3, 3], [3]]}, "given token 3 at index 2 of row 0 is not legal there"),
])
def test_decode_refuses(length: Any, arguments: dict[str, Any], sentence: str) -> None:
    """Lengths, seeds, layouts and given tokens that do not fit the session or each other."""
    with pytest.raises(ValueError, match=sentence):
        decode(session(), length, method=SCD(3), **arguments)


def test_legal_given_tokens_are_taken() -> None:
    """The counterpart of the refusals: forced tokens and codes of the right set pass."""
    tokens = decode(session(), 6, layout=SETS, given=[[3, 5, 7, 3], [2]], seed=0).tokens
    assert tokens[0, :4].tolist() == [3, 5, 7, 3]


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: SJD(window=0), "window is 0: give a whole number of at least 1"),
    (lambda: SCD(window=-3), "window is -3: give a whole number"),
    (lambda: SeedExact(window=2.5), "window is 2.5: give a whole number"),  # type: ignore[arg-type]
    (lambda: SJD(window="64"), "window is 64: give a whole number"),  # type: ignore[arg-type]
    (lambda: SJD(first_guess="zeros"), "first_guess is 'zeros': give one of uniform, random, repeat, above"),
    (lambda: SCD(coupling="maximal", branches=4), "branches are given with maximal coupling"),
    (lambda: SeedExact(branches=-1), "branches is -1: give a whole number of at least 0"),
    (lambda: SCD(coupling="independent"), "coupling is 'independent': give 'gumbel' or 'maximal'"),
])
def test_methods_refuse(make: Any, sentence: str) -> None:
    """Windows, first guesses and couplings that do not exist."""
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("make", [
    lambda: AR(window=2), lambda: AR(predict=True), lambda: AR(branches=5),  # type: ignore[call-arg]
    lambda: SJD(predict=True), lambda: SJD(branches=4),  # type: ignore[call-arg]
    lambda: Method(),  # type: ignore[abstract]
])
def test_a_field_exists_only_where_it_means_something(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


def test_any_whole_number_is_one() -> None:
    """NumPy's and torch's integers come out of arithmetic and configurations."""
    eight = np.int64(8)
    assert SeedExact(eight, branches=eight) == SeedExact(8, branches=8)
    assert Sampling(top_k=eight) == Sampling(top_k=8)
    tokens = [decode(session(), 6, method=SeedExact(window, branches=window), seed=0).tokens for window in (8, eight)]
    assert torch.equal(*tokens)


def test_branches_need_a_session_that_reads_them() -> None:
    """One sentence, and what to do."""

    class Plain(SessionBase):
        vocab_size, last_token, last_position = 5, torch.tensor([1]), torch.tensor([0])

        def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
            return torch.zeros(*tokens.shape, 5)

    assert decode(Plain(), 3, method=SeedExact(2), seed=0).tokens.shape == (1, 3)
    with pytest.raises(ValueError, match=r"Plain reads no branches: give a method with branches=0"):
        decode(Plain(), 3, method=SeedExact(2, branches=1), seed=0)


def test_methods_have_names_of_their_own() -> None:
    """Results of two methods are never filed under one name."""
    methods: list[Method] = [AR(), SJD(), SCD(), SCD(coupling="maximal"), SeedExact()]
    assert [method.name for method in methods] == ["AR", "SJD", "SCD-gumbel", "SCD-maximal", "SeedExact"]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"codes": torch.tensor([], dtype=torch.long)}, "give at least one vocabulary id"),
    ({"codes": torch.tensor([2, 2])}, "increasing and without repeats"),
    ({"codes": torch.tensor([3, 2])}, "increasing and without repeats"),
    ({"codes": torch.tensor([-1, 2])}, "codes of a layout"),
    ({"above": NOTHING[:5]}, r"above has shape \(5,\): give that of forced, \(6,\)"),
    ({"above": torch.arange(6)}, "above points at the index itself or a later one"),
    ({"legal": SETS.legal}, "legal and legal_set of a layout go together"),
    ({"legal_set": SETS.legal_set}, "legal and legal_set of a layout go together"),
    ({"legal": torch.tensor([[1, 0, 0], [0, 0, 0]]).bool(), "legal_set": SETS.legal_set}, "of legal codes is empty"),
    ({"legal": torch.ones(2, 4).bool(), "legal_set": SETS.legal_set}, "legal"),  # four columns for three codes
    ({"legal": SETS.legal, "legal_set": torch.zeros(4, dtype=torch.long)}, "legal_set"),  # shorter than the stream
    ({"legal": SETS.legal, "legal_set": torch.full((6,), 2)}, "legal_set"),  # there are only two sets
    ({"legal": SETS.legal, "legal_set": torch.full((6,), -1)}, "legal_set"),
])
def test_layouts_refuse(arguments: dict[str, Tensor], sentence: str) -> None:
    """A stream that contradicts itself is refused where it is made, not somewhere inside the decoder."""
    with pytest.raises(ValueError, match=sentence):
        Layout(**{"codes": CODES, "forced": NOTHING, "above": NOTHING, **arguments})


@pytest.mark.parametrize(("height", "width"), [(0, 3), (3, 0), (-1, 2)])
def test_empty_grids_are_refused(height: int, width: int) -> None:
    """A picture has at least one code."""
    with pytest.raises(ValueError, match=f"a grid of {height} x {width} codes: give at least 1 x 1"):
        Layout.grid(height, width, 5)


def test_a_grid_is_laid_out_in_raster_order() -> None:
    """Forced tokens stand in their places, and neighbours one row up are a row's length away."""
    layout = Layout.grid(2, 3, 5, row_end=8, prefix=[6, 7], suffix=[9])
    assert layout.forced.tolist() == [6, 7, -1, -1, -1, 8, -1, -1, -1, 8, 9]
    assert layout.above.tolist() == [-1, -1, -1, -1, -1, -1, 2, 3, 4, -1, -1]
    assert layout.codes.tolist() == [0, 1, 2, 3, 4]
    plain = Layout.grid(2, 2, torch.tensor([1, 5]))
    assert plain.forced.tolist() == [-1] * 4
    assert plain.above.tolist() == [-1, -1, 0, 1]


class Misbehaved(ChainSession):
    """Gives what ``change`` makes of right logits."""

    def __init__(self, change: Any) -> None:
        super().__init__(10, torch.arange(2))
        self.change = change

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        return self.change(super().forward(tokens, positions, rows))


@pytest.mark.parametrize("change", [
    lambda logits: logits.half(),
    lambda logits: logits.bfloat16(),
    lambda logits: logits[:, -1],
    lambda logits: logits[:, :-1],
    lambda logits: logits.mT,
    lambda logits: logits[:1],
    lambda logits: logits[..., :-1],
    lambda logits: logits.repeat(1, 1, 2),
], ids=["half", "bfloat16", "last only", "too few", "transposed", "one row", "too few columns", "too many columns"])
def test_logits_of_a_wrong_shape_are_refused(change: Any) -> None:
    """A session that breaks the contract is named as such, with what it gave."""
    with pytest.raises(ValueError, match=r"the session gave .*logits of shape"):
        decode(Misbehaved(change), 6, method=SCD(4), seed=0)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0), Sampling(top_k=2), Sampling(top_p=0.5)])
def test_logits_that_are_not_a_number_are_refused(sampling: Sampling) -> None:
    """An overflow of the model names the row, and does not become a picture."""
    spoilt = Misbehaved(lambda logits: logits.index_fill(0, torch.tensor([1]), torch.nan))
    with pytest.raises(ValueError, match="the session gave NaN logits for row 1"):
        decode(spoilt, 6, method=SCD(4), sampling=sampling, seed=0)


def test_a_layout_that_the_session_has_no_logits_for() -> None:
    """A session that computes some codes only cannot draw others."""
    some = session()
    some.output_codes = torch.tensor([1, 2, 3])
    with pytest.raises(ValueError, match=r"the layout may draw token 5, .*the session's output_codes"):
        decode(some, 6, layout=FREE)
