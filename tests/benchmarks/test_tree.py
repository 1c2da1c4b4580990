"""Chances of drafts fitted to decodes: known ones are found again, and a model's are written as decoding takes them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import coupled_decoding as cd
from benchmarks import pages, tree
from coupled_decoding.decoding.rules.branches import CANDIDATES, DEPTH, RUN
from coupled_decoding.decoding.rules.chances import EMOJI, Chances
from coupled_decoding.decoding.rules.window import Learned, Window

MANY = 40_000


def drawn_by(chances: Chances, generator: torch.Generator) -> tree.Drafted:
    """Windows in which drafts hold as often as these chances say, and fewer where a candidate took one's place."""
    holds = torch.tensor([*chances.holds, *[chances.holds[-1]] * (DEPTH + RUN - len(chances.holds))])
    nth = torch.arange(DEPTH).clamp(max=2)
    ranked = torch.tensor(chances.ranked)[nth]  # [DEPTH, K]
    odds = torch.cat([holds[:DEPTH, None], ranked], 1)
    odds = torch.cat([odds, (1 - odds.sum(1, keepdim=True)).clamp(min=0)], 1)
    place = torch.multinomial(odds, MANY, replacement=True, generator=generator).T  # [N, DEPTH]
    right = torch.rand(MANY, DEPTH + RUN, generator=generator) < holds
    right[:, :DEPTH] = place == 0
    replaced = ((place > 0) & (place <= CANDIDATES)).long()
    fork = torch.where(replaced.any(1), replaced.argmax(1), DEPTH)  # the first draft that a candidate replaces
    shaken = torch.tensor([*chances.shaken, *[chances.shaken[-1]] * RUN])
    for step in range(1, RUN):
        offset = (fork + step).clamp(max=DEPTH + RUN - 1).unsqueeze(1)
        kept = torch.rand(MANY, 1, generator=generator) < shaken[step - 1]
        right.scatter_(1, offset, right.gather(1, offset) & kept)
    place = torch.where(right[:, :DEPTH], 0, torch.where(place == 0, CANDIDATES + 1, place))
    return tree.Drafted(right, torch.ones_like(right), place, torch.zeros(MANY, DEPTH, 1 + CANDIDATES))


def test_known_chances_are_found_again() -> None:
    known = replace(EMOJI, shaken=(0.6, 0.8, 0.9))
    fitted = tree.fit(drawn_by(known, torch.Generator().manual_seed(0)))
    assert fitted.holds[:2] == pytest.approx(known.holds[:2], abs=0.02)
    assert fitted.ranked[0] == pytest.approx(known.ranked[0], abs=0.01)
    assert fitted.shaken == pytest.approx(known.shaken, abs=0.05)


def test_spread_is_how_far_the_truth_lies_off() -> None:
    """Drawn from the softmax of scores over 0.5: that is what fits, and what is missed is not looked at."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(MANY, DEPTH, 1 + CANDIDATES, generator=generator).sort(descending=True).values
    place = torch.multinomial((scores[:, 0] / 0.5).softmax(-1), 1, generator=generator)
    place[::10] = 1 + CANDIDATES
    places, counts = torch.zeros(MANY, DEPTH, dtype=torch.long), torch.zeros(MANY, DEPTH + RUN, dtype=torch.bool)
    places[:, :1], counts[:, 0] = place, True
    right = torch.cat([places == 0, torch.zeros(MANY, RUN, dtype=torch.bool)], 1)
    fitted = tree.fit(tree.Drafted(right, counts, places, scores))
    assert fitted.spread[0] == pytest.approx(0.5, rel=0.06)
    assert fitted.missed[0] == pytest.approx(0.1, abs=0.001)
    assert (fitted.spread[1:], fitted.holds[1:]) == (EMOJI.spread[1:], EMOJI.holds[1:])  # nothing was seen of them


def test_candidates_fall_even_where_some_were_never_seen() -> None:
    place = torch.tensor([0, 0, 3, 3, 1, 14 - 1]).unsqueeze(1).expand(-1, DEPTH)
    counts = torch.zeros(6, DEPTH + RUN, dtype=torch.bool)
    counts[:, 0] = True
    right = torch.cat([place == 0, torch.zeros(6, RUN, dtype=torch.bool)], 1)
    ranked = tree.fit(tree.Drafted(right, counts, place, torch.zeros(6, DEPTH, 1 + CANDIDATES))).ranked[0]
    assert all(later < earlier for earlier, later in pairwise(ranked))
    assert ranked[-1] > 0


def test_windows_are_held_against_the_finished_picture() -> None:
    """By hand: four positions, of which the third is forced; drafts 1, 0 and 2 before a bonus, and the truth."""
    labels = torch.full((1, 4, 4), 0.25)
    noise = torch.tensor([[[9.0, 1, 2, 3], [1, 2, 3, 9], [1, 2, 3, 4], [1, 2, 3, 4]]])
    window = Window(
        rows=torch.tensor([1]), seeds=torch.tensor([0]), visit=torch.tensor([0]), index=torch.tensor([[4, 5, 6, 7]]),
        size=torch.tensor([4]), forced=torch.tensor([[False, False, True, False]]), drafts=torch.tensor([[1, 0, 2, 0]]),
        noise=noise, learned=Learned(labels),
    )
    windows = tree.Windows(lambda window: None, [], [], [], [], [])  # type: ignore[arg-type, return-value]
    windows(window)
    truth = torch.zeros(2, 8, dtype=torch.long)
    truth[1, 4:] = torch.tensor([1, 2, 3, 3])
    drafted = windows.against(truth)
    assert drafted.counts[0, :5].tolist() == [True, True, False, False, False]
    assert drafted.right[0, :2].tolist() == [True, False]
    assert drafted.place[0, :2].tolist() == [0, 2]  # after draft 0 come 1 and 2 in the order of the noise
    assert drafted.given[0, :4].tolist() == [True, True, False, False]


def test_a_model_is_fitted(tiny_emoji: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command writes chances that decoding takes, for the very tokens of before."""
    monkeypatch.setattr(pages, "FIGURES", tmp_path)
    tree.main(["--pictures", "2", "--model", str(tiny_emoji), "--window", "6", "--branches", "8"])
    written = json.loads((tmp_path / "tree.json").read_text())
    assert written["weights"] == pages.weights_of(str(tiny_emoji))
    assert written["pictures"] == 2
    assert written["drafts"][0] > 0
    assert 0 <= written["right_as_shipped"] <= written["right"] <= 1
    fields = {name: tuple(map(tuple, value)) if name == "ranked" else tuple(value) if isinstance(value, list) else value
              for name, value in written["chances"].items()}
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    tokens = [
        cd.decode(pipe.model.session(["a"], 1.0, pipe.model.size), pipe.layout.length, layout=pipe.layout, seed=1,
                  method=cd.SeedExact(6, branches=8, predict=True), chances=chances).tokens
        for chances in (Chances(**fields), EMOJI)
    ]
    assert torch.equal(*tokens)
