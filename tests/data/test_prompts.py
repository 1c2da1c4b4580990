"""The committed prompts."""

from __future__ import annotations

import pytest

from data.prompts import prompts, subjects


def test_any_beginning_holds_half_of_each_kind() -> None:
    """None is of both kinds; an odd number has one more of what was trained on."""
    every = subjects()
    assert not {*every.trained} & {*every.held_out}
    for most in (2, 7, 100):
        of_trained = sum(prompt in every.trained for prompt in prompts(most))
        assert (of_trained, len(prompts(most))) == ((most + 1) // 2, most)
    assert prompts() == prompts(100)


@pytest.mark.parametrize("most", [0, 101])
def test_as_many_as_there_are_not(most: int) -> None:
    with pytest.raises(ValueError, match=f"{most} prompts: prompts.json holds 100"):
        prompts(most)
