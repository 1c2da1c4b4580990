"""torch.compile of a transformer's forward."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from weakref import WeakSet

import torch
from torch import nn

_COMPILED: WeakSet[nn.Module] = WeakSet()


def compile_forward(transformer: nn.Module) -> None:
    """Let ``torch.compile`` make the forwards of a transformer, in place."""
    if transformer not in _COMPILED:
        # numbers of tokens, rows and slots are free from the start: each found out later would be another compilation
        transformer.compile(dynamic=True)
        _COMPILED.add(transformer)


def eager(transformer: nn.Module) -> AbstractContextManager[object]:
    """A context in which forwards run as if nothing had been compiled: for what is read once, prompts above all, whose
    shapes would be a compilation of their own.
    """
    # setting it imports the compiler, which takes a second or two
    return torch.compiler.set_stance("force_eager") if transformer in _COMPILED else nullcontext()
