"""Train the picture tokenizer: L1 + squared error + an edge loss, with a codebook that follows moving averages.

    python -m training.emoji.tokenizer --minutes 15      # resumes from build/emoji/tokenizer.pt

Edges stay crisp because differences of neighbouring pixels are compared as well as pixels. The codebook is not trained
by gradients: each code is the moving average of the latents that chose it (arXiv 1711.00937, appendix A), and a code
that nobody chooses is moved onto a latent of the current batch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from coupled_decoding.evaluation.metrics.clips import psnr
from coupled_decoding.models.checkpoints.reading import load_weights
from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer
from training import checkpoints
from training.emoji.data import BUILD
from training.vector_quantisation import MovingCodebook, reconstruction_loss

CHECKPOINT = BUILD / "tokenizer.pt"
SHIPPED = Path("src/coupled_decoding/pretrained/emoji")


def load_pictures() -> tuple[Tensor, list[dict]]:
    """uint8 ``[N, 3, 64, 64]`` and one description each."""
    pictures = torch.from_numpy(np.load(BUILD / "pictures.npz")["pictures"]).permute(0, 3, 1, 2).contiguous()
    return pictures, json.loads((BUILD / "pictures.json").read_text())


def sampling_weights(descriptions: list[dict]) -> Tensor:
    """Every subject of a style weighs 1, its skin-toned variants another 1 together."""
    toned: dict[tuple[str, str], int] = {}
    for d in descriptions:
        if d["toned"]:
            toned[d["key"], d["style"]] = toned.get((d["key"], d["style"]), 0) + 1
    return torch.tensor([1 / toned[d["key"], d["style"]] if d["toned"] else 1.0 for d in descriptions])


def shift(pictures: Tensor, generator: torch.Generator, most: int = 4) -> Tensor:
    """Each picture moved by up to ``most`` pixels both ways, white coming in at the borders."""
    padded = F.pad(pictures, [most] * 4, value=255)
    dy, dx = torch.randint(0, 2 * most + 1, (2, len(pictures)), generator=generator)
    size = pictures.shape[-1]
    return torch.stack([p[:, y : y + size, x : x + size] for p, y, x in zip(padded, dy, dx, strict=True)])


@torch.no_grad()
def quality(model: VQTokenizer, pictures: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of uint8 pictures ``[N, 3, H, W]`` encoded and decoded."""
    decoded = torch.cat([model.decode(model.encode(batch.float() / 255)) for batch in pictures.split(64)])
    return psnr(decoded.unsqueeze(1), pictures.unsqueeze(1)).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15, help="time to train for; the learning rate ends at zero")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    args = parser.parse_args()

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    pictures, descriptions = load_pictures()
    held_out = torch.tensor([d["held_out"] for d in descriptions])
    train, weights = pictures[~held_out], sampling_weights(descriptions)[~held_out]
    check = pictures[held_out][::8]

    model = VQTokenizer(VQConfig())
    book = MovingCodebook(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    history: list[dict] = []
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        book.counts, book.sums, history = state["counts"], state["sums"], state["history"]

    started, step = time.time(), 0
    saved = started
    progress = tqdm(total=int(args.minutes * 60), unit="s")
    while (elapsed := time.time() - started) < args.minutes * 60:
        done = elapsed / (args.minutes * 60)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * min(1, (step + 1) / 100) * (1 - done)
        batch = train[torch.multinomial(weights, args.batch, generator=generator)]
        x = shift(batch, generator).float() / 255
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = model.encoder((2 * x - 1).contiguous(memory_format=torch.channels_last)).float()
        flat = latents.permute(0, 2, 3, 1).reshape(-1, model.config.code_dim)
        with torch.no_grad():
            if step == 0 and not history:
                book.initialise(flat)
            codes = model.nearest(flat)
            quantised = model.codebook[codes].view_as(latents.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        commitment = F.mse_loss(latents, quantised)
        straight_through = latents + (quantised - latents).detach()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = model.decoder(straight_through.contiguous(memory_format=torch.channels_last))
        loss = reconstruction_loss(decoded.float() / 2 + 0.5, x)
        optimizer.zero_grad()
        (loss + 0.25 * commitment).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            book.update(flat.detach(), codes)
        step += 1
        progress.n = int(elapsed)
        if step % 200 == 0:
            decibels = quality(model, check)
            history.append({"step": step, "seconds": elapsed, "loss": loss.item(), "psnr": decibels})
            progress.set_description(f"step {step} loss {loss.item():.4f} PSNR {decibels:.2f} dB "
                                     f"codes used {int((book.counts > 0.5).sum())}")
        if time.time() - saved > 120 or done > 0.999:
            saved = time.time()
            save(model, optimizer, book, history)
    save(model, optimizer, book, history)
    print(f"held-out PSNR {quality(model, pictures[held_out]):.2f} dB after {step} steps")


def load_vq() -> VQTokenizer:
    """The tokenizer as it was trained here, or else the one that ships."""
    model = VQTokenizer(VQConfig())
    if CHECKPOINT.exists():
        model.load_state_dict(torch.load(CHECKPOINT, weights_only=True)["model"])
    else:
        load_weights(model, SHIPPED / "vq/model.safetensors")
    return model.eval()


def save(model: VQTokenizer, optimizer: torch.optim.Optimizer, book: MovingCodebook, history: list[dict]) -> None:
    checkpoints.save(CHECKPOINT, {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "counts": book.counts, "sums": book.sums,
        "history": history,
    })


if __name__ == "__main__":
    main()
