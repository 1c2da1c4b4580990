"""Write the trained model as a checkpoint folder that ``coupled_decoding.from_pretrained`` loads.

    python -m training.emoji.export            # build/emoji/transformer.pt -> src/coupled_decoding/pretrained/emoji

What is written is the average of the weights over the last steps, stored in float16, half the size, and computed with
in float32. The model card that stands there is kept; the curves of the training are added to those in
``docs/figures/training.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from coupled_decoding.models.families.emoji import write_checkpoint
from training.emoji.captions import MAX_PROMPT
from training.emoji.examples import load_text
from training.emoji.tokenizer import SHIPPED, load_vq
from training.emoji.transformer import CHECKPOINT, GRID, averaged_model

CURVES = Path("docs/figures/training.json")


def keep_curves(name: str, history: list[dict[str, float]]) -> None:
    """Put the curves of one training among the others, in place of an earlier state of the same."""
    curves = json.loads(CURVES.read_text()) if CURVES.exists() else {}
    curves[name] = [{key: round(value, 4) for key, value in line.items()} for line in history]
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guidance", type=float, default=3.0, help="scale that the shipped model applies by default")
    parser.add_argument("--name", default="shipped", help="of this training among the kept curves")
    parser.add_argument("--folder", type=Path, default=SHIPPED)
    args = parser.parse_args()

    state = torch.load(CHECKPOINT, weights_only=True)
    model = averaged_model(state)
    write_checkpoint(args.folder, model, load_vq(), load_text(), grid=(GRID, GRID), max_prompt=MAX_PROMPT,
                     guidance_scale=args.guidance)
    keep_curves(args.name, state["history"])
    size = sum(file.stat().st_size for file in args.folder.rglob("*") if file.is_file())
    print(f"{args.folder}: {size / 1e6:.1f} MB, step {state['step']}, {state['seconds'] / 60:.0f} minutes")


if __name__ == "__main__":
    main()
