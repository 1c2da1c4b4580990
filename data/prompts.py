"""The prompts that training and benchmarks measure on.

    python -m data.prompts 20             # the first 20, one per line, as `scd bench --prompts` reads them

``prompts.json`` holds them; ``python -m training.emoji.prompts`` chose them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("prompts.json")


@dataclass(frozen=True)
class Subjects:
    """What pictures are of; as many of each kind."""

    trained: list[str]
    """The model saw pictures of these,"""
    held_out: list[str]
    """and never one of these."""

    def mixed(self) -> list[str]:
        """Of either kind in turn, so that any beginning holds half of each."""
        return [name for pair in zip(self.trained, self.held_out, strict=True) for name in pair]


def subjects(path: Path = PATH) -> Subjects:
    """All that there are."""
    return Subjects(**json.loads(path.read_text(encoding="utf-8")))


def prompts(most: int | None = None) -> list[str]:
    """The first prompts, of trained and held-out subjects in turn; None: all.

    ValueError where there are fewer than ``most``.
    """
    every = subjects().mixed()
    if most is not None and not 0 < most <= len(every):
        raise ValueError(f"{most} prompts: {PATH.name} holds {len(every)}, give 1 to {len(every)}")
    return every[:most]


if __name__ == "__main__":
    print("\n".join(prompts(int(sys.argv[1]))))
