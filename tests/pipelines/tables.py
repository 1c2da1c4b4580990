"""A pipeline over tables of logits: requests whose joint law is known, for the engine alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.evaluation.exactness.tabular import TabularSession
from coupled_decoding.pipelines.requests import Plan
from tests.decoding.helpers import SCENARIOS, Kind


@dataclass(frozen=True)
class TableRequest:
    """A row of one of the kinds of a scenario."""

    kind: int
    seed: int
    sampling: cd.Sampling = field(default_factory=cd.Sampling)


@dataclass(frozen=True, eq=False, kw_only=True)
class TablePlan(Plan):
    prompt: int


class Tables:
    """The kinds of a scenario, in one batch; prompts of some numbers cannot be read."""

    def __init__(self, scenario: str, unreadable: Sequence[int] = ()) -> None:
        self.scenario, self.unreadable = SCENARIOS[scenario], unreadable
        self.tables = self.scenario.session(len(self.scenario.kinds)).tables
        self.layouts = [cut(kind) for kind in self.scenario.kinds]
        self.read_rows: list[int] = []
        """Rows of each session that was made."""

    def plan(self, request: TableRequest) -> TablePlan:
        kind = self.kind(request)
        given = torch.tensor(kind.given, dtype=torch.long) if kind.given else None
        return TablePlan(seed=request.seed, sampling=request.sampling, layout=self.layouts[request.kind], given=given,
                         prompt=kind.prompt)

    def read(self, plans: Sequence[TablePlan]) -> TabularSession:
        for plan in plans:
            if plan.prompt in self.unreadable:
                raise ValueError(f"prompt {plan.prompt} cannot be read")
        self.read_rows.append(len(plans))
        return TabularSession(self.tables, torch.tensor([plan.prompt for plan in plans]))

    def finish(self, plan: TablePlan, method: cd.Method, tokens: Tensor, trace: cd.Trace) -> tuple[list[int], cd.Trace]:
        return tokens.tolist(), trace

    def preview(self, plan: TablePlan, tokens: Tensor) -> list[Image.Image]:
        return []

    def kind(self, request: TableRequest) -> Kind:
        return self.scenario.kinds[request.kind]

    def alone(self, request: TableRequest, method: cd.Method) -> cd.Decoded:
        """What :func:`coupled_decoding.decode` gives for this request and nothing else."""
        plan = self.plan(request)
        return cd.decode(
            self.read([plan]), plan.layout.length, method=method, sampling=plan.sampling, layout=plan.layout,
            seed=[plan.seed], given=None if plan.given is None else [plan.given],
        )


def cut(kind: Kind) -> cd.Layout:
    """The layout of a kind, which may have fewer tokens than its grid."""
    layout = kind.layout
    parts = {name: part[: kind.length] for name in ("forced", "above", "previous", "legal_set", "places")
             if (part := getattr(layout, name)) is not None}
    return replace(layout, **parts)
