"""Write the trained model as a checkpoint folder that ``coupled_decoding.from_pretrained`` loads.

    python -m training.doom.export             # build/doom/best.pt -> src/coupled_decoding/pretrained/doom

Weights are stored in float16, half the size, and computed with in float32. What else stands there (the model card, the
examples) is kept.
"""

from __future__ import annotations

from pathlib import Path

import torch

from coupled_decoding.models.families.doom import write_checkpoint
from coupled_decoding.models.networks.clip_transformer import ClipTransformer, ClipTransformerConfig
from training.doom.tokenizer import load_tokenizer
from training.doom.transformer import BEST

SHIPPED = Path("src/coupled_decoding/pretrained/doom")


def main() -> None:
    best = torch.load(BEST, weights_only=True)
    transformer = ClipTransformer(ClipTransformerConfig())
    transformer.load_state_dict(best["model"])
    write_checkpoint(SHIPPED, transformer, load_tokenizer())
    size = sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file())
    print(f"{SHIPPED}: {size / 1e6:.1f} MB, step {best['step']}, held-out {best['held_out']:.4f} nats a code")


if __name__ == "__main__":
    main()
