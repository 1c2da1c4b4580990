"""Train the transformer over the codes of clips.

    python -m training.doom.transformer --minutes 240     # resumes from build/doom/transformer.pt

A batch is one stretch of frames, as many as the model ever sees at once, from the same place in several clips: from the
first frame on, or from any later one, since long clips continue without theirs. The loss counts codes of later frames
only.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from coupled_decoding.models.networks.clip_tokenizer import ClipTokenizer
from coupled_decoding.models.networks.clip_transformer import ClipTransformer, ClipTransformerConfig, rotary_of
from training.doom.data import BUILD, CHOSEN_BY
from training.doom.tokenizer import CHECKPOINT as TOKENIZER_CHECKPOINT
from training.doom.tokenizer import CLIP, as_tensor, load_frames, load_tokenizer
from training.run import Run, adamw

CHECKPOINT, BEST, CODES = BUILD / "transformer.pt", BUILD / "best.pt", BUILD / "codes.pt"


@torch.no_grad()
def encode_all(frames: np.ndarray, tokenizer: ClipTokenizer) -> Tensor:
    """Codes of the first clip of every episode, int16 ``[episodes, tokens]``; computed once, then kept."""
    if CODES.exists() and CODES.stat().st_mtime > TOKENIZER_CHECKPOINT.stat().st_mtime:
        return torch.load(CODES, weights_only=True)
    out = []
    for first in tqdm(range(0, len(frames), 64), desc="encoding clips"):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out.append(tokenizer.encode(as_tensor(frames[first : first + 64, :CLIP])).to(torch.int16))
    codes = torch.cat(out)
    torch.save(codes, CODES)
    return codes


class NoCache:
    """Keys and values of this forward alone."""

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return keys, values


def code_loss(model: ClipTransformer, tokens: Tensor, rotary: Tensor) -> Tensor:
    """Nats of each code of a later frame but the first of a stretch, ``[B, n]``, of tokens ``[B, T]``."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = model.tok_embeddings(tokens[:, :-1])
        hidden = model(x, rotary[:, :-1], None, NoCache())
        drawn = tokens[0, 1:] >= model.sizes.first_codes
        logits = model.output(hidden[:, drawn])
    wanted = tokens[:, 1:][:, drawn] - model.sizes.first_codes
    return F.cross_entropy(logits.float().transpose(1, 2), wanted, reduction="none")


def stretch(sizes: ClipTransformerConfig, start: int, frames: int) -> slice:
    """Where the tokens of some frames of a clip stand in its stream."""
    begin = 0 if start == 0 else sizes.first_size + (start - 1) * sizes.frame_size
    return slice(begin, sizes.first_size + (start + frames - 1) * sizes.frame_size)


def rotary_over(sizes: ClipTransformerConfig, where: slice) -> Tensor:
    """Rotary factors ``[1, T, head_dim / 2]`` of a stretch."""
    positions3 = sizes.positions3_of(torch.arange(where.start, where.stop))
    return rotary_of(positions3, sizes.head_dim).to(torch.complex64).unsqueeze(0)


@torch.no_grad()
def held_out_loss(model: ClipTransformer, codes: Tensor, start: int, known: int) -> float:
    """Mean nats of codes after the first ``known`` of the frames that the model sees from ``start`` on."""
    where = stretch(model.sizes, start, model.sizes.span)
    rotary = rotary_over(model.sizes, where)
    model.eval()
    skipped = (known - (start == 0)) * model.sizes.frame_size - (start != 0)
    losses = [code_loss(model, some[:, where].long(), rotary)[:, skipped:].mean().item() for some in codes.split(8)]
    model.train()
    return sum(losses) / len(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=240, help="whole time to train for, earlier runs included")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--check-every", type=int, default=250, help="steps between looks at held-out clips")
    args = parser.parse_args()

    torch.manual_seed(0)
    frames, episodes = load_frames()
    codes = encode_all(frames, load_tokenizer())
    train = codes[[not e["held_out"] for e in episodes]]
    held_out = codes[[e["held_out"] for e in episodes]][:CHOSEN_BY]

    model = ClipTransformer(ClipTransformerConfig())
    sizes = model.sizes
    for p in model.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.02)
    run = Run(model, [adamw(model, args.learning_rate)], CHECKPOINT, args.minutes, BEST)
    generator = torch.Generator().manual_seed(1000 + run.step)
    compiled = torch.compile(code_loss)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(train)} clips to train on, "
          f"{len(held_out)} held out", flush=True)

    def look_at_held_out() -> None:
        run.look(held_out=held_out_loss(model, held_out, 0, 9), held_out_later=held_out_loss(model, held_out, 10, 9))

    while run.unfinished:
        from_first = torch.rand((), generator=generator) < 0.4
        start = 0 if from_first else int(torch.randint(1, CLIP - sizes.span + 1, (), generator=generator))
        where = stretch(sizes, start, sizes.span)
        rows = torch.randint(len(train), (args.batch,), generator=generator)
        # rotary embeddings are relative: all stretches without a first frame share one set of factors, and one graph
        rotary = rotary_over(sizes, stretch(sizes, min(start, 1), sizes.span))
        run.learn(compiled(model, train[rows][:, where].long(), rotary).mean())
        if run.step % args.check_every == 0:
            look_at_held_out()
    look_at_held_out()
    run.finish()


if __name__ == "__main__":
    main()
