"""The session contract: a tabular session keeps it, and sessions that break it are caught."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.evaluation.exactness.tabular import TabularSession


def tabular() -> TabularSession:
    return TabularSession.random(vocab_size=3, length=6, prompts=torch.tensor([0, 2, 1, 0]), seed=0)


def test_a_tabular_session_keeps_the_contract() -> None:
    session = tabular()
    cd.check_session(session, tolerance=0.0)
    assert isinstance(session, cd.Session)


class SeesTheFuture(TabularSession):
    """The next token leaks into the logits."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        leak = torch.nn.functional.pad(tokens[:, 1:], (0, 1)).unsqueeze(-1) * 0.1
        return super().forward(tokens, positions, rows) + leak


class IgnoresRows(TabularSession):
    """Always answers for the first rows."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        return super().forward(tokens, positions, None if rows is None else torch.zeros_like(rows))


class KeepsStaleEntries(TabularSession):
    """What was once written at a position stays."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        everyone = torch.arange(len(self.prompts)) if rows is None else rows
        index = positions - self.last_position[everyone].unsqueeze(1)
        old = self._memory[everyone.unsqueeze(1), (index - 1).clamp(0, len(self.tables) - 1)]
        return super().forward(torch.where((index >= 1) & (old > 0), old, tokens), positions, rows)


class CountsItsCalls(TabularSession):
    """Answers differently when asked again."""

    calls = 0

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        self.calls += 1
        return super().forward(tokens, positions, rows) + self.calls * torch.arange(3)


class HalfPrecision(TabularSession):
    """Logits in a precision too small for probabilities."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        return super().forward(tokens, positions, rows).bfloat16()


class LastLogitsOnly(TabularSession):
    """One row of logits a window, as for sampling."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        return super().forward(tokens, positions, rows)[:, -1]


@pytest.mark.parametrize(
    "broken", [SeesTheFuture, IgnoresRows, KeepsStaleEntries, CountsItsCalls, HalfPrecision, LastLogitsOnly]
)
def test_sessions_that_break_the_contract_are_caught(broken: type[TabularSession]) -> None:
    good = tabular()
    with pytest.raises((AssertionError, IndexError, RuntimeError)):
        cd.check_session(broken(good.tables, good.prompts))
