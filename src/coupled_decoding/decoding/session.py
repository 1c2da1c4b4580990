"""The contract between the method and a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Session(Protocol):
    """A batch of B rows whose prompts are already read in.

    ``decode`` never changes a session and may be called on it again: whatever a forward stores is indexed by position,
    and is written anew before anything that counts can see it.

    A session of your own may derive from :class:`SessionBase`: then it is three attributes and a ``forward``.
    :func:`coupled_decoding.check_session` puts a session through this contract.
    """

    vocab_size: int
    """Number of token ids."""
    output_codes: Tensor | None
    """LongTensor ``[C]`` of increasing token ids, the only ones that the session gives logits of, so that the output
    head computes nothing that cannot be drawn; None: all ids, C is ``vocab_size``."""
    last_token: Tensor
    """LongTensor ``[B]``: the last prompt token of each row, which the first forward reads."""
    last_position: Tensor
    """LongTensor ``[B]``: its absolute position. The first generated token sits at ``last_position + 1``."""
    reads_branches: bool
    """Whether ``forward`` takes ``parents``, and ``keep`` may be called."""
    refills: bool
    """Whether ``adopt`` may be called."""

    @property
    def costs(self) -> dict[int, list[float]]:
        """Seconds of forwards by number of rows, which :mod:`coupled_decoding.decoding.tuning` measures and keeps here.

        The same dict each time. Sessions of one model may share it, so that they are measured once.
        """
        ...

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Logits of the token after each given one.

        Args:
            tokens: LongTensor ``[R, T + M]``: a window of T tokens, then M branch tokens, alternatives to its drafts.
            positions: LongTensor ``[R, T + M]``, the absolute position of each token. Those of the window increase by
                one, start at most one past what the row has read, and may run past the end of the sequence: what comes
                out there is ignored.
            rows: LongTensor ``[R]``, which rows of the batch these are, increasing; None: all, in order. Rows that are
                left out stay as they are, for as long as they are left out. Nobody writes to this tensor after it was
                given, so a session may compare it with the last one by identity (``is``), which spares a comparison of
                values; while the rows stay the same, ``decode`` gives the same tensor.
            parents: LongTensor ``[R, M]``: the slot, 0 .. T+M-1, of the token that each branch token follows, at the
                position after it; the parents of branch tokens stand before them. None: M is 0. Given only to a
                session that ``reads_branches``: others may leave the parameter out.

        Returns:
            ``[R, T + M, C]``, float32 or float64. Entry t of the window depends on the tokens at positions up to
            ``positions[:, t]`` only, each as it was last given. A branch token's entry depends on its parent, what that
            depends on, and itself, and nothing else ever depends on it unless ``keep`` says so.
        """
        ...

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """Let branch tokens of the last forward stand at their positions, in place of what was read there.

        Called between that forward and the next one, only on a session that ``reads_branches``.

        Args:
            which: LongTensor ``[n]``: numbers 0 .. R-1 of rows of that forward.
            slots: LongTensor ``[n]``: which of its tokens, 0 .. T+M-1.
        """
        ...

    def adopt(self, row: int, other: Any, source: int) -> None:
        """Let a row stand behind the prompt that row ``source`` of another session of the same model has read.

        What the row held is dropped; ``last_token`` and ``last_position`` change in place. Other rows stay as they are.
        Called between two forwards, only on a session that ``refills``.
        """
        ...


class SessionBase(ABC):
    """A session to derive from: set ``vocab_size``, ``last_token`` and ``last_position``, and write ``forward``.

    It gives logits of all ids, reads no branches and refills no rows, until a subclass says otherwise; see
    :class:`Session`.
    """

    vocab_size: int
    last_token: Tensor
    last_position: Tensor
    output_codes: Tensor | None = None
    reads_branches: bool = False
    refills: bool = False

    @cached_property
    def costs(self) -> dict[int, list[float]]:
        """Of this session alone."""
        return {}

    @abstractmethod
    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """See :meth:`Session.forward`."""

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """See :meth:`Session.keep`."""
        raise NotImplementedError(f"{type(self).__name__} reads no branches")

    def adopt(self, row: int, other: Any, source: int) -> None:
        """See :meth:`Session.adopt`."""
        raise NotImplementedError(f"{type(self).__name__} refills no rows")
