"""Write the trained model as a checkpoint folder that ``coupled_decoding.from_pretrained`` loads.

    python -m training.emoji.export            # build/emoji/best.pt -> src/coupled_decoding/pretrained/emoji

Weights are stored in float16, half the size, and computed with in float32. The model card that stands there is kept.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from coupled_decoding.models.families.emoji import write_checkpoint
from training.emoji.captions import MAX_PROMPT
from training.emoji.data import BUILD
from training.emoji.transformer import BEST, GRID, load_vq, model_config

SHIPPED = Path("src/coupled_decoding/pretrained/emoji")


def main() -> None:
    model = LlamaForCausalLM(model_config())
    best = torch.load(BEST, weights_only=True)
    model.load_state_dict(best["model"])
    text = Tokenizer.from_file(str(BUILD / "tokenizer.json"))
    write_checkpoint(SHIPPED, model, load_vq(), text, grid=(GRID, GRID), max_prompt=MAX_PROMPT)
    size = sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file())
    print(f"{SHIPPED}: {size / 1e6:.1f} MB, step {best['step']}, held-out {best['held_out']:.4f} nats a code")


if __name__ == "__main__":
    main()
