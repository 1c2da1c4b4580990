"""Pictures of prompts as they are done: all together, or a few at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from coupled_decoding.apps.errors import refusing
from coupled_decoding.apps.progress import DecodingBar

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures


def drawn(
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
            with DecodingBar(method.name, len(rows) * length) as bar:
                out = pipe(rows, method=method, size=size, on_step=bar, **how)
            yield range(len(rows)), out
            return
        many = pipe.generate_many(rows, batch=batch, method=method, size=size, **how)
        with tqdm(total=len(rows), desc=method.name, unit="picture", disable=None, dynamic_ncols=True) as bar:
            for number, out in many:
                bar.update()
                yield [number], out
