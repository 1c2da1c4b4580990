"""Decodes that are watched: a method with one of its rules replaced, and what predicts each first draft."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import exact_match
from coupled_decoding.decoding.rules.window import Window

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Changed(cd.Method):
    """A method with some of its rules replaced."""

    method: cd.Method
    change: Callable[[Rules], Rules]

    @property
    def window(self) -> int | Literal["auto"]:
        return self.method.window

    def rules(self, chances: Chances = EMOJI) -> Rules:
        return self.change(self.method.rules(chances))


@dataclass(eq=False)
class Picture:
    """What one picture has shown so far."""

    labels: dict[int, list[tuple[int, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    """By position, the distributions it has had, and the code that stood before it each time."""
    followers: dict[int, Tensor] = field(default_factory=dict)
    """By code, the sum of the true distributions right behind it."""
    before: int = -1
    """The code committed last, whose true follower the next forward gives; -1: none yet."""

    def known(self) -> Tensor | int:
        """Sum of the distributions that have followed the code committed last."""
        return self.followers.get(self.before, 0)

    def average(self, position: int, newest: float) -> Tensor:
        """Of the position's distributions, the newest with this weight; not normalised."""
        labels = self.labels[position]
        weights = (1 - newest) ** torch.arange(len(labels) - 1, -1, -1)
        return torch.stack([weight * label for weight, (_, label) in zip(weights, labels, strict=True)]).sum(0)


@dataclass(eq=False)
class FirstDrafts(Generic[Name]):
    """Follows a chain of SeedExact, and asks every predictor at each commit what the next position may hold.

    What it does hold, the next forward tells: the code that the position's noise draws from the true distribution.
    """

    predictors: Callable[[Picture, int], Iterable[tuple[Name, Tensor]]]
    """From a picture and a position right behind its last commit to distributions by name, up to a factor each."""
    pictures: dict[int, Picture] = field(default_factory=lambda: defaultdict(Picture))
    predicted: dict[int, dict[Name, Tensor]] = field(default_factory=dict)
    """By picture, what was said of the first position of its next window."""
    places: dict[Name, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By predictor, the place of each true code in the order of ``log q + G``, from 1 on."""

    def verify(self, window: Window, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Exact match, watched."""
        accepted, token = exact_match(window, target, drawn)
        for i, row in enumerate(window.rows.tolist()):
            picture, size = self.pictures[row], int(window.size[i])
            self._judge(row, target[i, 0], window.noise[i, 0])
            end, first = int(accepted[i]), int(window.index[i, 0])
            codes = [*window.drafts[i, :end].tolist(), int(token[i])]  # committed now
            for code, distribution in zip([picture.before, *codes[:-1]], target[i, : end + 1], strict=True):
                if code >= 0:
                    picture.followers[code] = picture.followers.get(code, 0) + distribution
            for offset in range(1, size):
                picture.labels[first + offset].append((int(window.drafts[i, offset - 1]), target[i, offset]))
            picture.before = codes[-1]
            self.predicted[row] = dict(self.predictors(picture, first + end + 1)) if end + 1 < size else {}
        return accepted, token

    def _judge(self, row: int, target: Tensor, noise: Tensor) -> None:
        true = race(target, noise)
        for name, label in self.predicted.get(row, {}).items():
            order = noise / label
            self.places[name].append(1 + int((order < order[true]).sum()))
