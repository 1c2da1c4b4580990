"""The prompts of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

PATH = Path(__file__).with_name("prompts.json")


def prompts(most: int | None = None) -> list[str]:
    """Trained and held-out subjects in turn, so that any beginning holds half of each."""
    split = json.loads(PATH.read_text(encoding="utf-8"))
    mixed = [name for pair in zip(split["trained"], split["held_out"], strict=True) for name in pair]
    return mixed[:most]
