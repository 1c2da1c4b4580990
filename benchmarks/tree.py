"""Fits what is expected of drafts to a model: the chances that shape the tree of branches, and how they are predicted.

    python -m benchmarks.tree                   # writes docs/figures/tree.json
    python -m benchmarks.tree --model Janus-Pro-1B/ --pictures 8

Two decodes of one picture of each prompt. SeedExact with branches: at every step, which drafts and which candidates are
those that the finished picture holds; how far candidates lie apart in the order of ``log q + G`` says how likely each
is (see :mod:`coupled_decoding.decoding.rules.branches`). Then a plain chain: under which weights the first draft behind
a commit is right most often (see :mod:`coupled_decoding.decoding.rules.prediction`).

What comes out are fields of :class:`coupled_decoding.decoding.rules.chances.Chances`; a field of which nothing was seen
keeps the value of the shipped model, and so do those of the tuner, which come of seconds. They decide how fast decoding
is, never what is decoded. Counts, so the machine need not be quiet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.watching import Changed, FirstDrafts, Picture
from coupled_decoding.decoding.rules.branches import CANDIDATES, DEPTH, RUN, Branches, Growing, candidates
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.rules import Rules
from coupled_decoding.decoding.rules.window import Window
from coupled_decoding.evaluation.bench.kept import write_text
from coupled_decoding.pipelines.pictures import PicturePipeline
from data.prompts import prompts

SPREADS = tuple(0.1 * 1.05**step for step in range(80))
"""From 0.1 to 4.7; one of them fits."""
NEWEST, FOLLOWERS, PRIORS = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), (0.1, 0.3, 1.0, 3.0)
UNSEEN = 0.1
"""Times that a candidate counts as true besides, so that none is of no use because few pictures were drawn."""
FALL = 0.99
"""At most this share of a candidate's chance is left to the next one: no two may be equal."""

Weights = tuple[float, float, float]
"""``newest``, ``followers`` and ``prior``."""


@dataclass(eq=False)
class Windows:
    """Sees the window of every step before its tree is grown. N counts steps of rows; S is ``DEPTH + RUN``."""

    grow: Growing
    rows: list[Tensor]
    index: list[Tensor]
    drafts: list[Tensor]
    candidates: list[Tensor]
    scores: list[Tensor]

    @classmethod
    def around(cls, rules: Rules) -> Windows:
        assert rules.grow is not None, "the method has no branches"
        return cls(rules.grow, [], [], [], [], [])

    def __call__(self, window: Window) -> Branches:
        depth, count = min(DEPTH, window.index.shape[1]), min(CANDIDATES, window.noise.shape[-1] - 1)
        codes, scores = candidates(window, depth, count)
        offset = torch.arange(window.index.shape[1])
        counts = (offset < (window.size - 1).unsqueeze(1)) & ~window.forced  # drafts that a token may be read behind
        self.rows.append(window.rows)
        self.index.append(_padded(torch.where(counts, window.index, -1), DEPTH + RUN))
        self.drafts.append(_padded(window.drafts, DEPTH + RUN))
        self.candidates.append(_padded(codes, DEPTH))
        self.scores.append(_padded(scores, DEPTH))
        return self.grow(window)

    def against(self, truth: Tensor) -> Drafted:
        """What of all this is true, by the codes of the finished pictures, LongTensor ``[B, length]``."""
        rows, index, drafts = torch.cat(self.rows), torch.cat(self.index), torch.cat(self.drafts)
        true = truth[rows.unsqueeze(1), index.clamp(min=0)]
        right = drafts == true
        hits = torch.cat(self.candidates) == true[:, :DEPTH].unsqueeze(-1)
        place = torch.where(hits.any(-1), 1 + hits.long().argmax(-1), 1 + hits.shape[-1])
        return Drafted(right, index >= 0, torch.where(right[:, :DEPTH], 0, place), torch.cat(self.scores))


@dataclass(frozen=True, eq=False)
class Drafted:
    """N windows against the truth, by offset from their start."""

    right: Tensor
    """bool ``[N, S]``: the draft is true."""
    counts: Tensor
    """bool ``[N, S]``: there is a draft that is verified, of no forced token."""
    place: Tensor
    """LongTensor ``[N, DEPTH]``: what is true: the draft (0), a candidate (1 .. K), or none of them (K + 1)."""
    scores: Tensor
    """``[N, DEPTH, 1 + K]``: of the draft and its candidates, ``log q + G``."""

    @property
    def given(self) -> Tensor:
        """bool ``[N, DEPTH]``: drafts before which all others are true."""
        prefix = (self.right | ~self.counts).long().cumprod(1)
        before = torch.cat([torch.ones_like(prefix[:, :1]), prefix[:, :-1]], 1)
        return (before > 0)[:, :DEPTH] & self.counts[:, :DEPTH]

    def of_class(self, nth: int, classes: int) -> Tensor:
        """bool ``[N, DEPTH]``: the first, the second, or all later ones of :attr:`given`."""
        return self.given & (torch.arange(DEPTH).clamp(max=classes - 1) == nth)


def fit(drafted: Drafted, start: Chances = EMOJI) -> Chances:
    """The chances of drafts and candidates; what was never seen stays as in ``start``."""
    tried, classes = drafted.scores.shape[-1], len(start.holds)
    spread, missed, holds, ranked = [*start.spread], [*start.missed], [*start.holds], [*start.ranked]
    for nth in range(classes):
        of_class = drafted.of_class(nth, classes)
        place, scores = drafted.place[of_class], drafted.scores[of_class]
        if not len(place):
            continue
        seen = torch.bincount(place, minlength=tried + 1).double() + UNSEEN
        shares = seen / seen.sum()
        holds[nth], missed[nth] = float(shares[0]), float(shares[tried])
        ranked[nth] = _falling([*shares[1:tried].tolist(), *ranked[nth][tried - 1 :]])
        found = place < tried
        if found.any():
            spread[nth] = max(SPREADS, key=lambda by: _likelihood(scores[found] / by, place[found]))
    fitted = replace(start, spread=tuple(spread), missed=tuple(missed), holds=tuple(holds), ranked=tuple(ranked))
    return replace(fitted, shaken=_shaken(drafted, fitted))


def _likelihood(scores: Tensor, place: Tensor) -> float:
    """Log-likelihood of what is true, ``[n]``, where chances go by scores ``[n, 1 + K]``."""
    return float(scores.double().log_softmax(-1).gather(1, place.unsqueeze(1)).sum())


def _falling(shares: Sequence[float]) -> tuple[float, ...]:
    """The same, each less than the one before."""
    falling = [shares[0]]
    for share in shares[1:]:
        falling.append(min(share, FALL * falling[-1]))
    return tuple(falling)


def _shaken(drafted: Drafted, chances: Chances) -> tuple[float, ...]:
    """How much of their chance drafts keep where the candidate before them is true."""
    kept, expected = [0.0] * len(chances.shaken), [0.0] * len(chances.shaken)
    row, fork = torch.nonzero(drafted.given & (drafted.place > 0) & (drafted.place < drafted.scores.shape[-1]),
                              as_tuple=True)
    for step in range(1, RUN):
        alive = drafted.counts[row, fork + step]
        row, fork = row[alive], fork[alive]
        right, nth = drafted.right[row, fork + step], min(step, len(kept)) - 1
        kept[nth] += float(right.sum())
        holds = torch.tensor(chances.holds)[(fork + step).clamp(max=len(chances.holds) - 1)]
        expected[nth] += float(holds.sum())
        row, fork = row[right], fork[right]
    return tuple(min(1.0, got / of) if of else before
                 for got, of, before in zip(kept, expected, chances.shaken, strict=True))


def _padded(values: Tensor, length: int) -> Tensor:
    """Values ``[R, n, ...]`` as ``[R, length, ...]``: cut, or filled with -1."""
    cut = values[:, :length]
    missing = values.new_full((len(values), length - cut.shape[1], *values.shape[2:]), -1)
    return torch.cat([cut, missing], 1)


def weighted(codes: int, picture: Picture, position: int) -> Iterator[tuple[Weights, Tensor]]:
    """What the prediction says of a position under each choice of its weights; the shipped choice first."""
    shipped: Weights = (EMOJI.newest, EMOJI.followers, EMOJI.prior)
    averages = {newest: picture.average(position, newest) for newest in (*NEWEST, EMOJI.newest)}
    for newest, followers, prior in dict.fromkeys([shipped, *product(NEWEST, FOLLOWERS, PRIORS)]):
        followed = (picture.known() + torch.full((codes,), prior / codes)) ** followers
        yield (newest, followers, prior), averages[newest] * followed


@dataclass(frozen=True)
class Fitted:
    """What the file holds."""

    weights: dict[str, str]
    pictures: int
    drafts: list[int]
    """How many first, second and later drafts were seen behind what was true."""
    commits: int
    """How many first drafts were predicted,"""
    right: float
    """the share of them that is right under the weights that were found,"""
    right_as_shipped: float
    """and under those of the shipped model."""
    chances: Chances


def measure(pipe: PicturePipeline, texts: list[str], window: int, branches: int, weights: dict[str, str]) -> Fitted:
    """Fit to one picture of each prompt."""
    seen: list[Windows] = []

    def watch(rules: Rules) -> Rules:
        seen.append(Windows.around(rules))
        return replace(rules, grow=seen[-1])

    out = pipe(texts, method=Changed(cd.SeedExact(window, predict=True, branches=branches), watch), seed=0)
    drafted = seen[-1].against(torch.searchsorted(pipe.layout.codes, out.tokens))
    first = FirstDrafts[Weights](partial(weighted, len(pipe.layout.codes)))
    pipe(texts, method=Changed(cd.SeedExact(window), lambda rules: replace(rules, verify=first.verify)), seed=0)
    right = {found: sum(place == 1 for place in places) / len(places) for found, places in first.places.items()}
    best = max(right, key=lambda found: right[found])  # the shipped one where several are as good
    newest, followers, prior = best
    classes = len(EMOJI.holds)
    return Fitted(
        weights, len(texts), [int(drafted.of_class(nth, classes).sum()) for nth in range(classes)],
        len(first.places[best]), right[best], right[EMOJI.newest, EMOJI.followers, EMOJI.prior],
        replace(fit(drafted), newest=newest, followers=followers, prior=prior),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--branches", type=int, default=32)
    parser.add_argument("--model", default="emoji")
    args = parser.parse_args(arguments)
    pipe = cd.from_pretrained(args.model)
    if not isinstance(pipe, PicturePipeline):
        raise SystemExit(f"--model {args.model}: give a model that draws pictures")
    fitted = measure(pipe, prompts(args.pictures), args.window, args.branches, pages.weights_of(args.model))
    text = json.dumps(asdict(fitted), indent=1)
    write_text(pages.FIGURES / "tree.json", text + "\n")
    print(text)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
