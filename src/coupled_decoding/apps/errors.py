"""How commands end badly: with one sentence on stderr, and exit code 2, or 128 and the number of a signal.

Bad input, a full disk and too little memory are told in one sentence. Any other exception is a mistake of this package
and stays a traceback. No typer here, so that signals are in hand before anything slow is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals by which a user, a scheduler or a closed terminal ends a command."""
MEMORY = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "bad allocation", "alloc_failed")
"""What libraries say that find no memory, in lower case: neither torch nor drivers have one class for it."""


class BadInput(Exception):
    """Something that the user gave cannot be used; the message is one sentence that says what and why."""


class Interrupted(KeyboardInterrupt):
    """A signal came while a file was being written."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turn the given errors, where they can only mean bad input, into :class:`BadInput`."""
    try:
        yield
    except errors as error:
        if lacks_memory(error):
            raise
        raise BadInput(str(error) or type(error).__name__) from error


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception, or one that it came from, says that there is too little memory."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or any(words in str(cause).lower() for words in MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def tell(words: str) -> None:
    """One line on stderr; nothing where stderr takes nothing."""
    with suppress(OSError, ValueError):
        print(f"scd: {' '.join(words.split())}", file=sys.stderr, flush=True)


def note(words: str) -> None:
    """Say on stderr what the user may not expect, and continue."""
    tell(f"note: {words}")


def ending(number: int) -> str:
    """What is said when a signal ends a command."""
    return f"{'interrupted' if number == signal.SIGINT else 'terminated'}, no file is half-written"


def leave_at_signals() -> None:
    """Let signals end the process at once, with a sentence; those that are ignored, as under nohup, stay so.

    Nothing is to be cleaned up but where :func:`cleaning_up` says so. An exception would not do everywhere: within an
    import, Python may drop it.
    """
    for one in ENDING:
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, _leave)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Where there is something to clean up: signals raise :class:`Interrupted` while the block runs."""
    ours = [one for one in ENDING if signal.getsignal(one) is _leave]
    try:
        for one in ours:
            signal.signal(one, _raise)
        yield
    finally:
        for one in ours:
            signal.signal(one, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        begin = "\n" if os.isatty(2) else ""  # below a progress bar
        os.write(2, f"{begin}scd: {ending(number)}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)
