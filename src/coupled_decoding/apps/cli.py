"""The command ``scd``: its verbs, one file each, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from coupled_decoding.apps.bench import bench
from coupled_decoding.apps.compare import compare
from coupled_decoding.apps.errors import BadInput, ending, lacks_memory, tell
from coupled_decoding.apps.generate import generate
from coupled_decoding.apps.models import models
from coupled_decoding.apps.video import video

# verbs import what computes (torch, the models) and what draws (Pillow) when they need it: help comes at once


class Verbs(TyperGroup):
    """A group of commands that reports bad input, too little memory and interruption in one line."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            message = _sentence(error)
            if message is None:
                raise
            tell(f"error: {message}")
            sys.exit(2)
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            number = getattr(error, "number", 2)
            tell(ending(number))
            raise typer.Exit(128 + number) from error


def _sentence(error: Exception) -> str | None:
    """What an error says to the user; None for a mistake of ours."""
    if isinstance(error, BadInput):
        return str(error)
    if lacks_memory(error):
        return ("out of memory: draw fewer at a time (scd generate --batch N, or a smaller -n), read fewer tokens at a "
                "time with --window, or compute in --dtype bfloat16")
    if isinstance(error, OSError):
        # what goes into files is refused where it is written; only a stream has no name
        return str(error) if error.filename else f"cannot write to standard output: {error.strerror or error}"
    # typer's usage errors have no public base class in every version of it; they all can format themselves
    said: str | None = getattr(error, "format_message", lambda: None)()
    return said


app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def run() -> None:
    """Run the command that the process was given."""
    app(prog_name="scd")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"scd {version('coupled-decoding')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def scd(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True,
                                           help="Print the version and exit.")] = False,
) -> None:
    """Pictures and clips by Speculative Coupled Decoding: lossless, in several times fewer forwards of the model.

    \b
    Start with:
      scd generate "a red heart" "a slice of pizza" -o out/
      scd compare "a red heart"
      scd video corridor -o clip.gif
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for verb in (generate, compare, video, bench, models):
    app.command()(verb)
