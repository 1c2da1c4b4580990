"""What the trainings of both transformers share: a time budget over several sessions, and looks at held-out data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training import checkpoints

SAVE_EVERY = 180
"""Seconds between checkpoints."""


class Run:
    """One step after another until the budget is used up; resumes from ``checkpoint`` where that is there.

    AdamW, matrices decayed; the learning rate follows the share of the budget that is gone, so a run that shares its
    machine still ends at zero. The weights with the best loss on held-out data are kept in ``best``.
    """

    def __init__(self, model: nn.Module, checkpoint: Path, best: Path, minutes: float, learning_rate: float) -> None:
        self.model, self.checkpoint, self.best = model, checkpoint, best
        self.budget, self.learning_rate = 60 * minutes, learning_rate
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
            lr=learning_rate, betas=(0.9, 0.95), fused=True,
        )
        self.state: dict[str, Any] = {"seconds": 0.0, "step": 0, "history": [], "best": float("inf")}
        if checkpoint.exists():
            self.state = torch.load(checkpoint, weights_only=True)
            model.load_state_dict(self.state.pop("model"))
            self.optimizer.load_state_dict(self.state.pop("optimizer"))
        self.losses: list[float] = []
        """Of the steps since the last look at held-out data."""
        self.last = self.saved = time.time()
        self.progress = tqdm(total=int(self.budget), initial=int(self.state["seconds"]), unit="s", mininterval=20)

    @property
    def step(self) -> int:
        return self.state["step"]

    @property
    def going_on(self) -> bool:
        return self.state["seconds"] < self.budget

    def learn(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``."""
        done = self.state["seconds"] / self.budget
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1, (self.step + 1) / 200) * min(1, (1 - done) / 0.7)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
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
            checkpoints.save(self.best, {"model": self.model.state_dict(), "held_out": check, "step": self.step})

    def save(self) -> None:
        self.saved = time.time()
        checkpoints.save(
            self.checkpoint,
            self.state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()},
        )

    def finish(self) -> None:
        self.save()
        print(f"{self.step} steps in {self.state['seconds'] / 60:.0f} minutes, "
              f"best held-out loss {self.state['best']:.4f} nats")
