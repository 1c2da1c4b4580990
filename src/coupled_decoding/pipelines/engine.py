"""Continuous batching of single requests: what ``generate_many``, a server and bulk jobs stand on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Generic, Literal, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.loop import Decoding
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.session import Session
from coupled_decoding.decoding.trace import Trace
from coupled_decoding.pipelines.requests import Plan

Asked = TypeVar("Asked", contravariant=True)
Made = TypeVar("Made", covariant=True)
RequestT = TypeVar("RequestT")
PlanT = TypeVar("PlanT", bound=Plan)
ResultT = TypeVar("ResultT")

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Pipeline(Protocol[Asked, PlanT, Made]):
    """What an engine asks of a pipeline."""

    def plan(self, request: Asked) -> PlanT:
        """Check a request, without reading its prompt, and fill in what it leaves open. ValueError says what is wrong.
        """
        ...

    def read(self, plans: Sequence[PlanT]) -> Session:
        """Read prompts in, one row for each of some plans with equal ``reading``.

        ValueError where a prompt cannot be read, OSError where a file is missing that this takes.
        """
        ...

    def finish(self, plan: PlanT, method: Method, tokens: Tensor, trace: Trace) -> Made:
        """The result of all tokens, LongTensor ``[length]``."""
        ...

    def preview(self, plan: PlanT, tokens: Tensor) -> list[Image.Image]:
        """What can be seen of some tokens, LongTensor ``[length]``, -1 where there is none yet."""
        ...


@dataclass(frozen=True, eq=False)
class Partial:
    """What has been decoded of a request so far."""

    tokens: Tensor
    """LongTensor ``[length]``: committed tokens, which stay as they are; -1 elsewhere."""
    images: list[Image.Image]
    """Of a picture: one, grey where no token is committed. Of a clip: its whole frames, context included. Empty where
    the model's tokens are no pictures by themselves."""


class Ticket(Generic[ResultT]):
    """A request in an engine, to be looked at between two steps by the thread that owns the engine.

    A ticket that has ended holds its tokens and needs the engine no longer.
    """

    def __init__(
        self, id: int, plan: Plan, finish: Callable[[Tensor, Trace], ResultT],
        preview: Callable[[Tensor], list[Image.Image]],
    ) -> None:
        self.id = id
        """Counts up from 0 in an engine."""
        self.seed = plan.seed
        """What reproduces the result, together with the rest of the request."""
        self.state: State = "waiting"
        self.error: ValueError | OSError | None = None
        """Why it failed."""
        self._plan, self._finish, self._preview = plan, finish, preview
        self._place: tuple[Decoding, int] | None = None
        self._left: tuple[Tensor, Trace] | None = None

    def __repr__(self) -> str:
        return f"<Ticket {self.id}: {self.state}, {int((self.tokens >= 0).sum())} of {self._plan.layout.length} tokens>"

    @property
    def tokens(self) -> Tensor:
        """LongTensor ``[length]`` on the CPU: committed tokens, -1 elsewhere. Copied from the device when asked for."""
        if self._place is not None:
            run, row = self._place
            return run.tokens(row)[: self._plan.layout.length]
        return torch.full_like(self._plan.layout.forced, -1) if self._left is None else self._left[0]

    @property
    def trace(self) -> Trace:
        """Of the forwards that it took part in, one row. It shared their seconds with its neighbours."""
        if self._place is not None:
            run, row = self._place
            return run.part(row)
        return Trace(1) if self._left is None else self._left[1]

    @property
    def forwards(self) -> int:
        """That it took part in, reading its prompt not counted."""
        return int(self.trace.nfe.sum())

    @property
    def seconds(self) -> float:
        """Of these forwards and of what the method did between them."""
        trace = self.trace
        return trace.seconds_model + trace.seconds_outside

    def partial(self) -> Partial:
        """What stands by now. Pixels are made at each call, which takes its time."""
        tokens = self.tokens
        return Partial(tokens, self._preview(tokens))

    @cached_property
    def result(self) -> ResultT:
        """What the pipeline returns for this request alone. Pixels are made when it is first asked for.

        The error of a ticket that failed is raised; ValueError for one that has not ended, or was cancelled.
        """
        if self.error is not None:
            raise self.error
        if self.state != "done" or self._left is None:
            raise ValueError(f"ticket {self.id} is {self.state}: it has a result once it is done")
        return self._finish(*self._left)

    def _begin(self, run: Decoding, row: int) -> None:
        self.state, self._place = "running", (run, row)

    def _end(self, state: State, error: ValueError | OSError | None = None) -> None:
        self._left = self.tokens, self.trace
        self.state, self.error, self._place = state, error, None


@dataclass(eq=False)
class Lane(Generic[PlanT, ResultT]):
    """Requests of one kind, decoded side by side in one session."""

    kind: Hashable
    session: Session
    run: Decoding
    tickets: dict[int, Ticket[ResultT]] = field(default_factory=dict)
    """By row of the session."""

    def free(self, count: int) -> list[int]:
        """The first ``count`` rows that stand idle."""
        rows = (row for row in range(len(self.session.last_token)) if row not in self.tickets)
        return [*islice(rows, count)]


class Engine(Generic[RequestT, PlanT, ResultT]):
    """Decodes requests side by side that come, end and are cancelled at any step.

    Requests start in the order in which they came, ``batch`` of them run at the same time, and a place that becomes
    free is taken with the next step. What a request gives is what its pipeline gives for it alone, whatever runs beside
    it. A request that fails (a prompt that the model cannot read, logits that are not numbers) ends alone. An error of
    the machine, such as a lack of memory, is raised by :meth:`step`; requests whose prompts it was reading still wait.

    An engine without requests computes nothing and keeps its caches, which are as long as the longest request so far.
    Nothing grows with the number of requests served: of one that has ended only its ticket is left, which is the
    caller's.

    There are no threads inside, and no locks: one thread owns an engine, its tickets and its pipeline.

    Args:
        pipe: a :class:`PicturePipeline`, which takes a :class:`Request` each, or a :class:`VideoPipeline`, which takes
            a :class:`ClipRequest`.
        batch: how many requests run at the same time. Guided and unguided ones, which no forward can share, each have
            caches for so many.
        method: of all requests; ``SCD()`` by default.

    Example::

        engine = cd.Engine(cd.from_pretrained("emoji"), batch=8)
        heart = engine.submit(cd.Request("a red heart", seed=7))
        pizza = engine.submit(cd.Request("a slice of pizza", seed=8, sampling=cd.Sampling(top_k=50)))
        while not engine.idle:
            for ticket in engine.step():
                if ticket.state == "done":
                    ticket.result.images[0].save(f"{ticket.id}.png")
    """

    def __init__(
        self, pipe: Pipeline[RequestT, PlanT, ResultT], *, batch: int = 8, method: Method | None = None
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch}: give at least 1")
        self.pipe, self.batch, self.method = pipe, batch, method or SCD()
        self._waiting: OrderedDict[int, tuple[Ticket[ResultT], PlanT]] = OrderedDict()
        self._lanes: list[Lane[PlanT, ResultT]] = []
        self._submitted = 0
        self._closed = False

    @property
    def waiting(self) -> list[Ticket[ResultT]]:
        """Tickets that have no place yet, in the order in which they came."""
        return [ticket for ticket, _ in self._waiting.values()]

    @property
    def running(self) -> list[Ticket[ResultT]]:
        """Tickets that take part in the next step."""
        return [ticket for lane in self._lanes for ticket in lane.tickets.values()]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do: :meth:`step` then returns at once."""
        return not self._waiting and self._room == self.batch

    @property
    def _room(self) -> int:
        return self.batch - sum(len(lane.tickets) for lane in self._lanes)

    def submit(self, request: RequestT) -> Ticket[ResultT]:
        """Take a request, which starts with the next step in which a place is free.

        Raises:
            ValueError: something of it does not fit, or the engine is closed. What only reading the prompt can tell
                fails its ticket later.
        """
        if self._closed:
            raise ValueError("the engine is closed: make another one")
        plan = self.pipe.plan(request)
        ticket = Ticket(self._submitted, plan, partial(self.pipe.finish, plan, self.method),
                        partial(self.pipe.preview, plan))
        self._waiting[ticket.id] = ticket, plan
        self._submitted += 1
        return ticket

    def step(self) -> list[Ticket[ResultT]]:
        """Start what has a place, and decode one step further: one forward of each kind of requests that runs.

        Returns:
            The tickets that ended, done or failed.
        """
        ended = self._start()
        for lane in self._lanes:
            report = lane.run.step()
            if report is None:
                continue
            for row in sorted([*report.ended, *report.broken]):
                error = None if row in report.ended else ValueError(
                    "the model gave NaN logits: float16 may have overflowed, try bfloat16")
                ended.append(self._leave(lane, row, error))
        return ended

    def drain(self) -> Iterator[Ticket[ResultT]]:
        """Step until nothing is left to do, and give each ticket as soon as it has ended, done or failed."""
        while not self.idle:
            yield from self.step()

    def cancel(self, ticket: Ticket[ResultT]) -> None:
        """End a request where it stands; its place is free for the next step. Nothing happens to one that has ended.
        """
        if ticket.id in self._waiting and self._waiting[ticket.id][0] is ticket:
            del self._waiting[ticket.id]
            ticket._end("cancelled")
            return
        for lane in self._lanes:
            for row, own in lane.tickets.items():
                if own is ticket:
                    lane.run.close(row)
                    del lane.tickets[row]
                    ticket._end("cancelled")
                    return

    def close(self) -> None:
        """Cancel all requests and drop the caches; the engine takes no further request."""
        for ticket in [*self.waiting, *self.running]:
            self.cancel(ticket)
        self._lanes.clear()
        self._closed = True

    def _start(self) -> list[Ticket[ResultT]]:
        """Give places to those who wait; returns the tickets that ended by it."""
        ended: list[Ticket[ResultT]] = []
        while self._waiting and self._room:
            together: dict[Hashable, list[tuple[Ticket[ResultT], PlanT]]] = {}
            for ticket, plan in islice(self._waiting.values(), self._room):
                together.setdefault((plan.kind, plan.reading), []).append((ticket, plan))
            for group in together.values():
                ended += self._join(group)
        return ended

    def _join(self, group: Sequence[tuple[Ticket[ResultT], PlanT]]) -> list[Ticket[ResultT]]:
        """Read prompts and open their rows; if that fails for several, each by itself."""
        try:
            lane, rows = self._opened([plan for _, plan in group])
        except (ValueError, OSError) as error:
            if len(group) > 1:
                return [ended for one in group for ended in self._join([one])]
            ticket, _ = group[0]
            del self._waiting[ticket.id]
            ticket._end("failed", error)
            return [ticket]
        for (ticket, _), row in zip(group, rows, strict=True):
            del self._waiting[ticket.id]
            lane.tickets[row] = ticket
            ticket._begin(lane.run, row)
        running = {*lane.run.running}
        return [self._leave(lane, row) for row in rows if row not in running]  # all of whose tokens were given

    def _opened(self, plans: Sequence[PlanT]) -> tuple[Lane[PlanT, ResultT], list[int]]:
        """The lane of some plans that are read together, and the rows that have been opened for them."""
        kind = plans[0].kind
        lane = next((lane for lane in self._lanes if lane.kind == kind), None)
        if lane is None:
            # a prompt that several rows share is read once
            session = self.pipe.read([*plans, *[plans[0]] * (self.batch - len(plans))])
            if not session.refills:
                raise ValueError(f"{type(session).__name__} cannot give its rows other prompts, which an engine needs: "
                                 "call the pipeline with some prompts at a time")
            lane = Lane(kind, session, Decoding(session, self.method, plans[0].layout))
            rows = lane.free(len(plans))
        else:
            rows, read = lane.free(len(plans)), self.pipe.read(plans)
            for source, row in enumerate(rows):
                lane.session.adopt(row, read, source)
        nothing = torch.empty(0, dtype=torch.long)
        lane.run.open_many(
            rows, [plan.seed for plan in plans], [plan.layout for plan in plans],
            [plan.layout.length for plan in plans], [plan.sampling for plan in plans],
            [nothing if plan.given is None else plan.given for plan in plans],
        )
        if lane not in self._lanes:
            self._lanes.append(lane)
        return lane, rows

    def _leave(self, lane: Lane[PlanT, ResultT], row: int, error: ValueError | None = None) -> Ticket[ResultT]:
        """Let the request in a row end."""
        ticket = lane.tickets.pop(row)
        ticket._end("done" if error is None else "failed", error)
        return ticket
