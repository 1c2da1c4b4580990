"""In which precision a checkpoint is held, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Placement:
    """In which precision weights are held, and where; and whether what comes as a program may run.

    Args:
        dtype: of the transformer.
        device: where everything runs, unless ``device_map`` says otherwise.
        device_map: as in transformers' ``from_pretrained`` (``"auto"``, or module names to devices): spreads the
            transformer over devices by accelerate.
        allow_torchscript: whether TorchScript files of a checkpoint may be loaded, which run code of their own.
    """

    dtype: torch.dtype
    device: torch.device
    device_map: str | Mapping[str, Any] | None = None
    allow_torchscript: bool = False
