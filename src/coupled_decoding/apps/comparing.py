"""The same thing drawn by one method after the other, and what each took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from coupled_decoding.apps.progress import DecodingBar, Listener
from coupled_decoding.apps.reports import measures

if TYPE_CHECKING:
    import coupled_decoding as cd


def draw_with_each(
    methods: Sequence[cd.Method], draw: Callable[..., Any], tokens: int, listeners: Sequence[Listener] = ()
) -> list[Any]:
    """What ``draw(method=, on_step=)`` gives for each method, with a bar for each over this many tokens."""
    for method in methods:  # one step of each, so that none of them pays for what happens only once
        draw(method=method, on_step=lambda step: False)
    outs = []
    for method in methods:
        with DecodingBar(f"{method.name:<11}", tokens, listeners) as bar:
            outs.append(draw(method=method, on_step=bar))
    return outs


def measures_of_each(methods: Sequence[cd.Method], outs: Sequence[Any], drawn: str = "picture") -> list[dict[str, Any]]:
    """The measures of each method, and how many times faster than the first it was."""
    measured = [measures(method, out, drawn) for method, out in zip(methods, outs, strict=True)]
    return [{**one, "speedup_in_seconds": measured[0]["seconds"] / one["seconds"]} for one in measured]
