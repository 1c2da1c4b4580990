"""Checkpoints of trainings: there whole or not at all, so a run that is cut off can be continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save(path: Path, content: dict[str, Any]) -> None:
    """Write beside the checkpoint's place, then move it there."""
    partial = path.with_suffix(".tmp")
    torch.save(content, partial)
    partial.replace(path)
