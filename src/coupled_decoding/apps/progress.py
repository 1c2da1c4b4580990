"""Decoding with a progress bar: tokens committed, time left, tokens per step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from coupled_decoding.apps.errors import refusing

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures

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
        self._bar = bar(
            total=tokens, desc=description,
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
        self._bar.set_postfix_str(f"{self._done / self._rows_stepped:.1f} tokens per step", refresh=False)
        self._bar.update(new)
        for listener in self._listeners:
            listener(step)

    def __enter__(self) -> DecodingBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.close()


def bar(**options: Any) -> Any:
    """A bar of tqdm, where stderr is a terminal."""
    from tqdm import tqdm

    return tqdm(disable=None, dynamic_ncols=True, **options)


def pictures_as_done(
    pipe: PicturePipeline, rows: Sequence[str], batch: int | None, *, method: cd.Method,
    size: tuple[int, int] | None, **how: Any
) -> Generator[tuple[Sequence[int], Pictures], None, None]:
    """Numbers of pictures, and the pictures, with a bar meanwhile.

    Args:
        pipe: what draws.
        rows: the prompt of each picture.
        batch: None draws all together and gives them at the end; a number draws so many at a time, and gives each
            picture alone, as soon as it is done.
        method, size, how: as the pipeline takes them.
    """
    with refusing(ValueError, FileNotFoundError):
        if batch is None:
            length = pipe.model.layout_of(size or pipe.model.size).length
            with DecodingBar(method.name, len(rows) * length) as shown:
                out = pipe(rows, method=method, size=size, on_step=shown, **how)
            yield range(len(rows)), out
            return
        many = pipe.generate_many(rows, batch=batch, method=method, size=size, **how)
        with bar(total=len(rows), desc=method.name, unit="picture") as shown:
            for number, out in many:
                shown.update()
                yield [number], out


def draw_with_each(
    methods: Sequence[cd.Method], draw: Callable[..., Any], tokens: int, listeners: Sequence[Listener] = ()
) -> list[Any]:
    """What ``draw(method=, on_step=)`` gives for each method, with a bar for each over this many tokens."""
    with refusing(ValueError, FileNotFoundError):
        if len(methods) > 1:  # one step of each, so that none of them pays for what happens only once
            for method in methods:
                draw(method=method, on_step=lambda step: False)
        outs = []
        width = max(len(method.name) for method in methods)
        for method in methods:
            with DecodingBar(f"{method.name:<{width}}", tokens, listeners) as shown:
                outs.append(draw(method=method, on_step=shown))
        return outs
