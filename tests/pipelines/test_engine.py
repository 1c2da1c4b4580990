"""Requests that come, end and are cancelled at any step: each gives what it gives alone."""

from __future__ import annotations

import gc
import random
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import coupled_decoding as cd
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from tests.conftest import write_tiny_emoji
from tests.decoding.helpers import assert_agrees, law_of
from tests.models.families.test_emu3 import write_port
from tests.pipelines.tables import TableRequest, Tables

METHODS = [
    cd.AR(), cd.SJD(3), cd.SCD(3), cd.SCD(4, "above", coupling="maximal", predict=True),
    cd.SCD(4, "repeat", predict=True, branches=4), cd.SeedExact(3, "random"), cd.SeedExact(4, predict=True, branches=5),
    cd.SCD(4, "previous-frame-distribution"), cd.SeedExact("auto"), cd.PAC(4), cd.Jacobi(3), cd.GSD(3, group=2),
    cd.ZipAR(4, ahead=1),
]
SAMPLINGS = [cd.Sampling(), cd.Sampling(temperature=0.8, top_k=2), cd.Sampling(top_p=0.7)]
DRAWS = 200_000
COMPARED = ["grid", "legal", "clip"]


@cache
def tables(scenario: str) -> Tables:
    return Tables(scenario)


@cache
def alone(scenario: str, request: TableRequest, method: cd.Method) -> cd.Decoded:
    return tables(scenario).alone(request, method)


ACTIONS = st.lists(
    st.tuples(st.just("submit"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))
    | st.tuples(st.just("step")) | st.tuples(st.just("cancel"), st.integers(0, 40)),
    min_size=5, max_size=60,
)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@settings(max_examples=15, deadline=None)
@given(actions=ACTIONS, batch=st.integers(1, 4), scenario=st.sampled_from(COMPARED))
def test_a_request_gives_what_it_gives_alone(
    method: cd.Method, actions: list[tuple], batch: int, scenario: str
) -> None:
    """Whatever is submitted, cancelled and ends around it: tokens, forwards and tokens read, in float64."""
    engine = cd.Engine(tables(scenario), batch=batch, method=method)
    asked: dict[cd.Ticket, TableRequest] = {}
    ended: list[cd.Ticket] = []
    for name, *numbers in actions:
        if name == "submit":
            kind, seed, sampling = numbers
            request = TableRequest(kind, seed, SAMPLINGS[sampling])
            asked[engine.submit(request)] = request
        elif name == "cancel" and asked:
            engine.cancel([*asked][numbers[0] % len(asked)])
        else:
            ended += engine.step()
        assert len(engine.running) <= batch
        for ticket in engine.running:  # what is committed never changes
            standing = ticket.tokens
            final = alone(scenario, asked[ticket], method).tokens[0]
            assert torch.equal(standing, torch.where(standing >= 0, final, -1))
    ended += engine.drain()
    assert engine.idle
    assert engine.step() == []
    assert {ticket.state for ticket in asked} <= {"done", "cancelled"}
    assert {*ended} == {ticket for ticket in asked if ticket.state == "done"}
    assert len({*ended}) == len(ended)
    for ticket, request in asked.items():
        expected = alone(scenario, request, method)
        if ticket.state == "done":
            assert torch.equal(ticket.tokens, expected.tokens[0])
            assert ticket.result[0] == expected.tokens[0].tolist()
            if method.window != "auto":
                assert ticket.forwards == int(expected.trace.nfe[0])
                assert torch.equal(ticket.trace.fed, expected.trace.fed)
        else:
            standing = ticket.tokens
            assert torch.equal(standing, torch.where(standing >= 0, expected.tokens[0], -1))


@pytest.mark.parametrize("method", [
    cd.SCD(3), cd.SCD(3, coupling="maximal"), cd.SeedExact(3, predict=True), cd.SCD(4, predict=True, branches=3),
], ids=repr)
def test_the_joint_law_is_exact_under_random_joins_and_cancellations(method: cd.Method) -> None:
    """200,000 requests in all: those that nobody cancels follow the model's law, whoever is cancelled beside them.

    Who will be cancelled, and after how many steps, is chosen when a request comes: choosing by what it has committed
    would choose among the sequences.
    """
    pipe, generator = Tables("short"), random.Random(5)
    engine = cd.Engine(pipe, batch=1500, method=method)
    found: list[Counter[tuple[int, ...]]] = [Counter() for _ in pipe.scenario.kinds]
    kind_of: dict[cd.Ticket, int] = {}
    doomed: list[tuple[int, cd.Ticket]] = []  # the step at which each is cancelled
    seed = step = cancelled = 0
    while len(kind_of) or seed < DRAWS // 4:
        for _ in range(generator.randrange(0, 900) if seed < DRAWS // 4 else 0):
            kind = generator.randrange(len(found))
            ticket = engine.submit(TableRequest(kind, seed))
            seed += 1
            if generator.random() < 0.1:
                doomed.append((step + generator.randrange(4), ticket))
            else:
                kind_of[ticket] = kind
        for ticket in engine.step():
            if ticket in kind_of:
                found[kind_of.pop(ticket)][tuple(ticket.tokens.tolist())] += 1
        step += 1
        for _, ticket in (due := [one for one in doomed if one[0] <= step]):
            engine.cancel(ticket)
            cancelled += ticket.state == "cancelled"
        doomed = [one for one in doomed if one not in due]
    assert cancelled > DRAWS // 200
    for kind, sequences in zip(pipe.scenario.kinds, found, strict=True):
        counts = torch.zeros([pipe.scenario.vocab_size] * kind.length, dtype=torch.long)
        for sequence, count in sequences.items():
            counts[sequence] = count
        assert_agrees(counts, law_of(pipe.read([pipe.plan(TableRequest(0, 0))]), kind, cd.Sampling()))


# -- requests that end before their time -------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "kept"), [(cd.AR(), 2), (cd.SCD(2), 1), (cd.SeedExact(3, predict=True), 0)])
def test_a_row_without_numbers_fails_alone(method: cd.Method, kept: int) -> None:
    """Logits of one prompt that are NaN at the third token: its ticket keeps what was committed, the others go on.

    With a window of more than one token a row ends as soon as it reads that far ahead.
    """
    pipe, whole = Tables("free"), tables("free")
    pipe.tables[2] = pipe.tables[2].clone()
    pipe.tables[2][1] = torch.nan
    engine = cd.Engine(pipe, batch=2, method=method)
    asked = [TableRequest(kind, seed) for seed in range(4) for kind in range(3)]
    tickets = [engine.submit(request) for request in asked]
    assert len([*engine.drain()]) == len(tickets)
    for ticket, request in zip(tickets, asked, strict=True):
        expected = whole.alone(request, method).tokens[0]
        if request.kind == 1:
            assert ticket.state == "failed"
            standing = int((ticket.tokens >= 0).sum())
            assert kept <= standing <= 2
            assert torch.equal(ticket.tokens, torch.where(torch.arange(5) < standing, expected, -1))
            with pytest.raises(ValueError, match="the model gave NaN logits: float16 may have overflowed"):
                ticket.result  # noqa: B018
        else:
            assert (ticket.state, ticket.error) == ("done", None)
            assert torch.equal(ticket.tokens, expected)


def test_a_prompt_that_cannot_be_read_fails_alone() -> None:
    """Also where it would have been read together with others, and it takes no place from them."""
    pipe = Tables("free", unreadable=[1])
    engine = cd.Engine(pipe, batch=2, method=cd.AR())
    tickets = [engine.submit(TableRequest(kind, 0)) for kind in (0, 1, 1, 2, 1)]
    failed = engine.step()
    assert failed == [tickets[1], tickets[2]]
    assert [ticket.state for ticket in tickets] == ["running", "failed", "failed", "running", "waiting"]
    assert [*engine.drain()] == [tickets[3], tickets[4], tickets[0]]
    assert str(tickets[4].error) == "prompt 1 cannot be read"
    assert tickets[4].tokens.tolist() == [-1] * 5


def test_an_error_of_the_machine_loses_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Tables("free")
    engine = cd.Engine(pipe, batch=2, method=cd.AR())
    tickets = [engine.submit(TableRequest(kind, 0)) for kind in (0, 1, 2)]
    with monkeypatch.context() as patched:
        patched.setattr(pipe, "read", lambda plans: torch.empty(2**62))
        with pytest.raises(RuntimeError):
            engine.step()
    assert engine.waiting == tickets
    assert {*engine.drain()} == {*tickets}
    assert {ticket.state for ticket in tickets} == {"done"}


def test_given_tokens_that_are_not_legal_fail_alone() -> None:
    """Which is seen when their row opens, together with that of a neighbour."""
    pipe = Tables("given")
    engine = cd.Engine(pipe, batch=3, method=cd.AR())
    tickets = [engine.submit(TableRequest(kind, 0)) for kind in (1, 0, 2)]
    engine._waiting[1][1].given[0] = 7
    assert engine.step() == [tickets[1]]
    assert "given token 7 at index 0" in str(tickets[1].error)
    assert [*engine.drain()] == [tickets[2], tickets[0]]


def test_a_request_whose_tokens_are_all_given_is_done_at_once() -> None:
    pipe = Tables("given")
    engine = cd.Engine(pipe, batch=3, method=cd.AR())
    ticket = engine.submit(TableRequest(2, 0))
    plan = engine._waiting[0][1]
    engine._waiting[0] = ticket, replace(plan, given=torch.tensor([0, 1, 2, 0]))
    assert engine.step() == [ticket]
    assert (ticket.state, ticket.tokens.tolist(), ticket.forwards) == ("done", [0, 1, 2, 0], 0)
    assert engine.idle


def test_requests_are_cancelled_in_any_state() -> None:
    """A place that becomes free so is taken with the next step, by the request that came first."""
    pipe = Tables("free")
    engine = cd.Engine(pipe, batch=1, method=cd.AR())
    running, waiting, next_one, last = (engine.submit(TableRequest(0, seed)) for seed in range(4))
    engine.step()
    engine.step()
    assert [ticket.state for ticket in (running, waiting)] == ["running", "waiting"]
    engine.cancel(waiting)
    engine.cancel(running)
    assert [ticket.state for ticket in (running, waiting)] == ["cancelled", "cancelled"]
    assert (running.tokens >= 0).tolist() == [True, True, False, False, False]
    assert (running.forwards, waiting.forwards) == (2, 0)
    assert [*engine.drain()] == [next_one, last]
    for ticket in (running, waiting, next_one):
        state, tokens = ticket.state, ticket.tokens
        engine.cancel(ticket)
        assert (ticket.state, ticket.tokens.tolist()) == (state, tokens.tolist())
    with pytest.raises(ValueError, match="ticket 0 is cancelled: it has a result once it is done"):
        running.result  # noqa: B018
    other = cd.Engine(pipe, batch=1, method=cd.AR())
    foreign = other.submit(TableRequest(0, 0))
    engine.submit(TableRequest(0, 0))
    engine.cancel(foreign)
    assert foreign.state == "waiting"


def test_an_idle_engine_computes_nothing_and_keeps_its_session() -> None:
    pipe = Tables("free")
    engine = cd.Engine(pipe, batch=3, method=cd.SCD(3))
    assert engine.idle
    assert engine.step() == []
    engine.submit(TableRequest(0, 1))
    [*engine.drain()]
    (session,) = (lane.session for lane in engine._lanes)
    session.forward = None  # type: ignore[method-assign]
    assert [engine.step() for _ in range(3)] == [[], [], []]
    del session.forward
    again = engine.submit(TableRequest(2, 1))
    assert not engine.idle
    [*engine.drain()]
    assert [lane.session for lane in engine._lanes] == [session]
    assert pipe.read_rows == [3, 1]
    assert torch.equal(again.tokens, pipe.alone(TableRequest(2, 1), cd.SCD(3)).tokens[0])


def test_a_closed_engine_has_cancelled_all() -> None:
    engine = cd.Engine(Tables("free"), batch=1, method=cd.AR())
    tickets = [engine.submit(TableRequest(0, seed)) for seed in range(3)]
    engine.step()
    engine.close()
    assert {ticket.state for ticket in tickets} == {"cancelled"}
    assert engine.idle
    assert engine.step() == []
    with pytest.raises(ValueError, match="the engine is closed: make another one"):
        engine.submit(TableRequest(0, 0))


def test_a_session_that_cannot_be_refilled_is_refused() -> None:
    pipe = Tables("free")
    engine = cd.Engine(pipe, batch=1, method=cd.AR())
    ticket = engine.submit(TableRequest(0, 0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TabularSession, "refills", False)
        assert engine.step() == [ticket]
    assert "TabularSession cannot give its rows other prompts" in str(ticket.error)


# -- pictures and clips ------------------------------------------------------------------------------------------------

PROMPTS = ["a heart", "pizza", "a red heart on a blue ground"]
PICTURE_METHODS = [cd.AR(), cd.SCD(5), cd.SCD(5, predict=True, branches=4), cd.SeedExact(4, "above")]


def picture_request(draw: random.Random) -> cd.Request:
    known = draw.choice([None, None, torch.arange(draw.randrange(12)) % 7])
    return cd.Request(
        draw.choice(PROMPTS), draw.randrange(1000), draw.choice([None, *SAMPLINGS]),
        draw.choice([None, 1.0, 2.0, 3.5]), given=known,
    )


@pytest.mark.parametrize("method", PICTURE_METHODS, ids=repr)
def test_pictures_of_different_requests_are_those_they_are_alone(tiny_emoji: Path, method: cd.Method) -> None:
    """Prompts, seeds, samplings, guidance and given tokens at random, in float64; some are cancelled."""
    pipe, draw = cd.from_pretrained(tiny_emoji, dtype="float64"), random.Random(3)
    engine, asked = cd.Engine(pipe, batch=4, method=method), dict[cd.Ticket, cd.Request]()
    while len(asked) < 24:
        for _ in range(draw.randrange(3)):
            request = picture_request(draw)
            asked[engine.submit(request)] = request
        if draw.random() < 0.1 and asked:
            engine.cancel(draw.choice([*asked]))
        engine.step()
    [*engine.drain()]
    assert sum(ticket.state == "done" for ticket in asked) > 12
    for ticket, request in asked.items():
        if ticket.state != "done":
            continue
        alone = pipe(
            request.prompt, method=method, seed=request.seed, sampling=request.sampling,
            guidance_scale=request.guidance_scale, given=None if request.given is None else [request.given],
        )
        assert torch.equal(ticket.tokens, alone.tokens[0])
        out = ticket.result
        assert (out.prompts, out.seeds, out.metadata) == (alone.prompts, alone.seeds, alone.metadata)
        assert out.images[0].tobytes() == alone.images[0].tobytes()
        assert (ticket.seed, ticket.forwards) == (request.seed, int(alone.trace.nfe[0]))
        assert ticket.seconds > 0


def test_clips_of_different_requests_are_those_they_are_alone(tiny_doom: Path) -> None:
    """Contexts of one frame to more than the model sees, clips of several lengths, frames and tokens, in one batch."""
    pipe, draw, method = cd.from_pretrained(tiny_doom, dtype="float64"), random.Random(3), cd.SCD(6, "previous-frame")
    frames = [Image.new("RGB", (16, 16), (30 * number, 200, 90)) for number in range(5)]
    engine, asked = cd.Engine(pipe, batch=3, method=method), dict[cd.Ticket, cd.ClipRequest]()
    for seed in range(10):
        known = draw.randrange(1, 6)
        context = {"context_frames": frames[:known]}
        if seed % 2:
            context = {"context_tokens": pipe.model.encode([frames[:known]])[0]}
        request = cd.ClipRequest(**context, num_frames=known + draw.randrange(1, 4), seed=seed)
        asked[engine.submit(request)] = request
        engine.step()
        running = engine.running[0]
        shown = running.partial().images
        whole = len(asked[running].context_frames or []) or pipe.model.frames_of(len(asked[running].context_tokens))
        assert len(shown) >= whole
    [*engine.drain()]
    for ticket, request in asked.items():
        tokens = None if request.context_tokens is None else request.context_tokens.unsqueeze(0)
        alone = pipe(request.context_frames, context_tokens=tokens, num_frames=request.num_frames, method=method,
                     seed=request.seed)
        assert torch.equal(ticket.result.all_tokens, alone.all_tokens)
        assert ticket.result.metadata == alone.metadata
        finals = [frame.tobytes() for frame in alone.frames[0]]
        assert [frame.tobytes() for frame in ticket.result.frames[0]] == finals
        assert [frame.tobytes() for frame in ticket.partial().images] == finals


def test_many_clips_are_those_of_single_calls(tiny_doom: Path) -> None:
    pipe = cd.from_pretrained(tiny_doom, dtype="float64")
    contexts = [[Image.new("RGB", (16, 16), (shade, 50, 90))] * 2 for shade in (10, 100, 200)]
    given = dict(pipe.generate_many(contexts, batch=2, num_frames=4, method=cd.SCD(6), seed=7, clips_per_context=2))
    assert sorted(given) == list(range(6))
    for number, out in given.items():
        alone = pipe(contexts[number // 2], num_frames=4, method=cd.SCD(6), seed=7 + number)
        assert torch.equal(out.all_tokens, alone.all_tokens)
        assert torch.equal(out.trace.fed, alone.trace.fed)
    with pytest.raises(ValueError, match="batch is 0: give at least 1"):
        pipe.generate_many(contexts, batch=0)


def test_sizes_share_a_batch(tmp_path: Path) -> None:
    """Of a family with several: streams of different length, with size tokens and row ends of their own."""
    write_port(tmp_path / "emu3")
    pipe, method = cd.from_pretrained(tmp_path / "emu3", dtype="float64"), cd.SCD(6)
    sizes = [(32, 24), (16, 40), (32, 24), (8, 16), (40, 40)]
    engine = cd.Engine(pipe, batch=2, method=method)
    tickets = [engine.submit(cd.Request("a cat", seed, guidance_scale=3.0, size=size))
               for seed, size in enumerate(sizes)]
    [*engine.drain()]
    assert len(engine._lanes) == 1
    for seed, (ticket, size) in enumerate(zip(tickets, sizes, strict=True)):
        alone = pipe("a cat", method=method, seed=seed, guidance_scale=3.0, size=size)
        assert torch.equal(ticket.tokens, alone.tokens[0])
        assert ticket.result.images[0].size == size
        assert ticket.result.images[0].tobytes() == alone.images[0].tobytes()


def test_a_partial_picture_is_grey_where_nothing_is_committed(tiny_emoji: Path) -> None:
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    engine = cd.Engine(pipe, method=cd.AR())
    ticket = engine.submit(cd.Request("a heart", seed=1))
    assert ticket.partial().images[0].getcolors() == [(256, (128, 128, 128))]
    for _ in range(6):
        engine.step()
    partial = ticket.partial()
    assert int((partial.tokens >= 0).sum()) == 6
    grey = [[partial.images[0].getpixel((4 * column + 1, 4 * row + 1)) == (128, 128, 128) for column in range(4)]
            for row in range(4)]
    assert grey == [[False] * 4, [False, False, True, True], [True] * 4, [True] * 4]
    [*engine.drain()]
    assert ticket.partial().images[0].tobytes() == ticket.result.images[0].tobytes()


def test_a_request_that_does_not_fit_is_refused_when_it_comes(tiny_emoji: Path, tiny_doom: Path) -> None:
    """What only reading can tell fails its ticket alone, later."""
    pictures, clips = (cd.Engine(cd.from_pretrained(folder)) for folder in (tiny_emoji, tiny_doom))
    for request, sentence in [
        (cd.Request("  "), "a prompt is empty"), (cd.Request("a", -1), "seed is -1"),
        (cd.Request("a", guidance_scale=float("nan")), "guidance_scale is nan"),
        (cd.Request("a", size=(32, 16)), "size is 32x16: emoji makes pictures of 16x16"),
        (cd.Request("a", given=torch.zeros(17, dtype=torch.long)), r"given has shape \[17\]: give one dimension"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            pictures.submit(request)
    for clip, sentence in [
        (cd.ClipRequest(), "give either context_frames or context_tokens"),
        (cd.ClipRequest([Image.new("RGB", (16, 16))], num_frames=1), "num_frames is 1, and the context has 1"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            clips.submit(clip)
    assert pictures.idle
    assert clips.idle
    long, fits = pictures.submit(cd.Request("a heart " * 100)), pictures.submit(cd.Request("a heart"))
    assert pictures.step() == [long]
    with pytest.raises(ValueError, match="make it shorter"):
        long.result  # noqa: B018
    assert [*pictures.drain()] == [fits]
    with pytest.raises(ValueError, match="batch is 0: give at least 1"):
        cd.Engine(pictures.pipe, batch=0)


def test_ten_thousand_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """All that Python's collector knows of takes as much memory after 10,000 requests as after 1,000."""
    pipe = cd.from_pretrained(write_tiny_emoji(tmp_path / "four codes", grid=2))
    engine, draw = cd.Engine(pipe, batch=64, method=cd.SCD(4)), random.Random(1)

    def serve(count: int) -> int:
        for number in range(count):
            ticket = engine.submit(cd.Request(PROMPTS[number % 3], number, draw.choice([None, *SAMPLINGS]),
                                              draw.choice([1.0, 2.0])))
            if number % 50 == 0:
                engine.cancel(ticket)
            while len(engine.waiting) > 32:
                for ended in engine.step():
                    assert ended.state == "done"
        del ticket
        for ended in engine.drain():
            assert ended.state == "done"
        del ended
        gc.collect()
        return sum(map(size, gc.get_objects()))

    def size(one: Any) -> int:
        """Of plain tensors and Python's containers; others count the same, since some libraries' cannot be asked."""
        kind = type(one)
        if kind is torch.Tensor:
            with suppress(RuntimeError):  # those that a compiler left behind have no size
                return 64 + int(one.numel() * one.element_size())
        return sys.getsizeof(one) if kind in (dict, list, set, tuple) else 64

    before = serve(1000)
    assert serve(9000) - before < 20_000
