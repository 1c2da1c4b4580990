"""The prompts that training and benchmarks measure on.

    python -m data.prompts 20             # the first 20, one a line, as `scd bench --prompts` reads them
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PATH = Path(__file__).with_name("prompts.json")


def prompts(most: int | None = None) -> list[str]:
    """Trained and held-out subjects in turn, so that any beginning holds half of each."""
    split = json.loads(PATH.read_text(encoding="utf-8"))
    mixed = [name for pair in zip(split["trained"], split["held_out"], strict=True) for name in pair]
    return mixed[:most]


if __name__ == "__main__":
    print("\n".join(prompts(int(sys.argv[1]))))
