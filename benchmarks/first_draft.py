"""What foretells the first draft behind a commit: where the true code stands among the codes, by what orders them.

    python -m benchmarks.first_draft            # writes docs/figures/first_draft.md

A plain chain of SeedExact as published is decoded, and whenever a code is committed, every predictor here says what
the next position may hold. What it does hold, the next forward tells: the code that the position's noise draws from the
true distribution. Its place in the order of ``log q + G`` is 1 where a draft made by that predictor would have been
accepted, and up to k where one of k candidates would have been. Counts, so the machine need not be quiet.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import coupled_decoding as cd
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.verification import exact_match
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.evaluation.bench.kept import write_text
from data.prompts import prompts

OUT = Path("docs/figures/first_draft.md")
WINDOW = 32
PLACES = (1, 2, 4, 8, 16, 32)
OTHERS = 0.3
"""Weight of what other predictors say where a position's distribution for the very code committed is known."""


@dataclass(eq=False)
class Row:
    """What one picture has shown so far."""

    labels: dict[int, list[tuple[int, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    """By position, the distributions it has had, and the code that stood before it each time."""
    followers: dict[int, Tensor] = field(default_factory=dict)
    """By code, the sum of the true distributions right behind it."""
    before: int = -1
    """The code committed last, whose true follower the next forward gives; -1: none yet."""
    foretold: dict[str, Tensor] = field(default_factory=dict)
    """For the first position of the next window, by predictor, an order of the codes."""


@dataclass(eq=False)
class Watch:
    """Follows the steps of a decode and asks every predictor at each commit."""

    codes: int
    fixed: Tensor | None = None
    """``[C, C]``: what followed each code in other pictures, if that is known."""
    rows: dict[int, Row] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By predictor, the place of the true code, from 1 on."""

    @property
    def seen(self) -> Tensor:
        """``[C, C]``: sum of the true distributions behind each code, of all pictures."""
        total = torch.zeros(self.codes, self.codes)
        for row in self.rows.values():
            for code, distribution in row.followers.items():
                total[code] += distribution
        return total

    def verify(self, window: Window, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Exact match, watched."""
        accepted, token = exact_match(window, target, drawn)
        for i, number in enumerate(window.rows.tolist()):
            row = self.rows.setdefault(number, Row())
            self._judge(row, target[i, 0], window.noise[i, 0])
            end = int(accepted[i])
            codes = [*window.drafts[i, :end].tolist(), int(token[i])]  # committed now
            self._learn(row, [row.before, *codes[:-1]], target[i, : end + 1])
            first = int(window.index[i, 0])
            for offset in range(1, int(window.size[i])):
                row.labels[first + offset].append((int(window.drafts[i, offset - 1]), target[i, offset]))
            row.before = codes[-1]
            row.foretold = dict(self._foretell(row, first + end + 1)) if end + 1 < int(window.size[i]) else {}
        return accepted, token

    def _judge(self, row: Row, target: Tensor, noise: Tensor) -> None:
        true = race(target, noise)
        for name, label in row.foretold.items():
            order = noise / label
            self.places[name].append(1 + int((order < order[true]).sum()))

    def _learn(self, row: Row, before: list[int], target: Tensor) -> None:
        for code, distribution in zip(before, target, strict=True):
            if code >= 0:
                row.followers[code] = row.followers.get(code, 0) + distribution

    def _foretell(self, row: Row, position: int) -> Iterator[tuple[str, Tensor]]:
        """Distributions of a position behind ``row.before``, up to a factor."""
        labels, uniform = row.labels[position], torch.full((self.codes,), EMOJI.prior / self.codes)
        weights = (1 - EMOJI.newest) ** torch.arange(len(labels) - 1, -1, -1)
        average = sum(weight * label for weight, (_, label) in zip(weights, labels, strict=True))
        followed = (row.followers.get(row.before, 0) + uniform) ** EMOJI.followers
        newest, shipped = labels[-1][1], average * followed
        yield "newest label (as published)", newest
        yield "average of labels", average
        yield "newest label x followers", newest * followed
        yield "average x followers (`predict=True`)", shipped
        same = [weight * label for weight, (code, label) in zip(weights, labels, strict=True) if code == row.before]
        pairs = shipped / shipped.sum() if not same else (
            sum(same) / sum(float(label.sum()) for label in same) + OTHERS * shipped / shipped.sum())
        yield "the same, and labels made for the very code committed", pairs
        if self.fixed is not None:
            others = (self.fixed[row.before] + uniform) ** EMOJI.followers
            yield "average x followers in other pictures", average * others
            both = (row.followers.get(row.before, 0) + self.fixed[row.before] + uniform) ** EMOJI.followers
            yield "average x followers here and in other pictures", average * both


def watched(pipe: cd.PicturePipeline, texts: list[str], fixed: Tensor | None, seed: int) -> Watch:
    """Decode one picture of each prompt and watch."""
    watch, method = Watch(len(pipe.layout.codes), fixed), cd.SeedExact(WINDOW)

    class Watched(cd.Method):
        @property
        def window(self) -> int:
            return WINDOW

        def rules(self, chances: Chances = EMOJI) -> Rules:
            return replace(method.rules(chances), verify=watch.verify)

    pipe(texts, method=Watched(), seed=seed)
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20)
    args = parser.parse_args()
    pipe, texts = cd.from_pretrained("emoji"), prompts()
    if 2 * args.pictures > len(texts):
        raise SystemExit(f"--pictures {args.pictures}: give at most {len(texts) // 2}, as many again are learned from")
    with tqdm(total=2, desc="halves") as bar:
        learned = watched(pipe, texts[-args.pictures :], None, seed=10**6).seen
        bar.update()
        watch = watched(pipe, texts[: args.pictures], learned / learned.sum(1, keepdim=True).clamp(min=1), seed=0)
        bar.update()
    write_text(OUT, table(watch.places, args.pictures))
    print(OUT.read_text())


def table(places: Mapping[str, list[int]], pictures: int) -> str:
    commits = len(next(iter(places.values())))
    lines = [
        f"First drafts behind {commits} commits of {pictures} pictures, SeedExact with a window of {WINDOW}, "
        f"temperature 1, nothing cut; other pictures: of {pictures} other prompts. Share of them whose true code is "
        "among the first k of the order.",
        "", "| ordered by | " + " | ".join(f"k = {place}" for place in PLACES) + " |",
        "| --- " * (1 + len(PLACES)) + "|",
    ]
    for name, found in places.items():
        shares = (torch.tensor(found) <= torch.tensor(PLACES).unsqueeze(1)).double().mean(1).tolist()
        lines.append(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
