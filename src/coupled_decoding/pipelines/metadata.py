"""What reproduces a result, as text."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

import torch

from coupled_decoding.decoding.methods import Method
from coupled_decoding.decoding.noise import NOISE_VERSION
from coupled_decoding.decoding.sampling import Sampling


def recipe(model: str, dtype: torch.dtype, method: Method, sampling: Sampling) -> dict[str, str]:
    """What pictures and clips have in common: the model by its name, how it computed and how it was decoded."""
    options = {**asdict(method), **asdict(sampling)}
    return {
        "model": model, "dtype": str(dtype).removeprefix("torch."), "method": method.name,
        **{key: str(value) for key, value in options.items() if value is not None},
        "noise": NOISE_VERSION, "software": f"coupled-decoding {version('coupled-decoding')}",
    }
