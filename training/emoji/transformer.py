"""Train the text-to-picture transformer on captions and picture codes.

    python -m training.emoji.transformer --minutes 90     # resumes from build/emoji/transformer.pt

A Llama of transformers; the loss counts picture codes only. Ten per cent of captions are dropped, so that the model is
also its own unconditional model (classifier-free guidance, arXiv 2207.12598).
"""

from __future__ import annotations

import argparse
import random

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from coupled_decoding.models.networks.vq import VQConfig, VQTokenizer
from training.emoji.captions import CODES, MAX_PROMPT, PAD, VOCAB_SIZE, draw_caption, train_text_tokenizer
from training.emoji.data import BUILD
from training.emoji.tokenizer import CHECKPOINT as TOKENIZER_CHECKPOINT
from training.emoji.tokenizer import load_pictures, sampling_weights, shift
from training.run import Run

CHECKPOINT, BEST = BUILD / "transformer.pt", BUILD / "best.pt"
GRID = 16
VARIANTS = 4  # the picture itself and three small shifts of it
DROPPED = 0.1


def load_vq() -> VQTokenizer:
    model = VQTokenizer(VQConfig())
    model.load_state_dict(torch.load(TOKENIZER_CHECKPOINT, weights_only=True)["model"])
    return model.eval()


@torch.no_grad()
def encode_all(pictures: Tensor) -> Tensor:
    """Codes of every picture in ``VARIANTS`` positions, int16 ``[N, VARIANTS, 256]``; computed once, then kept."""
    path = BUILD / "codes.pt"
    if path.exists() and path.stat().st_mtime > TOKENIZER_CHECKPOINT.stat().st_mtime:
        return torch.load(path, weights_only=True)
    vq, generator, out = load_vq(), torch.Generator().manual_seed(1), []
    for batch in tqdm(pictures.split(64), desc="encoding pictures"):
        variants = [batch] + [shift(batch, generator, most=3) for _ in range(VARIANTS - 1)]
        codes = vq.encode(torch.cat(variants).float() / 255)
        out.append(codes.view(VARIANTS, len(batch), -1).transpose(0, 1).to(torch.int16))
    codes = torch.cat(out)
    torch.save(codes, path)
    return codes


def model_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=4,
        max_position_embeddings=MAX_PROMPT + GRID * GRID, tie_word_embeddings=False,
        bos_token_id=CODES, eos_token_id=None, pad_token_id=CODES + 2,
    )


def collate(prompts: list[list[int]], codes: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and labels ``[B, T]``; labels are -100 but for picture codes. T is one of two: two graphs compile."""
    longest = 16 if max(map(len, prompts)) <= 16 else MAX_PROMPT
    ids = torch.full((len(prompts), longest + codes.shape[1]), pad)
    labels = torch.full_like(ids, -100)
    for row, (prompt, picture) in enumerate(zip(prompts, codes, strict=True)):
        end = len(prompt) + len(picture)
        ids[row, : len(prompt)] = torch.tensor(prompt)
        ids[row, len(prompt) : end] = labels[row, len(prompt) : end] = picture.long()
    return ids, labels


def code_loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean nats a code."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids[:, :-1]).logits
    return F.cross_entropy(logits.float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, prompts: list[list[int]], codes: Tensor, pad: int) -> float:
    model.eval()
    losses = [code_loss(model, *collate(prompts[i : i + 32], codes[i : i + 32], pad)).item() * len(codes[i : i + 32])
              for i in range(0, len(prompts), 32)]
    model.train()
    return sum(losses) / len(prompts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90, help="whole time to train for, earlier runs included")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--check-every", type=int, default=250, help="steps between looks at held-out pictures")
    args = parser.parse_args()

    torch.manual_seed(0)
    pictures, descriptions = load_pictures()
    codes = encode_all(pictures)
    train = [i for i, d in enumerate(descriptions) if not d["held_out"]]
    held_out = [i for i, d in enumerate(descriptions) if d["held_out"] and not d["toned"]]
    text = train_text_tokenizer([descriptions[i] for i in train])
    text.save(str(BUILD / "tokenizer.json"))
    pad = text.token_to_id(PAD)
    weights = sampling_weights(descriptions)[train]

    model = LlamaForCausalLM(model_config())
    run = Run(model, CHECKPOINT, BEST, args.minutes, args.learning_rate)
    generator = torch.Generator().manual_seed(1000 + run.step)
    rng = random.Random(1000 + run.step)
    check_rng = random.Random(0)
    check_prompts = [prompt_ids(text, draw_caption(descriptions[i], check_rng)) for i in held_out]
    compiled = torch.compile(code_loss)

    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(train)} pictures to train on, "
          f"{len(held_out)} held out")

    def look_at_held_out() -> None:
        run.look(held_out=held_out_loss(model, check_prompts, codes[held_out, 0], pad))

    while run.going_on:
        # four batches at once, sorted by prompt length, so that most batches are short
        drawn = torch.multinomial(weights, 4 * args.batch, replacement=True, generator=generator).tolist()
        rows = []
        for i in (train[j] for j in drawn):
            caption = "" if rng.random() < DROPPED else draw_caption(descriptions[i], rng)
            rows.append((prompt_ids(text, caption), codes[i, rng.randrange(VARIANTS)]))
        rows.sort(key=lambda row: len(row[0]))
        batches = [rows[k : k + args.batch] for k in range(0, len(rows), args.batch)]
        rng.shuffle(batches)
        for batch in batches:
            ids, labels = collate([p for p, _ in batch], torch.stack([c for _, c in batch]), pad)
            run.learn(compiled(model, ids, labels))
            if run.step % args.check_every == 0:
                look_at_held_out()
    look_at_held_out()
    run.finish()


def prompt_ids(text: Tokenizer, caption: str) -> list[int]:
    """Token ids of a caption between its marks; of none, the marks alone."""
    return text.encode(caption).ids


if __name__ == "__main__":
    main()
