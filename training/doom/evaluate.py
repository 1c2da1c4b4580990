"""Figures and pictures of the shipped video model, for its card.

    python -m training.doom.evaluate           # writes docs/figures/doom.json, docs/images/doom.png, doom-losses.png

On the held-out clips of data/clips, none of which chose a checkpoint. The picture shows, for one clip a row pair,
the frames as they were and how the model continues the first nine.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.plots import save_figure
from coupled_decoding.evaluation.metrics.clips import psnr
from coupled_decoding.evaluation.metrics.entropy import mean_entropy
from coupled_decoding.media.pixels import to_pixels
from coupled_decoding.models.families.doom import DoomModel
from data.held_out import CONTEXT, FRAMES, Clip, read_clips
from training.doom.tokenizer import CHECKPOINT as TOKENIZER_CHECKPOINT
from training.doom.transformer import CHECKPOINT

DOCS = Path("docs")
SHOWN, STEP = 6, 4
"""Clips on the picture, and frames from one shown to the next."""


@torch.no_grad()
def nats(model: DoomModel, codes: Tensor) -> float:
    """Mean nats of a code after the context, on streams ``[B, n]``."""
    known = model.length_of(CONTEXT)
    session = model.session(codes[:, :known], FRAMES, None)
    fed = codes[:, known - 1 : -1]
    logits = session.forward(fed, session.last_position.unsqueeze(1) + torch.arange(fed.shape[1]))
    drawn = codes[:, known:] - model.sizes.first_codes
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), drawn.flatten()))


def sheet(pairs: list[tuple[Clip, Clip]], scale: int = 2) -> Image.Image:
    """A row for each clip as it was, one for it as it was continued."""
    rows = [frames[::STEP] for pair in pairs for frames in pair]
    side = scale * rows[0][0].width
    out = Image.new("RGB", (len(rows[0]) * side, len(rows) * side))
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            out.paste(frame.resize((side, side), Image.Resampling.NEAREST), (x * side, y * side))
    return out


def loss_curves(path: Path) -> None:
    tokenizer = torch.load(TOKENIZER_CHECKPOINT, weights_only=True)["history"]
    transformer = torch.load(CHECKPOINT, weights_only=True)["history"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    for name in ("first", "later"):
        left.plot([h["step"] for h in tokenizer], [h[name] for h in tokenizer], label=f"{name} frames")
    left.set(xlabel="step", ylabel="dB", title="tokenizer: PSNR on held-out clips")
    for name in ("train", "held_out", "held_out_later"):
        right.plot([h["step"] for h in transformer], [h[name] for h in transformer], label=name.replace("_", "-"))
    right.set(xlabel="step", ylabel="nats a code", title="transformer")
    left.legend()
    right.legend()
    save_figure(figure, path)


def main() -> None:
    pipe = cd.from_pretrained("doom")
    model = pipe.model
    assert isinstance(model, DoomModel)
    clips = read_clips(most=24)
    pixels = torch.stack([to_pixels(clip, model.size, model.device) for clip in clips])
    codes = model.encode(clips)
    quality = psnr(model.tokenizer.decode(codes, *pixels.shape[-2:]), pixels)
    out = pipe(context_tokens=codes[:, : model.length_of(CONTEXT)], num_frames=FRAMES, seed=7)
    changes = codes[:, model.length_of(1) :].view(len(codes), FRAMES - 1, -1)
    session = model.session(out.context_tokens, FRAMES, None)
    figures = {
        "weights": fingerprint.of_model("doom"),
        "clips": len(clips),
        "tokenizer PSNR, dB, first frame": float(quality[:, 0].mean()),
        "tokenizer PSNR, dB, later frames": float(quality[:, 1:].mean()),
        "codes that stand as one frame before": float((changes[:, 1:] == changes[:, :-1]).float().mean()),
        "nats a code, held-out clips": nats(model, codes),
        "entropy of the target at temperature 1, drawn clips": float(mean_entropy(session, out.tokens).mean()),
    }
    (DOCS / "figures/doom.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    sheet(list(zip(clips[:SHOWN], out.frames[:SHOWN], strict=True))).save(DOCS / "images/doom.png")
    loss_curves(DOCS / "images/doom-losses.png")


if __name__ == "__main__":
    main()
