"""``model.generate(..., custom_generate="<this repository>", trust_remote_code=True, window=64, seed=7)``.

The repository form of ``coupled_decoding.generate_with``. It takes what ``generate`` takes, ``streamer`` included, and
beside that ``method`` (a name that ``scd generate --method`` takes), the options of that method (``window``,
``first_guess``, ``predict``, ...), and ``seed``.
"""

from collections.abc import Sequence
from typing import Any

import coupled_decoding as cd
from coupled_decoding.decoding.named import DEFAULT, METHODS, method_named, options_of

OPTIONS = {option for name in METHODS for option in options_of(name)}
"""Every option that some method takes: none of them is an argument of ``generate``."""


def generate(
    model: Any, *, method: str = DEFAULT, seed: int | Sequence[int] | None = None, streamer: Any = None,
    **arguments: Any,
) -> Any:
    """See ``coupled_decoding.generate_with``; returns what ``model.generate`` returns."""
    options = {name: arguments.pop(name) for name in OPTIONS & arguments.keys()}
    decoding = cd.generate_with(method_named(method, **options), seed=seed, streamer=streamer)
    return model.generate(**arguments, custom_generate=decoding)
