"""What a row of a session begins with: token ids, and what some families read beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """Token ids, and a condition for families that read one.

    A condition is whatever the family's backbone makes tensors of (see
    :meth:`coupled_decoding.serving.backbone.Backbone.read_conditions`): features of a text, the shape of a picture.
    Rows whose prompts hold one and the same tensor share what is made of it, and are read once where their ids agree.
    """

    ids: tuple[int, ...]
    """At least one."""
    condition: Tensor | None = None

    @property
    def read(self) -> tuple[tuple[int, ...], int]:
        """What of this prompt is read before decoding: all ids but the last, and the condition's identity."""
        return self.ids[:-1], id(self.condition)


PromptLike: TypeAlias = "Prompt | Sequence[int]"
"""Plain ids where there is no condition."""


def as_prompt(prompt: PromptLike | None) -> Prompt | None:
    """A prompt of plain ids; None, a row without a prompt, as it is."""
    return prompt if prompt is None or isinstance(prompt, Prompt) else Prompt(tuple(int(token) for token in prompt))


class Conditions:
    """What the backbone made of the conditions of some rows: tensors ``[rows, ...]``, none for most families."""

    def __init__(self, parts: tuple[Tensor, ...] = ()) -> None:
        self.parts = parts
        self._chosen: tuple[Tensor, tuple[Tensor, ...]] | None = None

    def of(self, rows: Tensor | None) -> tuple[Tensor, ...]:
        """Those of some rows, LongTensor ``[R]``; None: all. For the same tensor, what was given for it last."""
        if rows is None or not self.parts:
            return self.parts
        if self._chosen is None or self._chosen[0] is not rows:
            self._chosen = rows, tuple(part[rows] for part in self.parts)
        return self._chosen[1]

    def adopt(self, rows: Tensor, other: tuple[Tensor, ...], source: Tensor, count: int) -> None:
        """Take over entries ``source`` of others' tensors in ``rows``, both LongTensor ``[n]``, of ``count`` rows."""
        if not self.parts:
            self.parts = tuple(torch.zeros((count, *part.shape[1:]), dtype=part.dtype, device=part.device)
                               for part in other)
        for mine, theirs in zip(self.parts, other, strict=True):
            mine[rows] = theirs[source]
        self._chosen = None
