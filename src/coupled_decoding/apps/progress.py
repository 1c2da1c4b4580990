"""A progress bar for decoding: tokens committed, time left, tokens a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    import coupled_decoding as cd

Listener = Callable[[Any], None]
"""Told of each step, of pictures or of clips."""


class DecodingBar:
    """Shows a decode on stderr while it runs, where stderr is a terminal; to be given to a pipeline as ``on_step``.

    Args:
        description: what stands before the bar.
        tokens: how many tokens are drawn of all pictures or clips together.
        listeners: told of each step after the bar.
    """

    def __init__(self, description: str, tokens: int, listeners: Sequence[Listener] = ()) -> None:
        self._bar = tqdm(
            total=tokens, desc=description, disable=None, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} tokens, {remaining} left{postfix}",
        )
        self._listeners = listeners
        self._done = self._rows_stepped = 0
        self._committed: list[int] = []

    def __call__(self, step: cd.Step) -> None:
        rows = len(step.committed)
        # before the first step the tokens that were given stand, as many in each row
        before = self._committed or [(sum(step.lengths) - self._bar.total) // rows] * rows
        # a finished row takes part in no step
        self._rows_stepped += sum(now > then for now, then in zip(step.committed, before, strict=True))
        self._committed = step.committed
        new = sum(step.committed) - sum(before)
        self._done += new
        self._bar.set_postfix_str(f"{self._done / self._rows_stepped:.1f} tokens a step", refresh=False)
        self._bar.update(new)
        for listener in self._listeners:
            listener(step)

    def __enter__(self) -> DecodingBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.close()
