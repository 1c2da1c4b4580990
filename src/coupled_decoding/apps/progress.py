"""A progress bar for decoding: tokens committed, time left, tokens a step."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    import coupled_decoding as cd


class DecodingBar:
    """Shows a decode on stderr while it runs, where stderr is a terminal; to be given to a pipeline as ``on_step``.

    Args:
        description: what stands before the bar.
        tokens: how many tokens all pictures have together.
    """

    def __init__(self, description: str, tokens: int) -> None:
        self._bar = tqdm(
            total=tokens, desc=description, disable=None, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} tokens, {remaining} left{postfix}",
        )
        self._rows_stepped = 0
        self._committed: list[int] = []

    def __call__(self, step: cd.Step) -> None:
        before = self._committed or [0] * len(step.committed)
        # a finished row takes part in no step
        self._rows_stepped += sum(now > then for now, then in zip(step.committed, before, strict=True))
        self._committed = step.committed
        done = sum(step.committed)
        self._bar.set_postfix_str(f"{done / self._rows_stepped:.1f} tokens a step", refresh=False)
        self._bar.update(done - sum(before))

    def __enter__(self) -> DecodingBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.close()
