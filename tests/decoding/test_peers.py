"""Methods of others: the lossless ones follow the joint law, the lossy ones do not, and all have their exact limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Layout, Method, Sampling, SeedExact, Step, decode
from coupled_decoding.decoding.layout import BatchLayout
from coupled_decoding.decoding.peers import GSD, PAC, Jacobi, ZipAR, pac
from coupled_decoding.decoding.peers.gsd import neighbours
from coupled_decoding.decoding.peers.zipar import staircase
from coupled_decoding.decoding.rules.window import Window
from tests.decoding.helpers import SCENARIOS, THRESHOLD, ChainSession, assert_agrees, counts_and_laws, p_value

GRIDS = [Layout.grid(h, w, torch.arange(5, 60), row_end=0, prefix=[2], suffix=[1]) for h, w in [(4, 5), (2, 3), (6, 6)]]
LENGTHS = [26, 6, 31]  # two rows end before their grids do
PEERS: list[Method] = [
    Jacobi(8), GSD(8, group=4), PAC(8), PAC(6, "above", 3, 4), ZipAR(ahead=2), ZipAR(16, ahead=1),
]


def tokens_of(method: Method, sampling: Sampling | None = None, layouts: list[Layout] | None = None) -> Tensor:
    session = ChainSession(60, torch.arange(3), torch.float64)
    layouts = GRIDS if layouts is None else layouts
    return decode(session, LENGTHS, method=method, sampling=sampling, layout=layouts, seed=3).tokens


# -- what is lossless, and what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "scenario", "sampling", "dtype"), [
    (PAC(3, tree_width=3, tree_depth=2), "many codes", Sampling(), torch.float64),
    (PAC(4, "repeat", tree_width=2, tree_depth=3), "legal", Sampling(top_k=2), torch.float32),
], ids=["PAC-3-many codes", "PAC-4-legal-top_k"])
def test_decoding_follows_the_joint_law(
    method: Method, scenario: str, sampling: Sampling, dtype: torch.dtype
) -> None:
    """As in test_exactness: 200,000 decodes in batches of unequal rows, by chi-square."""
    assert method.lossless
    for counts, law in counts_and_laws(SCENARIOS[scenario], method, sampling, 200_000, 5 * 10**9, dtype):
        assert_agrees(counts, law)


def likeliest_siblings(window: Window, offset: int, count: int) -> Tensor:
    """The likeliest codes beside the draft, where the acceptance takes them for drawn ones."""
    others = window.labels[:, offset].scatter(1, window.drafts[:, offset : offset + 1], 0.0).topk(count)
    there = (others.values > 0) & (window.size - 1 > offset).unsqueeze(1)
    return torch.where(there, others.indices, -1)


def test_candidates_that_were_not_drawn_are_caught() -> None:
    method = PAC(3, tree_width=2, tree_depth=3)

    def least_p_value() -> float:
        results = counts_and_laws(SCENARIOS["short"], method, Sampling(), 30_000, seed=10**6)
        return min(p_value(counts, law) for counts, law in results)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pac, "_siblings", likeliest_siblings)
        assert least_p_value() < THRESHOLD
    assert least_p_value() > THRESHOLD


@pytest.mark.parametrize(("method", "scenario"), [
    (Jacobi(3), "short"), (GSD(3, group=2), "short"), (ZipAR(8, ahead=1), "grid"),
], ids=lambda value: value.name if isinstance(value, Method) else value)
def test_lossy_methods_are_lossy(method: Method, scenario: str) -> None:
    assert not method.lossless
    results = counts_and_laws(SCENARIOS[scenario], method, Sampling(), 20_000, seed=10**6)
    assert min(p_value(counts, law) for counts, law in results) < THRESHOLD


def test_the_methods_of_the_package_are_lossless() -> None:
    assert all(method.lossless for method in (AR(), SJD(), SCD(), SCD(coupling="maximal"), SeedExact(), GSD(group=1)))


# -- exact limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.7, top_k=20)])
def test_jacobi_is_greedy_decoding_whatever_the_sampling(sampling: Sampling) -> None:
    assert torch.equal(tokens_of(Jacobi(8), sampling), tokens_of(AR(), Sampling(temperature=0)))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=5)])
def test_groups_of_one_code_are_sjd(sampling: Sampling) -> None:
    assert torch.equal(tokens_of(GSD(8, group=1), sampling), tokens_of(SJD(8), sampling))


def test_larger_groups_take_fewer_forwards() -> None:
    session = ChainSession(60, torch.arange(3))
    forwards = [int(decode(session, 100, method=method, seed=0).trace.nfe.sum())
                for method in (SJD(8), GSD(8, group=4), GSD(8, group=60))]
    assert forwards[0] > forwards[1] > forwards[2]


def test_a_group_is_the_codes_around_a_draft_in_the_order_of_probabilities() -> None:
    target = torch.tensor([.1, .4, 0., .2, .3]).expand(1, 5, 5)  # the order is 1, 4, 3, 0, 2
    groups = neighbours(target, torch.arange(5).unsqueeze(0), 4)[0]
    expected = [[4, 3, 0, 2], [1, 4, 3, 0], [4, 3, 0, 2], [4, 3, 0, 2], [1, 4, 3, 0]]
    assert groups.tolist() == expected
    assert torch.equal(neighbours(target, torch.arange(5).unsqueeze(0), 1)[0, :, 0], torch.arange(5))


@pytest.mark.parametrize("method", [ZipAR(64, ahead=6), ZipAR(1, ahead=2), ZipAR(5, ahead=50)])
def test_rows_after_each_other_are_ar(method: Method) -> None:
    """Where a row begins when the one above is full, or does not fit in the window before."""
    assert torch.equal(tokens_of(method), tokens_of(AR()))


def test_a_picture_of_one_row_is_ar() -> None:
    for layouts in ([Layout.free(31, 60)] * 3, [Layout.grid(1, 31, 60)] * 3):
        assert torch.equal(tokens_of(ZipAR(ahead=1), layouts=layouts), tokens_of(AR(), layouts=layouts))


# -- rows side by side -------------------------------------------------------------------------------------------------


def turns(layout: Layout, start: int = 0, ahead: int = 2, window: int = 64) -> list[int]:
    stream = BatchLayout.stack([layout], [layout.length], torch.device("cpu"))
    return staircase(stream, [start], ahead, window)[0].tolist()


def test_a_row_begins_when_the_row_above_is_ahead() -> None:
    assert turns(Layout.grid(3, 4, 9)) == [0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7]
    # forced tokens take no turn
    assert turns(Layout.grid(2, 3, 9, row_end=9, prefix=[10], suffix=[11])) == [-1, 0, 1, 2, 2, 2, 3, 4, 4, 4]
    # what is given is there
    assert turns(Layout.grid(3, 4, 9), start=6) == [-1] * 6 + [0, 1, 0, 1, 2, 3]
    # frames follow each other
    assert turns(Layout.clip(2, 2, 2, 9), ahead=1) == [0, 1, 1, 2, 3, 4, 4, 5]
    # the third row has to wait for the window
    assert turns(Layout.grid(3, 4, 9), ahead=1, window=5) == [0, 1, 2, 3, 1, 2, 3, 4, 4, 5, 6, 7]


@pytest.mark.parametrize("method", [ZipAR(64, ahead=2), ZipAR(9, ahead=1), ZipAR(7, ahead=3)])
@pytest.mark.parametrize("given", [[[], [], []], [[2, 7, 8], [2], [2, 9, 9, 9, 9, 9, 9, 0]]])
def test_what_is_decided_stays_and_is_decided_in_its_turn(method: ZipAR, given: list[list[int]]) -> None:
    drafts: list[Tensor] = []

    def listen(step: Step) -> None:
        drafts.append(step.drafts)

    session = ChainSession(60, torch.arange(3), torch.float64)
    known = [torch.tensor(row, dtype=torch.long) for row in given]
    decoded = decode(session, LENGTHS, method=method, layout=GRIDS, seed=3, given=known, on_step=listen)
    stream = BatchLayout.stack(GRIDS, LENGTHS, torch.device("cpu"))
    turn = staircase(stream, [len(row) for row in given], method.ahead, method.window)
    inside = torch.arange(turn.shape[1]) < torch.tensor(LENGTHS).unsqueeze(1)
    for visit, standing in enumerate(drafts):
        decided = inside & (turn <= visit)
        assert torch.equal(standing[decided], decoded.tokens[decided])
    assert (decoded.trace.fed <= method.window).all()
    # forced tokens at the end take one forward more
    last = torch.where(inside, turn, -1).amax(1)
    assert ((decoded.trace.nfe == last + 1) | (decoded.trace.nfe == last + 2)).all()


# -- as any other method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PEERS, ids=lambda method: f"{method.name}-{method.window}")
def test_a_row_does_not_depend_on_its_batch(method: Method) -> None:
    together = tokens_of(method)
    for row in range(3):
        session = ChainSession(60, torch.tensor([row]), torch.float64)
        alone = decode(session, LENGTHS[row], method=method, layout=GRIDS[row], seed=3 + row).tokens
        assert torch.equal(alone[0], together[row, : LENGTHS[row]])


def test_the_tree_is_counted_as_read() -> None:
    session = ChainSession(60, torch.arange(2))
    fed = decode(session, 100, method=PAC(), seed=0).trace.fed
    assert fed[0].tolist() == [64, 64]  # a window of 46, and 3 + 15 tokens beside it
    assert (fed <= 64).all()


@pytest.mark.parametrize(("build", "sentence"), [
    (lambda: GSD(group=0), r"group is 0: give a whole number of at least 1 \(1 is SJD\)"),
    (lambda: PAC(tree_width=1), "tree_width is 1: give a whole number of at least 2, or SCD with coupling='maximal'"),
    (lambda: PAC(tree_depth=1), "tree_depth is 1: give a whole number of at least 2"),
    (lambda: ZipAR(ahead=0), "ahead is 0: give a whole number of at least 1"),
    (lambda: ZipAR(window=0), "window is 0: give a whole number of at least 1"),
])
def test_refusals(build: Callable[[], Method], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build()


@pytest.mark.parametrize("build", [
    lambda: Jacobi(8, predict=True), lambda: GSD(8, branches=4), lambda: PAC(8, branches=4),
    lambda: ZipAR(8, predict=True), lambda: ZipAR(first_guess="uniform"),
])
def test_methods_as_published_know_no_other_options(build: Callable[[], Method]) -> None:
    with pytest.raises(TypeError):
        build()
