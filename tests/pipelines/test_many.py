"""Many pictures, a few at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import coupled_decoding as cd

PROMPTS = ["a heart", "pizza", "a dog", "a red heart on a blue ground", "a cat"]
METHODS = [
    cd.AR(), cd.SJD(5), cd.SCD(5, coupling="maximal", predict=True), cd.SCD(5, branches=4),
    cd.SeedExact(5, predict=True, branches=6), cd.SeedExact(5, "repeat"),
]


@pytest.mark.parametrize("batch", [1, 2, 3, 10])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_each_picture_is_the_one_it_is_alone(tiny_emoji: Path, method: cd.Method, batch: int) -> None:
    """Whoever was in its place before, a picture has the tokens and the trace of a call of its own, in float64.

    Prompts have different lengths, and the fourth is longer than all that the first session of two makes room for.
    """
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    given = dict(pipe.generate_many(
        PROMPTS, batch=batch, method=method, guidance_scale=2.0, seed=7, images_per_prompt=2))
    assert sorted(given) == list(range(10))
    for number, out in given.items():
        prompt = PROMPTS[number // 2]
        alone = pipe(prompt, method=method, guidance_scale=2.0, seed=7 + number)
        assert (out.prompts, out.seeds) == ([prompt], [7 + number])
        assert torch.equal(out.tokens, alone.tokens)
        assert out.images[0].tobytes() == alone.images[0].tobytes()
        assert out.metadata == alone.metadata
        for counts in ("nfe", "committed", "changed", "pending", "fed"):
            assert torch.equal(getattr(out.trace, counts), getattr(alone.trace, counts))


def test_pictures_come_as_they_are_done(tiny_emoji: Path) -> None:
    """A picture that takes more forwards than its neighbour comes after it, and no place stays empty meanwhile."""
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    prompts, method = PROMPTS * 3, cd.SCD(8)
    nfe = pipe(prompts, method=method, seed=0).trace.nfe.tolist()
    order = [number for number, _ in pipe.generate_many(prompts, batch=3, method=method, seed=0)]
    busy, expected, waiting = {row: nfe[row] for row in range(3)}, [], list(range(3, len(nfe)))
    names = {row: row for row in busy}
    while busy:  # what continuous batching comes to, forward by forward
        busy = {row: left - 1 for row, left in busy.items()}
        for row in sorted(row for row, left in busy.items() if left == 0):
            expected.append(names[row])
            del busy[row]
            if waiting:
                names[row] = waiting.pop(0)
                busy[row] = nfe[names[row]]
    assert order == expected
    assert order != sorted(order)


def test_one_description_is_one_picture(tiny_emoji: Path) -> None:
    """As in a call: it is not taken for a list of letters."""
    (number, out), = cd.from_pretrained(tiny_emoji).generate_many("a heart", seed=0)
    assert (number, out.prompts) == (0, ["a heart"])


def test_seconds_are_those_of_shared_forwards(tiny_emoji: Path) -> None:
    pipe = cd.from_pretrained(tiny_emoji)
    traces = [out.trace for _, out in pipe.generate_many(PROMPTS, batch=2, seed=0)]
    assert all(trace.seconds_model > 0 and trace.seconds_outside > 0 for trace in traces)


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"batch": 0}, "batch is 0: give at least 1"),
    ({"prompts": []}, "no prompts: give at least one description of a picture"),
    ({"seed": [1, 2]}, "2 seeds: give one number, or one for each of 5 rows"),
])
def test_bad_input_is_refused_before_anything_is_drawn(tiny_emoji: Path, wrong: dict, sentence: str) -> None:
    pipe = cd.from_pretrained(tiny_emoji)
    with pytest.raises(ValueError, match=sentence):
        pipe.generate_many(**{"prompts": PROMPTS, **wrong})


def test_pictures_that_are_done_come_before_a_prompt_that_cannot_be_read(tiny_emoji: Path) -> None:
    many = cd.from_pretrained(tiny_emoji).generate_many(["a heart", "pizza", "a heart " * 100], batch=1, seed=0)
    assert [next(many)[0], next(many)[0]] == [0, 1]
    with pytest.raises(ValueError, match="make it shorter"):
        next(many)
