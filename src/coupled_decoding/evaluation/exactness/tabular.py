"""A model whose every probability can be written down: the yardstick of exactness."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling, target_distribution
from coupled_decoding.decoding.session import SessionBase


class TabularSession(SessionBase):
    """A session over tables of logits, one for each prompt and each prefix of generated tokens.

    It remembers tokens by position, as a key-value cache does, so stale entries and padding behave as in a real model.

    Args:
        tables: one tensor ``[P, V**i, V]`` for each generated index i: the logits after each prefix, where the prefix
            ``t_0 .. t_{i-1}`` has the number ``((t_0 * V) + t_1) * V + ...``.
        prompts: LongTensor ``[B]``: which of the P prompts each row has. Prompt k has k + 1 tokens, so rows of several
            prompts stand at different positions.
    """

    reads_branches = refills = True

    def __init__(self, tables: list[Tensor], prompts: Tensor) -> None:
        self.tables, self.prompts = tables, prompts.clone()  # ``adopt`` writes to them
        self.vocab_size = tables[0].shape[-1]
        self.last_token = torch.zeros_like(prompts)
        self.last_position = prompts.clone()
        # generated tokens by index, and one last column for whatever lies past the tables
        self._memory = torch.zeros(len(prompts), len(tables) + 1, dtype=torch.long)
        self._last: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def random(cls, vocab_size: int, length: int, prompts: Tensor, seed: int, dtype: torch.dtype = torch.float64,
               scale: float = 1.5) -> TabularSession:
        """Normal logits of standard deviation ``scale``."""
        generator = torch.Generator().manual_seed(seed)
        count = int(prompts.max()) + 1
        tables = [
            scale * torch.randn(count, vocab_size**i, vocab_size, generator=generator, dtype=torch.float64).to(dtype)
            for i in range(length)
        ]
        return cls(tables, prompts)

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Logits ``[R, T, vocab_size]``; zeros past the last table."""
        rows = torch.arange(len(self.prompts)) if rows is None else rows
        index = positions - self.last_position[rows].unsqueeze(1)  # generated index that each token is read for
        window = tokens.shape[1] - (0 if parents is None else parents.shape[1])
        self._memory[rows.unsqueeze(1), self._column(index[:, :window])] = tokens[:, :window]
        # what each token has before it, itself included: the row's memory, or its parent's and itself
        memories = [self._memory[rows]] * window
        for column in range(window, tokens.shape[1]):
            assert parents is not None
            pasts = torch.stack(memories, 1)  # [R, column, depth + 1]
            own = pasts[torch.arange(len(rows)), parents[:, column - window]]
            memories.append(own.scatter(1, self._column(index[:, column : column + 1]), tokens[:, column : column + 1]))
        self._last = rows, tokens, index
        memory, prompts = torch.stack(memories, 1), self.prompts[rows].unsqueeze(1)
        logits = torch.zeros(*tokens.shape, self.vocab_size, dtype=self.tables[0].dtype)
        prefix = torch.zeros(tokens.shape, dtype=torch.long)
        for i, table in enumerate(self.tables):
            logits = torch.where((index == i).unsqueeze(-1), table[prompts, prefix], logits)
            prefix = prefix * self.vocab_size + memory[..., i]
        return logits

    def keep(self, which: Tensor, slots: Tensor) -> None:
        rows, tokens, index = self._last
        self._memory[rows[which], self._column(index[which, slots])] = tokens[which, slots]

    def adopt(self, row: int, other: Any, source: int) -> None:
        self.prompts[row], self.last_token[row] = other.prompts[source], other.last_token[source]
        self.last_position[row], self._memory[row] = other.last_position[source], other._memory[source]

    def _column(self, index: Tensor) -> Tensor:
        """Where the token that is read for a generated index is remembered."""
        depth = len(self.tables)
        return torch.where((index >= 1) & (index <= depth), index - 1, depth)

    def joint_law(self, prompt: int, length: int, sampling: Sampling, layout: Layout) -> Tensor:
        """Probability of each sequence of ``length`` tokens, float64 ``[V] * length``: exact, by enumeration."""
        law = torch.ones((), dtype=torch.float64)
        for i in range(length):
            target = torch.zeros(self.vocab_size**i, self.vocab_size, dtype=torch.float64)
            if layout.forced[i] >= 0:
                target[:, layout.forced[i]] = 1.0
            else:
                legal = None if layout.legal is None or layout.legal_set is None else layout.legal[layout.legal_set[i]]
                logits = self.tables[i][prompt][:, layout.codes]
                target[:, layout.codes] = target_distribution(logits, sampling, legal).double()
            law = law.unsqueeze(-1) * target.view(*law.shape, self.vocab_size)
        return law
