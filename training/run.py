"""What the trainings of both transformers share: a time budget over several sessions, and looks at held-out data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from training import checkpoints

SAVE_EVERY = 180
"""Seconds between checkpoints."""
AVERAGED = 0.998
"""Share that an average of the weights keeps at each step: it follows the last 500 steps or so."""


def adamw(model: nn.Module, learning_rate: float, weight_decay: float = 0.1) -> Optimizer:
    """AdamW with matrices decayed and vectors not."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), fused=True)


class Run:
    """One step after another until the budget is used up; resumes from ``checkpoint`` where that is there.

    The learning rates follow the share of the budget that is gone, so a run that shares its machine still ends at zero.
    An exponential average of the weights, which looks as if the rate had come down already, is kept beside them. Where
    ``best`` is given, the weights with the least loss on held-out data are kept there.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer], checkpoint: Path, minutes: float,
                 best: Path | None = None) -> None:
        self.model, self.optimizers, self.checkpoint, self.best = model, optimizers, checkpoint, best
        self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED))
        self.budget = 60 * minutes
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.state: dict[str, Any] = {"seconds": 0.0, "step": 0, "history": [], "best": float("inf")}
        if checkpoint.exists():
            self.state = torch.load(checkpoint, weights_only=True)
            model.load_state_dict(self.state.pop("model"))
            self.averaged.load_state_dict(self.state.pop("averaged"))
            for optimizer, kept in zip(optimizers, self.state.pop("optimizers"), strict=True):
                optimizer.load_state_dict(kept)
        self.losses: list[float] = []
        """Of the steps since the last look at held-out data."""
        self.last = self.saved = time.time()
        self.progress = tqdm(total=int(self.budget), initial=int(self.state["seconds"]), unit="s", mininterval=60)

    @property
    def step(self) -> int:
        return self.state["step"]

    @property
    def unfinished(self) -> bool:
        return self.state["seconds"] < self.budget

    def learn(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``."""
        share = min(1, (self.step + 1) / 200) * min(1, (1 - self.state["seconds"] / self.budget) / 0.7)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad()
        self.averaged.update_parameters(self.model)
        self.losses.append(loss.item())
        now = time.time()
        self.state["step"] += 1
        self.state["seconds"] += now - self.last
        self.last = now
        self.progress.n = int(self.state["seconds"])
        if now - self.saved > SAVE_EVERY:
            self.save()

    def look(self, **held_out: float) -> None:
        """Note losses on held-out data, of which the first decides which weights are the best."""
        check = next(iter(held_out.values()))
        if self.losses:
            train = sum(self.losses) / len(self.losses)
            self.losses.clear()
            self.state["history"].append(
                {"step": self.step, "seconds": self.state["seconds"], "train": train, **held_out}
            )
            shown = ", ".join(f"{name.replace('_', ' ')} {loss:.3f}" for name, loss in held_out.items())
            print(f"step {self.step}: train {train:.3f}, {shown} nats", flush=True)
        if check < self.state["best"]:
            self.state["best"] = check
            if self.best is not None:
                state = {"model": self.model.state_dict(), "held_out": check, "step": self.step}
                checkpoints.save(self.best, state)

    def save(self) -> None:
        self.saved = time.time()
        checkpoints.save(self.checkpoint, self.state | {
            "model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        })

    def finish(self) -> None:
        self.save()
        print(f"{self.step} steps in {self.state['seconds'] / 60:.0f} minutes, "
              f"best held-out loss {self.state['best']:.4f} nats")
