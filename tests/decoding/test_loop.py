"""Rows that are opened and closed one by one give what they give alone, and nothing grows with their number."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding import (
    AR,
    GSD,
    PAC,
    SCD,
    SJD,
    Decoding,
    Jacobi,
    Layout,
    Method,
    Sampling,
    SeedExact,
    ZipAR,
    decode,
)
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from tests.decoding.helpers import ChainSession

METHODS: list[Method] = [
    AR(), SJD(5), SCD(6, coupling="maximal", predict=True), SCD(5, predict=True, branches=4), PAC(4, tree_width=2),
    SeedExact(6, "previous-frame-distribution", predict=True, branches=5), SeedExact("auto"), GSD(5), Jacobi(4),
    ZipAR(6, ahead=1),
]
CODES = torch.arange(5, 40)
LAYOUTS = [
    Layout.grid(3, 4, CODES, row_end=0, prefix=[2]), Layout.grid(5, 5, CODES, suffix=[1]), Layout.clip(3, 2, 3, CODES),
    Layout.free(9, CODES),
]
SAMPLINGS = [Sampling(), Sampling(temperature=0.7, top_k=9), Sampling(top_p=0.8), Sampling(temperature=0)]


@dataclass(frozen=True)
class Request:
    """What a row is opened with."""

    prompt: int
    seed: int
    layout: Layout
    length: int
    sampling: Sampling
    given: Tensor | None = None

    def alone(self, method: Method) -> cd.Decoded:
        return decode(
            Serving(torch.tensor([self.prompt])), self.length, method=method, sampling=self.sampling,
            layout=self.layout, seed=self.seed, given=None if self.given is None else [self.given],
        )


class Serving(ChainSession):
    """Rows can be given other prompts."""

    def __init__(self, prompts: Tensor) -> None:
        super().__init__(40, prompts, torch.float64)

    def serve(self, row: int, prompt: int) -> None:
        self.prompts[row], self.last_token[row], self.last_position[row] = prompt, prompt % 40, prompt + 3


def requests(count: int, seed: int = 0) -> Iterator[Request]:
    draw = random.Random(seed)
    for number in range(count):
        layout = draw.choice(LAYOUTS)
        given = None
        if draw.random() < 0.3:  # its forced tokens must be right
            given = torch.where(layout.forced < 0, torch.arange(layout.length) % 30 + 5, layout.forced)
            given = given[: draw.randint(0, layout.length - 1)]
        length = draw.randint(1, layout.length) if given is None else layout.length
        yield Request(draw.randrange(30), 1000 + number, layout, length, draw.choice(SAMPLINGS), given)


def serve(run: Decoding, session: Serving, row: int, request: Request) -> None:
    session.serve(row, request.prompt)
    run.open(row, request.seed, layout=request.layout, length=request.length, sampling=request.sampling,
             given=request.given)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}-{method.window}")
def test_a_request_is_the_same_alone_and_among_others(method: Method) -> None:
    """Whoever sat in its row before, whenever it came, and whatever its neighbours are: tokens and trace."""
    session = Serving(torch.zeros(3, dtype=torch.long))
    run, draw = Decoding(session, method, LAYOUTS[0]), random.Random(7)
    waiting, serving, cancelled = list(requests(14)), dict[int, Request](), 0
    assert run.step() is None
    while waiting or serving:
        for row in range(3):
            if row not in serving and waiting and draw.random() < 0.4:
                serving[row] = waiting.pop()
                serve(run, session, row, serving[row])
        assert run.running == sorted(serving)
        report = run.step()
        if report is None:
            assert not serving
            continue
        assert report.rows == sorted(serving)
        for row in report.ended:
            request = serving.pop(row)
            alone = request.alone(method)
            assert torch.equal(run.tokens(row)[: request.length], alone.tokens[0])
            assert (run.tokens(row)[request.length :] == -1).all()
            for counts in ("committed", "changed", "pending", "fed", "nfe"):
                if method.window != "auto":  # which looks at the clock
                    assert torch.equal(getattr(run.part(row), counts), getattr(alone.trace, counts))
        if cancelled < 3 and serving and draw.random() < 0.1:
            row = draw.choice(sorted(serving))
            stood, request = run.tokens(row), serving.pop(row)
            run.close(row)
            assert torch.equal(run.tokens(row), stood)
            assert torch.equal(stood[stood >= 0], request.alone(method).tokens[0][: int((stood >= 0).sum())])
            cancelled += 1
    assert cancelled
    assert run.step() is None


@given(seed=st.integers(0, 10**6), method=st.sampled_from([SCD(3), SJD(4), SeedExact(3, branches=3), PAC(3)]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_rows_that_adopt_prompts_are_those_of_a_new_session(seed: int, method: Method) -> None:
    """On a session that remembers tokens by position, as a cache does."""
    tables = TabularSession.random(3, 5, torch.tensor([0, 1, 2]), seed=4).tables
    layout, draw = Layout.free(5, 3), random.Random(seed)
    session = TabularSession(tables, torch.tensor([0, 0]))
    run = Decoding(session, method, layout)
    for number in range(8):
        idle = [row for row in range(2) if row not in run.running]
        row, prompt = draw.choice(idle), draw.randrange(3)
        session.adopt(row, TabularSession(tables, torch.tensor([prompt])), 0)
        run.open(row, seed + number)
        alone = decode(TabularSession(tables, torch.tensor([prompt])), 5, method=method, layout=layout,
                       seed=seed + number)
        ended: list[int] = []
        while row not in ended and (len(run.running) == 2 or number % 2):
            report = run.step()
            assert report is not None
            ended += report.ended
        if row in ended:
            assert torch.equal(run.tokens(row), alone.tokens[0])


class Spoilt(Serving):
    """Gives logits that are not a number for one prompt, from some position on."""

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        logits = super().forward(tokens, positions, rows, parents)
        prompts = self.prompts if rows is None else self.prompts[rows]
        wrong = (prompts == 13).unsqueeze(1) & (positions > self.last_position.amax() - 3)
        return logits.masked_fill(wrong.unsqueeze(-1), torch.nan)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}-{method.window}")
def test_logits_that_are_not_a_number_fail_their_row_alone(method: Method) -> None:
    """The row is reported and idle; its neighbour, and who comes after it in its row, are as if nothing had been."""
    session, layout = Spoilt(torch.tensor([4, 13])), LAYOUTS[1]
    run = Decoding(session, method, layout)
    run.open(0, 1)
    run.open(1, 2)
    broken, ended = list[int](), list[int]()
    while (report := run.step()) is not None:
        broken, ended = broken + report.broken, ended + report.ended
        if report.broken == [1]:
            assert report.committed[report.rows.index(1)] == 0
            session.serve(1, 6)
            run.open(1, 3)
    assert (broken, sorted(ended)) == ([1], [0, 1])
    for row, (prompt, seed) in enumerate([(4, 1), (6, 3)]):
        alone = decode(Serving(torch.tensor([prompt])), layout.length, method=method, layout=layout, seed=seed)
        assert torch.equal(run.tokens(row), alone.tokens[0])


def test_nothing_grows_with_the_number_of_requests() -> None:
    """Objects and tensors are as many after two hundred requests as after twenty."""
    session = Serving(torch.zeros(2, dtype=torch.long))
    run = Decoding(session, SCD(4, predict=True), LAYOUTS[3])

    def held_after(count: int) -> tuple[int, int]:
        for seed in range(count):
            run.open(seed % 2, seed)
            while run.running:
                run.step()
        gc.collect()
        counts = sum(len(part.counts) for part in run.trace._of)
        return sum(one.numel() for one in gc.get_objects() if type(one) is Tensor), counts

    first, later = held_after(20), held_after(200)
    assert later[0] <= first[0] + 1000
    assert later[1] <= 18


def test_longer_rows_make_room() -> None:
    """A row that is longer than all before it, while another is running."""
    session = Serving(torch.tensor([3, 5]))
    run, long = Decoding(session, SCD(4), LAYOUTS[3]), Layout.grid(9, 9, CODES)
    run.open(0, 1)
    run.step()
    run.open(1, 2, layout=long)
    while run.running:
        run.step()
    assert torch.equal(run.tokens(0)[:9], decode(Serving(torch.tensor([3])), 9, method=SCD(4), layout=LAYOUTS[3],
                                                 seed=1).tokens[0])
    assert torch.equal(run.tokens(1), decode(Serving(torch.tensor([5])), 81, method=SCD(4), layout=long,
                                             seed=2).tokens[0])


def test_a_part_of_the_trace_stays_with_its_request() -> None:
    session = Serving(torch.tensor([3]))
    run = Decoding(session, SCD(4), LAYOUTS[3])
    run.open(0, 1)
    while run.running:
        run.step()
    part = run.part(0)
    committed = part.committed
    run.open(0, 2)
    run.step()
    assert torch.equal(part.committed, committed)
    assert run.part(0).steps == 1


def test_drafts_are_told_as_far_as_they_are_known() -> None:
    session = Serving(torch.tensor([3]))
    run = Decoding(session, SCD(4), LAYOUTS[3])
    run.open(0, 1)
    run.step()
    stands, expected = run.tokens(0), run.tokens(0, drafts=True)
    assert torch.equal(expected[: int((stands >= 0).sum())], stands[stands >= 0])
    assert (expected >= 0).sum() > (stands >= 0).sum()


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"row": 1}, "row 1: the session has rows 0 to 0"),
    ({"seed": -1}, "seed is -1"),
    ({"length": 10}, "row 0 has length 10, but its layout ends after 9 tokens"),
    ({"length": 0}, "length is 0: give at least 1"),
    ({"layout": Layout.free(3, 4)}, "draws from other codes"),
    ({"given": torch.tensor([[5]])}, "given tokens of row 0 have shape"),
    ({"given": torch.tensor([1])}, "given token 1 at index 0 of row 0 is not legal there"),
])
def test_what_does_not_fit_is_refused_and_changes_nothing(arguments: dict, sentence: str) -> None:
    run = Decoding(Serving(torch.tensor([3])), SCD(4), LAYOUTS[3])
    with pytest.raises(ValueError, match=sentence):
        run.open(**{"row": 0, "seed": 1, **arguments})
    assert run.running == []
    assert run.step() is None
    run.open(0, 1)
    with pytest.raises(ValueError, match="row 0 is running: close it before it is opened again"):
        run.open(0, 2)
    while run.running:
        run.step()
    assert torch.equal(run.tokens(0), decode(Serving(torch.tensor([3])), 9, method=SCD(4), layout=LAYOUTS[3],
                                             seed=1).tokens[0])


def test_no_forward_runs_before_the_first_step() -> None:
    """Not even where forwards are timed, to tune the window."""

    class Counting(Serving):
        asked = 0

        def forward(self, *arguments: Tensor | None) -> Tensor:  # type: ignore[override]
            self.asked += 1
            return super().forward(*arguments)  # type: ignore[arg-type]

    session = Counting(torch.tensor([3]))
    run = Decoding(session, SeedExact("auto"), LAYOUTS[3])
    run.open(0, 1)
    assert session.asked == 0
    run.step()
    assert session.asked > 1


def test_a_step_that_is_kept_tells_of_its_own_time() -> None:
    """Tokens and drafts of a step stay as they were when it was told."""
    steps: list[tuple[cd.Step, Tensor]] = []
    decode(Serving(torch.tensor([3])), 9, method=SCD(4), layout=LAYOUTS[3], seed=1,
           on_step=lambda step: steps.append((step, step.drafts)))
    assert len(steps) > 2
    for step, drafts in steps:
        assert torch.equal(step.drafts, drafts)
