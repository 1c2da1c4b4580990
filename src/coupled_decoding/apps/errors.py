"""How commands end badly: one sentence on stderr and exit code 2; 130 when interrupted. The rest is a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup


class BadInput(Exception):
    """Something that the user gave cannot be used; the message is one sentence that says what and why."""


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turn the given errors, where they can only mean bad input, into :class:`BadInput`."""
    try:
        yield
    except errors as error:
        raise BadInput(str(error) or type(error).__name__) from error


class Verbs(TyperGroup):
    """A group of commands that reports bad input and interruption in one line."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            # typer's usage errors have no public base class in every version of it; they all can format themselves
            message = error if isinstance(error, BadInput) else getattr(error, "format_message", lambda: None)()
            if message is None:
                raise
            typer.echo(f"scd: error: {' '.join(str(message).split())}", err=True)
            sys.exit(2)
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("scd: interrupted, no file is half-written", err=True)
            raise  # typer exits with 130
