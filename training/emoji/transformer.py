"""Train the text-to-picture transformer on captions and picture codes.

    python -m training.emoji.transformer --minutes 300           # resumes from build/emoji/transformer.pt
    python -m training.emoji.transformer --speed 20              # pictures a second, measured over 20 steps

A Llama of transformers; the loss counts picture codes only. Ten per cent of captions are dropped, so that the model is
also its own unconditional model (classifier-free guidance, arXiv 2207.12598). Hidden matrices are trained by Muon, the
embeddings, the output head and the norms by AdamW. Where there is no checkpoint, training starts from the weights that
ship; ``--from-scratch`` starts from nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from transformers import LlamaConfig, LlamaForCausalLM

from training.emoji.captions import CODES, MAX_PROMPT, VOCAB_SIZE
from training.emoji.data import BUILD
from training.emoji.examples import HELD_OUT, TRAINED, Examples, load_examples
from training.emoji.tokenizer import SHIPPED
from training.llama import hidden_states
from training.run import Run

CHECKPOINT = BUILD / "transformer.pt"
GRID = 16
DROPPED = 0.1


def model_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=4,
        max_position_embeddings=MAX_PROMPT + GRID * GRID, tie_word_embeddings=False,
        bos_token_id=CODES, eos_token_id=None, pad_token_id=CODES + 2,
    )


def averaged_model(state: dict[str, Any]) -> LlamaForCausalLM:
    """The model with the averaged weights of a checkpoint of :class:`training.run.Run`."""
    model = LlamaForCausalLM(model_config())
    inside = "module."
    model.load_state_dict({k.removeprefix(inside): v for k, v in state["averaged"].items() if k.startswith(inside)})
    return model.eval()


def code_loss(model: LlamaForCausalLM, ids: Tensor, before: Tensor, codes: Tensor) -> Tensor:
    """Nats of each code, ``[B, n]``.

    Args:
        model: whose first token ids are the picture codes.
        ids: LongTensor ``[B, T]``.
        before: LongTensor ``[B, n]``, the place in ``ids`` behind which each code stands.
        codes: LongTensor ``[B, n]``.
    """
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = hidden_states(model, ids)
        hidden = hidden.gather(1, before.unsqueeze(2).expand(-1, -1, hidden.shape[2]))
        logits = F.linear(hidden, model.lm_head.weight[:CODES])
    return F.cross_entropy(logits.float().transpose(1, 2), codes, reduction="none")


def optimizers(model: LlamaForCausalLM, learning_rate: float) -> list[Optimizer]:
    """Muon for the matrices of the layers, AdamW for all else, at rates that mean the same for both."""
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def draws(weights: Tensor, generator: torch.Generator) -> Iterator[int]:
    """Examples without end, in proportion to their weights, evenly in rounds of as many draws as there are examples.

    Systematic sampling: in each round an example comes as often as its weight says, rounded down or up.
    """
    ends = weights.double().cumsum(0) / weights.double().sum()
    while True:
        points = (torch.arange(len(weights)) + torch.rand((), generator=generator, dtype=torch.float64)) / len(weights)
        chosen = torch.searchsorted(ends, points).clamp(max=len(weights) - 1)
        yield from chosen[torch.randperm(len(chosen), generator=generator)].tolist()


def batches(examples: Examples, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches without end, captions drawn at random and some of them dropped."""
    drawn = draws(examples.weights, generator)
    while True:
        rows = torch.tensor([next(drawn) for _ in range(size)])
        which = torch.randint(examples.prompts.shape[1], (size,), generator=generator)
        dropped = torch.rand(size, generator=generator) < DROPPED
        yield examples.batch(rows, torch.where(dropped, -1, which))


@torch.no_grad()
def held_out_losses(model: LlamaForCausalLM, examples: Examples, size: int = 32) -> dict[str, float]:
    """Nats per code of held-out pictures with their own caption and with another's, for every second of them."""
    rows = torch.arange(0, len(examples.codes), 2)
    losses: dict[str, list[Tensor]] = {"held_out": [], "other_caption": []}
    for some in rows.split(size):
        for name, captioned in (("held_out", some), ("other_caption", (some + 101) % len(examples.codes))):
            ids, before, codes = examples.batch(some, torch.zeros_like(some), captioned)
            losses[name].append(code_loss(model, ids[:, :-1], before, codes).mean(1))
    return {name: float(torch.cat(some).mean()) for name, some in losses.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=300, help="whole time to train for, earlier runs included")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--check-every", type=int, default=400, help="steps between looks at held-out pictures")
    parser.add_argument("--from-scratch", action="store_true", help="do not start from the weights that ship")
    parser.add_argument("--speed", type=int, default=0, metavar="STEPS", help="measure the speed and stop")
    args = parser.parse_args()

    torch.manual_seed(0)
    examples, check = load_examples(TRAINED), load_examples(HELD_OUT)
    model = LlamaForCausalLM(model_config())
    if not args.from_scratch:
        model = LlamaForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)
    run = Run(model, optimizers(model, args.learning_rate), CHECKPOINT, args.minutes)
    compiled = torch.compile(code_loss, dynamic=False)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(examples.codes)} examples")

    started, warm = 0.0, 3
    for step, (ids, before, codes) in enumerate(batches(examples, args.batch, torch.Generator().manual_seed(run.step))):
        if step == warm:
            started = time.time()
        if args.speed and step == warm + args.speed:
            print(f"{args.speed * args.batch / (time.time() - started):.1f} pictures a second on "
                  f"{torch.get_num_threads()} threads")
            return
        run.learn(compiled(model, ids[:, :-1], before, codes).mean())
        if run.step % args.check_every == 0 or not run.unfinished:
            run.look(**held_out_losses(run.averaged.module, check))
        if not run.unfinished:
            break
    run.finish()


if __name__ == "__main__":
    main()
