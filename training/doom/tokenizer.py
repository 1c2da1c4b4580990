"""Train the clip tokenizer: the picture of a first frame and the change from frame to frame, side by side.

    python -m training.doom.tokenizer --minutes 40       # resumes from build/doom/tokenizer.pt

Clips run through training as streams: each step takes the next frames of a batch of clips, starting from its own
reconstruction of the frames before, so the tokenizer learns to mend what it has blurred itself. Gradients go through
the frames of one step. Pictures and the last of these frames also answer to a perceptual loss: without it, textures
blur away. (A discriminator, tried from the middle of training on, took seven dB within minutes.) Codebooks follow
moving averages, as in training.vector_quantisation. What codes cost counts more and more from the middle of training
on: at the start, when codes say nothing yet, the cheapest would take all.
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
from coupled_decoding.models.networks.clip_tokenizer import ChangeConfig, ClipConfig, ClipTokenizer
from coupled_decoding.models.networks.vq import VQConfig
from training import checkpoints
from training.doom.data import BUILD
from training.perceptual import PerceptualLoss
from training.vector_quantisation import MovingCodebook, reconstruction_loss

CHECKPOINT = BUILD / "tokenizer.pt"
CLIP = 33
AT_ONCE = 4  # frames that gradients go through
PICTURES = 8  # of a step, for the picture tokenizer
FREE_STEPS = 200  # in which latents pass as they are: codes made of latents that say nothing never come to say anything


def config(rate: float) -> ClipConfig:
    picture = VQConfig(codes=512, code_dim=16, encoder_channels=(48, 96), decoder_channels=(128, 64, 32), blocks=2)
    return ClipConfig(picture, ChangeConfig(rate=rate))


def load_frames() -> tuple[np.ndarray, list[dict]]:
    """uint8 ``[N, frames, 64, 64, 3]``, mapped from disk, and what each episode is."""
    return np.load(BUILD / "frames.npy", mmap_mode="r"), json.loads((BUILD / "episodes.json").read_text())


def load_tokenizer(path: Path = CHECKPOINT) -> ClipTokenizer:
    state = torch.load(path, weights_only=True)
    model = ClipTokenizer(config(state["rate"]))
    model.load_state_dict(state["model"])
    return model.eval()


def as_tensor(frames: np.ndarray) -> Tensor:
    """uint8 ``[..., H, W, 3]`` to float ``[..., 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(frames).movedim(-1, -3).float() / 255


class Streams:
    """A batch of clips, each at its own age; a finished one makes room for a new one."""

    def __init__(self, frames: np.ndarray, episodes: list[int], batch: int, rng: np.random.Generator) -> None:
        self.frames, self.episodes, self.rng = frames, episodes, rng
        self.clips = np.empty((batch, CLIP, *frames.shape[2:]), np.uint8)
        self.age = np.full(batch, CLIP)
        """Frames of each clip that are behind it."""
        height, width = frames.shape[2:4]
        self.before = torch.zeros(batch, 3, height, width)
        """The reconstruction that each continues from."""
        self.last = torch.zeros(batch, height // 8, width // 8, dtype=torch.long)
        """The codes of that frame; of no meaning where a clip begins."""

    def refill(self) -> np.ndarray:
        """Begin new clips where one is at its end; bool ``[B]``, which ones."""
        new, at_first = self.age + AT_ONCE > CLIP, bool((self.age == CLIP).all())
        for row in np.flatnonzero(new):
            episode = self.rng.choice(self.episodes)
            start = self.rng.integers(0, self.frames.shape[1] - CLIP + 1)
            clip = self.frames[episode, start : start + CLIP]
            self.clips[row] = clip[:, :, ::-1] if self.rng.random() < 0.5 else clip
            # the first clips are entered at any age, so that later ones do not all begin at once
            self.age[row] = 1 + AT_ONCE * self.rng.integers(0, (CLIP - 1) // AT_ONCE) if at_first else 1
        return new

    def next(self) -> Tensor:
        """The next frames of each clip, float ``[B, AT_ONCE, 3, H, W]``."""
        chosen = self.clips[np.arange(len(self.age))[:, None], self.age[:, None] + np.arange(AT_ONCE)]
        self.age += AT_ONCE
        return as_tensor(chosen)


class Training:
    """One step after another over streams of clips."""

    def __init__(self, model: ClipTokenizer, streams: Streams, learning_rate: float) -> None:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch does not declare this one
        self.model, self.streams, self.step = model, streams, 0
        self.picture_book, self.change_book = MovingCodebook(model.picture), MovingCodebook(model.change)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.perceptual = PerceptualLoss()
        self.history: list[dict] = []

    def picture_loss(self) -> Tensor:
        """Of some frames at any age."""
        picture, streams = self.model.picture, self.streams
        rows = streams.rng.choice(len(streams.age), PICTURES, replace=False)
        x = as_tensor(streams.clips[rows, streams.rng.integers(0, CLIP, PICTURES)])
        latents = picture.encoder(2 * x - 1).float().permute(0, 2, 3, 1)
        flat = latents.flatten(0, 2).detach()
        if self.step == FREE_STEPS:
            self.picture_book.initialise(flat)
        codes = picture.nearest(flat)
        quantised = latents.detach() if self.step < FREE_STEPS else picture.codebook[codes].view_as(latents)
        decoded = picture.decoder(straight_through(latents, quantised).permute(0, 3, 1, 2)).float() / 2 + 0.5
        if self.step >= FREE_STEPS:
            self.picture_book.update(flat, codes)
        return reconstruction_loss(decoded, x) + self.texture_loss(decoded, x) + 0.25 * F.mse_loss(latents, quantised)

    def change_loss(self) -> Tensor:
        """Of the next frames of each stream."""
        change, streams = self.model.change, self.streams
        new = streams.refill()
        if new.any():
            with torch.no_grad():
                first = as_tensor(streams.clips[new, streams.age[new] - 1])
                picture = self.model.picture
                known = first if self.step < FREE_STEPS else picture.decode(picture.encode(first)).float()
                streams.before[torch.from_numpy(new)] = known
        before, last, loss = streams.before, streams.last, torch.zeros(())
        x = decoded = before
        began = torch.from_numpy(new).view(-1, 1, 1)
        seen: list[Tensor] = []
        chosen: list[Tensor] = []
        for x in streams.next().unbind(1):
            latents = change.latents(x, before).float()
            flat = latents.flatten(0, 2).detach()
            if self.step == FREE_STEPS and not seen:
                self.change_book.initialise(flat)
            codes = change.choose(flat, last.flatten()).view_as(last)
            codes = torch.where(began, change.choose(flat, None).view_as(last), codes)
            quantised = latents.detach() if self.step < FREE_STEPS else change.codebook[codes]
            decoded, warped = (out.float() for out in change.rebuild(straight_through(latents, quantised), before))
            loss = loss + 2 * reconstruction_loss(decoded, x) + 0.25 * F.mse_loss(latents, quantised)
            loss = loss + warp_loss(warped, x)
            before, last, began = decoded.clamp(0, 1), codes, torch.zeros_like(began)
            seen.append(flat)
            chosen.append(codes.flatten())
        loss = loss + self.texture_loss(decoded, x)
        streams.before, streams.last = before.detach(), last
        if self.step >= FREE_STEPS:
            self.change_book.update(torch.cat(seen), torch.cat(chosen))
            change.usage.copy_(self.change_book.counts / self.change_book.counts.sum())
        return loss / AT_ONCE

    def texture_loss(self, decoded: Tensor, target: Tensor) -> Tensor:
        """Of frames ``[B, 3, H, W]``."""
        with torch.autocast("cpu", enabled=False):  # depthwise convolutions are no faster in bfloat16
            return self.perceptual(decoded, target)

    def advance(self) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self.picture_loss() + self.change_loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        checkpoints.save(path, {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "history": self.history,
            "step": self.step, "rate": self.model.config.change.rate,
            "books": [(book.counts, book.sums) for book in (self.picture_book, self.change_book)],
        })

    def resume(self, path: Path) -> float:
        """Go on from a checkpoint; returns the rate that it had come to."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.step = state["history"], state["step"]
        for book, (counts, sums) in zip((self.picture_book, self.change_book), state["books"], strict=True):
            book.counts, book.sums = counts, sums
        return state["rate"]


def warp_loss(warped: Tensor, target: Tensor) -> Tensor:
    """Of the motion alone, in three sizes, so that it is found however far it goes; else corrections would paint all.
    """
    sizes = (1, 2, 4)
    return sum((F.l1_loss(F.avg_pool2d(warped, n), F.avg_pool2d(target, n)) for n in sizes), torch.zeros(()))


def straight_through(latents: Tensor, quantised: Tensor) -> Tensor:
    """What is quantised, with the gradient of what is not."""
    return latents + (quantised - latents).detach()


@torch.no_grad()
@torch.autocast("cpu", dtype=torch.bfloat16)  # type: ignore[untyped-decorator]
def quality(model: ClipTokenizer, clips: Tensor) -> dict[str, float]:
    """Of clips ``[B, T, 3, H, W]``: PSNR in dB by age, and how easily the codes of later frames are foreseen."""
    codes = model.encode(clips)
    by_frame = psnr(model.decode(codes, *clips.shape[-2:]), clips)  # [B, T]
    first = clips.shape[-2] * clips.shape[-1] // 16
    changes = (codes[:, first:] - model.config.picture.codes).view(len(codes), clips.shape[1] - 1, -1)
    counts = torch.bincount(changes.flatten(), minlength=model.config.change.codes)
    return {
        "first": by_frame[:, 0].mean().item(), "ninth": by_frame[:, 8].mean().item(),
        "last": by_frame[:, -1].mean().item(), "later": by_frame[:, 1:].mean().item(),
        "nats": torch.distributions.Categorical(probs=counts / counts.sum()).entropy().item(),
        "same": (changes[:, 1:] == changes[:, :-1]).float().mean().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40, help="time to train for; the learning rate ends at zero")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rate", type=float, default=0.2, help="of ChangeConfig")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    args = parser.parse_args()

    torch.manual_seed(0)
    frames, episodes = load_frames()
    check = as_tensor(np.stack([frames[i, :CLIP] for i, e in enumerate(episodes) if e["held_out"]][:24]))
    streams = Streams(frames, [i for i, e in enumerate(episodes) if not e["held_out"]], args.batch,
                      np.random.default_rng(0))
    training = Training(ClipTokenizer(config(args.rate)), streams, args.learning_rate)
    first_rate = training.resume(args.checkpoint) if args.checkpoint.exists() else 0.0
    started = saved = time.time()
    first_step = training.step
    progress = tqdm(total=int(args.minutes * 60), unit="s", mininterval=20)
    while (elapsed := time.time() - started) < args.minutes * 60:
        done = elapsed / (args.minutes * 60)
        for group in training.optimizer.param_groups:
            warm = min(1, (training.step - first_step + 1) / 100)
            group["lr"] = args.learning_rate * warm * min(1, (1 - done) / 0.6)
        training.model.change.rate = first_rate + (args.rate - first_rate) * min(1, max(0, (done - 0.4) / 0.3))
        loss = training.advance()
        progress.n = int(elapsed)
        if training.step % 100 == 0 and training.step > FREE_STEPS:
            training.history.append({"step": training.step, "seconds": elapsed, "loss": loss,
                                     **quality(training.model, check)})
            print({name: round(value, 3) for name, value in training.history[-1].items()}, flush=True)
        if time.time() - saved > 120:
            saved = time.time()
            training.save(args.checkpoint)
    training.save(args.checkpoint)
    print(quality(training.model, check))


if __name__ == "__main__":
    main()
