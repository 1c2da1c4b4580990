"""What predicts the first draft behind a commit: where the true code stands among the codes, by what orders them.

    python -m benchmarks.first_draft            # writes docs/figures/first_draft.md

A plain chain of SeedExact as published is decoded, and whenever a code is committed, every predictor here says what
the next position may hold. What it does hold, the next forward tells: the code that the position's noise draws from the
true distribution. Its place in the order of ``log q + G`` is 1 where a draft made by that predictor would have been
accepted, and up to k where one of k candidates would have been. Counts, so the machine need not be quiet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from benchmarks.watching import Changed, FirstDrafts, Picture
from coupled_decoding.decoding.rules.chances import EMOJI
from coupled_decoding.evaluation.bench.tables import markdown
from coupled_decoding.pipelines.pictures import PicturePipeline
from data.prompts import prompts

WINDOW = 32
PLACES = (1, 2, 4, 8, 16, 32)
OTHERS = 0.3
"""Weight of what other predictors say where a position's distribution for the very code committed is known."""


def predictors(codes: int, fixed: Tensor | None, picture: Picture, position: int) -> Iterator[tuple[str, Tensor]]:
    """Distributions of a position behind ``picture.before``, up to a factor.

    Args:
        codes: C, how many there are.
        fixed: ``[C, C]``: what followed each code in other pictures, if that is known.
    """
    labels, uniform = picture.labels[position], torch.full((codes,), EMOJI.prior / codes)
    newest, average = labels[-1][1], picture.average(position, EMOJI.newest)
    followed = (picture.known() + uniform) ** EMOJI.followers
    shipped = average * followed
    yield "newest label (as published)", newest
    yield "average of labels", average
    yield "newest label x followers", newest * followed
    yield "average x followers (`predict=True`)", shipped
    weights = (1 - EMOJI.newest) ** torch.arange(len(labels) - 1, -1, -1)
    same = [weight * label for weight, (code, label) in zip(weights, labels, strict=True) if code == picture.before]
    pairs = shipped / shipped.sum() if not same else (
        torch.stack(same).sum(0) / sum(float(label.sum()) for label in same) + OTHERS * shipped / shipped.sum())
    yield "the same, and labels made for the very code committed", pairs
    if fixed is not None:
        others = (fixed[picture.before] + uniform) ** EMOJI.followers
        yield "average x followers in other pictures", average * others
        both = (picture.known() + fixed[picture.before] + uniform) ** EMOJI.followers
        yield "average x followers here and in other pictures", average * both


def watched(pipe: PicturePipeline, texts: list[str], fixed: Tensor | None, seed: int) -> FirstDrafts[str]:
    """Decode one picture of each prompt and watch."""
    watch = FirstDrafts(partial(predictors, len(pipe.layout.codes), fixed))
    pipe(texts, method=Changed(cd.SeedExact(WINDOW), lambda rules: replace(rules, verify=watch.verify)), seed=seed)
    return watch


def followers(watch: FirstDrafts[str], codes: int) -> Tensor:
    """``[C, C]``: what has followed each code in all pictures, in sums of one; zeros behind a code that never stood."""
    total = torch.zeros(codes, codes)
    for picture in watch.pictures.values():
        for code, distribution in picture.followers.items():
            total[code] += distribution
    return total / total.sum(1, keepdim=True).clamp(min=1)


def main() -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=20)
    args = parser.parse_args()
    pipe, texts = cd.from_pretrained("emoji"), prompts()
    if 2 * args.pictures > len(texts):
        raise SystemExit(f"--pictures {args.pictures}: give at most {len(texts) // 2}, as many again are learned from")
    with tqdm(total=2, desc="halves") as bar:
        learned = followers(watched(pipe, texts[-args.pictures :], None, seed=10**6), len(pipe.layout.codes))
        bar.update()
        watch = watched(pipe, texts[: args.pictures], learned, seed=0)
        bar.update()
    page = report(watch.places, args.pictures, pages.weights_in_words(pages.weights_of("emoji")))
    pages.publish("first_draft", page)
    print(page)


def report(places: Mapping[str, list[int]], pictures: int, weights: str) -> str:
    commits, lines = len(next(iter(places.values()))), []
    for name, found in places.items():
        shares = (torch.tensor(found) <= torch.tensor(PLACES).unsqueeze(1)).double().mean(1).tolist()
        lines.append([name, *(f"{share:.2f}" for share in shares)])
    return (f"First drafts behind {commits} commits of {pictures} pictures, SeedExact with a window of {WINDOW}, "
            f"temperature 1, nothing cut; other pictures: of {pictures} other prompts. Share of them whose true code "
            f"is among the first k of the order. {weights}\n\n"
            + markdown(["ordered by", *(f"k = {place}" for place in PLACES)], lines) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
