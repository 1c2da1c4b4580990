"""Judge the shipped model by number and by eye.

    python -m training.emoji.evaluate          # writes docs/figures/model.json, docs/images/{grid,losses,tokenizer}.png

Recognisability: 120 trained and all held-out subjects are drawn as "NAME, noto style" at several guidance scales; a
subject is recognised if its own Noto drawing is among the five of all that are nearest to the picture by
EfficientNet-Lite0 features, beside the same for drawings that only went through the tokenizer. Colour: prompts
"a COLOUR THING" that were never trained on, and the share whose mean hue is that colour's. Nats a code with a picture's
own caption, with another's and with none; entropy of the target distribution along sampled pictures; a grid of 40
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
from torch.nn import functional as F
from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.evaluation.bench.plots import save_figure
from coupled_decoding.evaluation.metrics.entropy import mean_entropy
from coupled_decoding.models.families.emoji import EmojiModel
from coupled_decoding.serving.causal_lm import CausalLM
from data.prompts import PATH as PROMPTS
from training.emoji.captions import styled
from training.emoji.recognition import Gallery, as_tensor, colour_prompts, has_colour, recognised
from training.emoji.tokenizer import CHECKPOINT as TOKENIZER_CHECKPOINT
from training.emoji.tokenizer import load_pictures, quality
from training.emoji.transformer import CHECKPOINT

DOCS = Path("docs")
GUIDANCE = (1.0, 3.0, 5.0)
TRAINED_SUBJECTS = 120
METHOD = cd.SeedExact(window=32)
"""Draws what AR draws, in fewer forwards."""
COMBINATIONS = [  # nothing in the data is called so
    "a purple heart, noto style", "a green cat face", "a blue apple", "a red car with a smiling face",
    "a yellow snowman", "a pink elephant", "a cat wearing sunglasses", "a crying pizza",
]


def draw(pipe: cd.PicturePipeline, prompts: list[str], scale: float) -> list[Image.Image]:
    """One picture of each prompt, seeds 0, 1, ..."""
    many = pipe.generate_many(prompts, batch=16, method=METHOD, guidance_scale=scale, seed=0)
    images = {number: out.images[0] for number, out in tqdm(many, total=len(prompts), desc=f"guidance {scale}")}
    return [images[number] for number in range(len(prompts))]


def recognisability(
    pipe: cd.PicturePipeline, gallery: Gallery, noto: list[dict], pictures: Tensor, guidance: tuple[float, ...]
) -> dict[str, dict[str, object]]:
    """Of trained and held-out subjects, drawn and only encoded and decoded; ``noto`` describes ``pictures``."""
    assert isinstance(pipe.model, EmojiModel)
    vq, rng = pipe.model.vq, random.Random(0)
    trained = [i for i, d in enumerate(noto) if not d["held_out"]]
    splits = {"trained": sorted(rng.sample(trained, TRAINED_SUBJECTS)),
              "held-out": [i for i, d in enumerate(noto) if d["held_out"]]}
    out: dict[str, dict[str, object]] = {}
    for split, subjects in splits.items():
        own = torch.tensor(subjects)
        with torch.no_grad():
            decoded = torch.cat([vq.decode(vq.encode(some.float() / 255)) for some in pictures[own].split(64)])
        out[f"{split}, reconstructed"] = recognised(gallery.ranks(decoded, own)).as_dict()
        for scale in guidance:
            drawn = draw(pipe, [styled(noto[i]["name"], noto[i]) for i in subjects], scale)
            out[f"{split}, guidance {scale:g}"] = recognised(gallery.ranks(as_tensor(drawn), own)).as_dict()
    return out


def nats(model: EmojiModel, prompts: list[list[int]], codes: Tensor) -> float:
    """Mean negative log-likelihood per code of pictures ``[N, 256]`` under their prompts."""
    assert isinstance(model.backbone, CausalLM)
    total = 0.0
    for prompt, picture in zip(prompts, codes, strict=True):
        ids = torch.tensor([[*prompt, *picture.tolist()]])
        logits = model.backbone.model(ids).logits[0, len(prompt) - 1 : -1, model.layout.codes]
        total += float(F.cross_entropy(logits.float(), picture.long()))
    return total / len(prompts)


def nats_by_caption(model: EmojiModel, pictures: Tensor, descriptions: list[dict]) -> dict[str, float]:
    """With each picture's own name and style, another picture's of the same style, any other's, and with none."""
    codes = torch.cat([model.vq.encode(some.float() / 255).flatten(1) for some in pictures.split(64)])
    own = [model.prompt_ids(styled(d["name"], d), model.size) for d in descriptions]
    rng = random.Random(0)
    same_style = own[:]
    for style in {d["style"] for d in descriptions}:
        places = [i for i, d in enumerate(descriptions) if d["style"] == style]
        for place, source in zip(places, rng.sample(places, len(places)), strict=True):
            same_style[place] = own[source]
    captions = {
        "own caption": own, "another's of the same style": same_style, "another's": rng.sample(own, len(own)),
        "no caption": [model.unconditional_ids([], model.size)] * len(own),
    }
    return {name: nats(model, prompts, codes) for name, prompts in captions.items()}


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
    """Of the trainings whose checkpoints are here; a tokenizer that shipped already has none."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    history = torch.load(CHECKPOINT, weights_only=True)["history"]
    for name in ("train", "held_out", "other_caption"):
        right.plot([h["step"] for h in history], [h[name] for h in history], label=name.replace("_", " "))
    right.set(xlabel="step", ylabel="nats per code", title="transformer")
    right.legend()
    if TOKENIZER_CHECKPOINT.exists():
        history = torch.load(TOKENIZER_CHECKPOINT, weights_only=True)["history"]
        left.plot([h["step"] for h in history], [h["psnr"] for h in history])
        left.set(xlabel="step", ylabel="dB", title="tokenizer: PSNR on held-out pictures")
    else:
        left.plot([h["step"] for h in history], [h["other_caption"] - h["held_out"] for h in history])
        left.set(xlabel="step", ylabel="nats per code", title="what another's caption costs, held-out pictures")
    save_figure(figure, path)


@torch.no_grad()
def main() -> None:
    for folder in ("figures", "images"):
        (DOCS / folder).mkdir(parents=True, exist_ok=True)
    pipe = cd.from_pretrained("emoji")
    model = pipe.model
    assert isinstance(model, EmojiModel)
    pictures, descriptions = load_pictures()
    noto = [i for i, d in enumerate(descriptions) if d["style"] == "noto" and not d["toned"]]
    gallery = Gallery(pictures[noto])
    split = json.loads(PROMPTS.read_text(encoding="utf-8"))
    held_out = [i for i, d in enumerate(descriptions) if d["held_out"] and not d["toned"]]
    trained = random.Random(0).sample(
        [i for i, d in enumerate(descriptions) if not d["held_out"] and not d["toned"]], len(held_out))
    colours = colour_prompts(pictures, descriptions)
    coloured = draw(pipe, [prompt for prompt, _ in colours], pipe.guidance_scale)
    right = [has_colour(picture, colour) for picture, (_, colour) in zip(coloured, colours, strict=True)]
    figures = {
        "recognisability": recognisability(pipe, gallery, [descriptions[i] for i in noto], pictures[noto], GUIDANCE),
        "default guidance": pipe.guidance_scale,
        "colour prompts": len(colours),
        "colour right": sum(right) / len(right),
        "nats per code, trained": nats_by_caption(model, pictures[trained], [descriptions[i] for i in trained]),
        "nats per code, held-out": nats_by_caption(model, pictures[held_out], [descriptions[i] for i in held_out]),
        "tokenizer PSNR on held-out pictures, dB": quality(model.vq, pictures[held_out]),
        "entropy at temperature 1, trained": entropy(model, split["trained"]),
        "entropy at temperature 1, held-out": entropy(model, split["held_out"]),
    }
    (DOCS / "figures/model.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))

    titles = split["trained"][:16] + split["held_out"][:16] + COMBINATIONS
    out = pipe(titles, seed=7)
    marks = [""] * 16 + ["held out: "] * 16 + ["new: "] * len(COMBINATIONS)
    captioned_grid(out.images, [m + t for m, t in zip(marks, titles, strict=True)], DOCS / "images/grid.png")
    shown = pictures[held_out][::14][:16]
    decoded = model.vq.decode(model.vq.encode(shown.float() / 255))
    pairs = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in (*shown, *(decoded * 255).round().byte())]
    grid(pairs, 16).save(DOCS / "images/tokenizer.png")
    loss_curves(DOCS / "images/losses.png")


if __name__ == "__main__":
    main()
