"""The prompts that figures are measured on: subjects of the training split and held-out subjects, half each.

    python -m training.emoji.prompts           # writes data/prompts.json
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from training.emoji.data import BUILD

PROMPTS = Path("data/prompts.json")
EACH = 50


def main() -> None:
    descriptions = json.loads((BUILD / "pictures.json").read_text())
    rng = random.Random(0)
    chosen = {}
    for split, held_out in (("trained", False), ("held_out", True)):
        names = sorted({d["name"] for d in descriptions if d["held_out"] is held_out and not d["toned"]})
        chosen[split] = sorted(rng.sample(names, EACH))
    PROMPTS.write_text(json.dumps(chosen, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{PROMPTS}: {EACH} trained and {EACH} held-out subjects")


if __name__ == "__main__":
    main()
