"""The contract between the method and a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Session(Protocol):
    """A batch of B rows whose prompts are already read in.

    ``decode`` never changes a session and may be called on it again: whatever a forward stores is indexed by position,
    and is written anew before anything that counts can see it.

    A session may also have ``output_codes``, a LongTensor ``[C]`` of increasing vocabulary ids: its logits then have C
    columns, one for each of these codes, so that the output head computes nothing that cannot be drawn.

    :func:`coupled_decoding.check_session` puts a session through this contract.
    """

    vocab_size: int
    """Number of token ids."""
    last_token: Tensor
    """LongTensor ``[B]``: the last prompt token of each row, which the first forward reads."""
    last_position: Tensor
    """LongTensor ``[B]``: its absolute position. The first generated token sits at ``last_position + 1``."""

    def forward(self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits of the token after each given one.

        Args:
            tokens: LongTensor ``[R, T]``.
            positions: LongTensor ``[R, T]``, the absolute position of each token. They increase by one along T, start
                at most one past what the row has read, and may run past the end of the sequence: what comes out there
                is ignored.
            rows: LongTensor ``[R]``, which rows of the batch these are, increasing; None: all, in order.

        Returns:
            ``[R, T, vocab_size]`` (or ``[R, T, C]``, see ``output_codes``), float32 or float64. Entry t depends on the
            tokens at positions up to ``positions[:, t]`` only, each as it was last given.
        """
        ...


@runtime_checkable
class BranchingSession(Session, Protocol):
    """A session that reads branches: alternatives to drafts of a window, in the same forward as the window itself."""

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Logits of the token after each given one; see :meth:`Session.forward`.

        Args:
            tokens, positions: ``[R, T + M]``: a window of T tokens, then M branch tokens.
            parents: LongTensor ``[R, M]``: the column, 0 .. T+M-1, of the token that each branch token follows, at the
                position after it; the parents of branch tokens stand before them. A branch token's logits depend on
                its parent, what that depends on, and itself, and nothing else ever depends on it unless ``keep`` says
                so. None: there are no branches.
        """
        ...

    def keep(self, which: Tensor, columns: Tensor) -> None:
        """Let branch tokens of the last forward stand at their positions, in place of what was read there.

        Args:
            which: LongTensor ``[n]``: numbers 0 .. R-1 of rows of that forward.
            columns: LongTensor ``[n]``: which of its tokens.
        """
        ...


@runtime_checkable
class RefillableSession(Session, Protocol):
    """A session whose rows can be given another prompt when they have ended."""

    def adopt(self, row: int, other: Any, source: int) -> None:
        """Let a row stand behind the prompt that row ``source`` of another session of the same model has read.

        What the row held is dropped; ``last_token`` and ``last_position`` change in place.
        """
        ...
