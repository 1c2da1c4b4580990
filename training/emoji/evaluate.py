"""Judge the shipped model by number and by eye.

    python -m training.emoji.evaluate          # writes docs/figures/model.json, docs/images/{grid,losses,tokenizer}.png

Tokenizer PSNR on held-out pictures; nats a code on held-out pictures with their own caption, with another picture's
caption and with none; mean entropy of the target distribution at temperature 1 along sampled pictures; a grid of 40
prompts; loss curves.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.plots import save_figure
from coupled_decoding.evaluation.metrics.entropy import mean_entropy
from coupled_decoding.models.families.emoji import EmojiModel
from data.prompts import PATH as PROMPTS
from training.emoji.captions import draw_caption
from training.emoji.tokenizer import CHECKPOINT as TOKENIZER_CHECKPOINT
from training.emoji.tokenizer import load_pictures, quality
from training.emoji.transformer import CHECKPOINT, encode_all

DOCS = Path("docs")
COMBINATIONS = [  # nothing in the data is called so
    "a purple heart, noto style", "a green cat face", "a blue apple", "a red car with a smiling face",
    "a yellow snowman", "a pink elephant", "a cat wearing sunglasses", "a crying pizza",
]


def nats(model: EmojiModel, prompts: list[list[int]], codes: Tensor) -> Tensor:
    """Mean negative log-likelihood of each picture's codes under its prompt, ``[N]``."""
    transformer, out = model.backbone.model, []
    for prompt, picture in zip(prompts, codes, strict=True):
        ids = torch.tensor([[*prompt, *picture.tolist()]])
        logits = transformer(ids).logits[0, len(prompt) - 1 : -1, model.layout.codes]
        out.append(torch.nn.functional.cross_entropy(logits.float(), picture.long()))
    return torch.stack(out)


def entropy(model: EmojiModel, prompts: list[str]) -> float:
    """Mean entropy in nats of the target distribution along pictures sampled at temperature 1."""
    session = model.session(prompts, 1.0, model.size)
    tokens = cd.decode(session, model.layout.length, layout=model.layout, seed=0).tokens
    return float(mean_entropy(session, tokens).mean())


def grid(pictures: list[Image.Image], columns: int, scale: int = 2) -> Image.Image:
    side = 64 * scale
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (i % columns * side, i // columns * side))
    return sheet


def captioned_grid(pictures: list[Image.Image], titles: list[str], path: Path, columns: int = 8) -> None:
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.7 * columns, 1.95 * rows))
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(np.asarray(picture), interpolation="lanczos")
        axis.set_title(title, fontsize=6.5, wrap=True)
    for axis in axes.flat:
        axis.axis("off")
    save_figure(figure, path)


def loss_curves(path: Path) -> None:
    tokenizer = torch.load(TOKENIZER_CHECKPOINT, weights_only=True)["history"]
    transformer = torch.load(CHECKPOINT, weights_only=True)["history"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    left.plot([h["step"] for h in tokenizer], [h["psnr"] for h in tokenizer])
    left.set(xlabel="step", ylabel="dB", title="tokenizer: PSNR on held-out pictures")
    for name in ("train", "held_out"):
        right.plot([h["step"] for h in transformer], [h[name] for h in transformer], label=name.replace("_", "-"))
    right.set(xlabel="step", ylabel="nats a code", title="transformer", ylim=(None, 4))
    right.legend()
    save_figure(figure, path)


@torch.no_grad()
def main() -> None:
    for folder in ("figures", "images"):
        (DOCS / folder).mkdir(parents=True, exist_ok=True)
    pipe = cd.from_pretrained("emoji")
    model = pipe.model
    assert isinstance(model, EmojiModel)
    pictures, descriptions = load_pictures()
    held_out = [i for i, d in enumerate(descriptions) if d["held_out"] and not d["toned"]]
    codes = encode_all(pictures)[held_out, 0]
    rng = random.Random(0)
    nothing = model.unconditional_ids([], model.size)
    own = [model.prompt_ids(draw_caption(descriptions[i], rng), model.size) for i in held_out]
    shuffled = own[:]
    rng.shuffle(shuffled)
    split = json.loads(PROMPTS.read_text(encoding="utf-8"))
    figures = {
        "held-out pictures": len(held_out),
        "tokenizer PSNR, dB": quality(model.vq, pictures[held_out]),
        "nats a code, own caption": float(nats(model, own, codes).mean()),
        "nats a code, another picture's caption": float(nats(model, shuffled, codes).mean()),
        "nats a code, no caption": float(nats(model, [nothing] * len(own), codes).mean()),
        "entropy of the target at temperature 1, trained subjects": entropy(model, split["trained"]),
        "entropy of the target at temperature 1, held-out subjects": entropy(model, split["held_out"]),
    }
    (DOCS / "figures/model.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))

    titles = split["trained"][:16] + split["held_out"][:16] + COMBINATIONS
    out = pipe(titles, guidance_scale=3.0, seed=7)
    marks = [""] * 16 + ["held out: "] * 16 + ["new: "] * len(COMBINATIONS)
    captioned_grid(out.images, [m + t for m, t in zip(marks, titles, strict=True)], DOCS / "images/grid.png")
    shown = pictures[held_out][::14][:16]
    decoded = model.vq.decode(model.vq.encode(shown.float() / 255))
    pairs = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in (*shown, *(decoded * 255).round().byte())]
    grid(pairs, 16).save(DOCS / "images/tokenizer.png")
    loss_curves(DOCS / "images/losses.png")


if __name__ == "__main__":
    main()
