"""What decode reports while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coupled_decoding import AR, SCD, SJD, Decoded, Layout, Method, SeedExact, Step, decode
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from tests.decoding.helpers import ChainSession

METHODS: list[Method] = [AR(), SJD(8), SCD(8, coupling="maximal"), SCD(8), SCD(5, "above"), SeedExact(8, "repeat")]
LAYOUTS = [Layout.grid(h, w, torch.arange(5, 60), row_end=0, suffix=[1]) for h, w in [(4, 5), (2, 3), (6, 6)]]
LENGTHS = [25, 5, 30]  # two rows end before their grids do, with forced tokens behind them


Listener = Callable[[Step], bool | None]


def decode_rows(method: Method, seed: int = 3, on_step: Listener | None = None) -> Decoded:
    session = ChainSession(60, torch.arange(3))
    return decode(session, LENGTHS, method=method, layout=LAYOUTS, seed=seed, on_step=on_step)


def names(method: Method) -> str:
    return f"{method.name}-{method.window}-{asdict(method).get('first_guess')}"


@given(method=st.sampled_from(METHODS), seed=st.integers(0, 2**62))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_trace_adds_up(method: Method, seed: int) -> None:
    """Tokens committed sum to the lengths, one to a window's worth each step; changed drafts are pending ones."""
    trace = decode_rows(method, seed).trace
    committed, changed, pending = trace.committed, trace.changed, trace.pending
    assert committed.shape == changed.shape == pending.shape == (trace.steps, 3)
    assert committed.sum(0).tolist() == LENGTHS
    assert (committed <= method.window).all()
    assert torch.equal(trace.nfe, (committed > 0).sum(0))
    assert (trace.nfe <= torch.tensor(LENGTHS)).all()
    assert trace.steps == int(trace.nfe.max())
    for row, forwards in enumerate(trace.nfe.tolist()):  # a row takes part in every step until it is finished
        assert (committed[:forwards, row] > 0).all()
        assert (committed[forwards:, row] == 0).all()
        assert (pending[forwards:, row] == 0).all()
    assert ((changed >= 0) & (changed <= pending)).all()
    # of the window's drafts, one place fewer than its positions, those committed are not pending
    assert (pending + committed <= method.window).all()
    # what is read is the window, as far as the row goes
    left = torch.tensor(LENGTHS) - (committed.cumsum(0) - committed)
    assert torch.equal(trace.fed, left.clamp(max=method.window))
    assert torch.allclose(trace.tokens_per_forward, torch.tensor(LENGTHS) / trace.nfe)
    assert trace.seconds_model > 0
    assert trace.seconds_outside > 0


def test_tokens_of_branches_are_counted_as_read() -> None:
    """A step reads its window and as many branch tokens as there are places for, at most those asked for."""
    session = TabularSession.random(4, 6, torch.tensor([0, 1]), seed=3)
    trace = decode(session, [6, 4], method=SeedExact(4, branches=5), seed=1).trace
    left = torch.tensor([6, 4]) - (trace.committed.cumsum(0) - trace.committed)
    beside = trace.fed - left.clamp(max=4)
    assert ((beside >= 0) & (beside <= 5)).all()
    assert (beside[0] == 5).all()
    assert (beside[left == 1] == 0).all()  # nothing may branch behind the last token


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_steps_tell_what_stands(method: Method) -> None:
    """Counts only grow, partial tokens are the beginning of the final ones, and drafts follow them."""
    steps: list[Step] = []
    seen = []

    def listen(step: Step) -> None:
        steps.append(step)
        seen.append((step.tokens, step.drafts))

    decoded = decode_rows(method, on_step=listen)
    assert [step.number for step in steps] == list(range(1, decoded.trace.steps + 1))
    committed = torch.tensor([step.committed for step in steps])
    assert torch.equal(committed, decoded.trace.committed.cumsum(0))
    assert [step.nfe for step in steps] == [step.number for step in steps]
    assert steps[-1].committed == LENGTHS
    for step, (tokens, drafts) in zip(steps, seen, strict=True):
        assert step.lengths == LENGTHS
        for row, count in enumerate(step.committed):
            assert torch.equal(tokens[row, :count], decoded.tokens[row, :count])
            assert (tokens[row, count:] == -1).all()
            assert torch.equal(drafts[row, :count], decoded.tokens[row, :count])
            assert (drafts[row, LENGTHS[row] :] == -1).all(), "no drafts past the end of a row"
        # a step that is read later still tells what stood then
        assert torch.equal(step.tokens, tokens)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_returning_false_stops(method: Method) -> None:
    """What is committed comes back, -1 for the rest, and it is the beginning of the whole decode."""
    whole = decode_rows(method)
    for stop in (1, 3):
        stopped = decode_rows(method, on_step=lambda step, stop=stop: step.number < stop)
        assert stopped.trace.steps == stop
        for row, count in enumerate(stopped.trace.committed.sum(0).tolist()):
            assert torch.equal(stopped.tokens[row, :count], whole.tokens[row, :count])
            assert (stopped.tokens[row, count:] == -1).all()


def test_listening_changes_nothing() -> None:
    """Only False stops: None, 0 and True do not, and tokens are the same with a listener and without."""
    for method in METHODS:
        expected = decode_rows(method).tokens
        for answer in (None, 0, True):
            assert torch.equal(decode_rows(method, on_step=lambda step, answer=answer: answer).tokens, expected)


def test_time_of_a_listener_is_not_the_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview that takes long does not make a method look slow; the clock goes on in the listener only."""
    clock = [0.0]
    monkeypatch.setattr("coupled_decoding.decoding.loop.time.perf_counter", lambda: clock[0])

    def listen(step: Step) -> bool:
        clock[0] += 100
        return step.number < 3

    trace = decode_rows(SCD(8), on_step=listen).trace
    assert clock == [300]
    assert (trace.seconds_model, trace.seconds_outside) == (0, 0)


def test_given_tokens_count_as_committed_but_not_as_work() -> None:
    """Steps include what was given; the trace counts what was decoded."""
    steps: list[Step] = []
    decoded = decode(ChainSession(60, torch.arange(2)), 10, method=SCD(4), given=torch.tensor([[5, 6], [7, 8]]), seed=0,
                     on_step=steps.append)
    assert all(min(step.committed) > 2 for step in steps)
    assert steps[-1].committed == [10, 10]
    assert decoded.trace.committed.sum(0).tolist() == [8, 8]


def test_coupling_changes_fewer_drafts() -> None:
    """Where tokens depend little on those before them, coupled drafts stay and independent ones do not."""
    session = ChainSession(60, torch.arange(8))
    session.after *= 0.3
    share = {}
    for method in (SJD(16), SCD(16, coupling="maximal"), SCD(16)):
        trace = decode(session, 100, method=method, seed=0).trace
        share[method.name] = int(trace.changed.sum()) / int(trace.pending.sum())
    assert share["SCD-maximal"] < share["SJD"] / 2
    assert share["SCD-gumbel"] < share["SJD"] / 2
