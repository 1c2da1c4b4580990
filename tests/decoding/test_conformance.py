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
    with pytest.raises((cd.ContractError, IndexError, RuntimeError)):
        cd.check_session(broken(good.tables, good.prompts))


class Bare(cd.SessionBase):
    """What the README promises: three attributes and a forward."""

    def __init__(self) -> None:
        self.vocab_size, self.last_token, self.last_position = 3, torch.tensor([1, 2]), torch.tensor([0, 4])

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        return torch.nn.functional.one_hot((tokens + positions) % 3, 3).double()


def test_a_session_is_three_attributes_and_a_forward() -> None:
    """The base class gives the rest, and what it cannot do it says."""
    session = Bare()
    assert isinstance(session, cd.Session)
    cd.check_session(session)
    assert session.costs is session.costs
    assert session.costs is not Bare().costs
    with pytest.raises(NotImplementedError, match="Bare reads no branches"):
        session.keep(torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(NotImplementedError, match="Bare refills no rows"):
        session.adopt(0, Bare(), 1)


def test_a_session_that_leaves_something_out_is_told_what() -> None:
    class Unsaid:
        vocab_size, last_token, last_position = 3, torch.tensor([1]), torch.tensor([0])

        def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
            return torch.zeros(*tokens.shape, 3)

    with pytest.raises(cd.ContractError, match="it has no output_codes, reads_branches, refills, costs"):
        cd.check_session(Unsaid())  # type: ignore[arg-type]


def test_a_tabular_session_can_be_refilled() -> None:
    """The row adopts the other's prompt; the rows beside it stay as they are."""
    session, other = tabular(), TabularSession(tabular().tables, torch.tensor([1, 2]))
    session.adopt(2, other, 1)
    cd.check_session(session, tolerance=0.0)
    assert session.last_position.tolist() == [0, 2, 2, 0]
    expected = TabularSession(session.tables, torch.tensor([0, 2, 2, 0]))
    arguments = session.last_token.unsqueeze(1), session.last_position.unsqueeze(1)
    assert torch.equal(session.forward(*arguments), expected.forward(*arguments))
