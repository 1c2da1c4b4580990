"""Rows of a session that are of different requests: scales of their own, idle ones, ones that change their prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import coupled_decoding as cd
from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.prompts import Prompt
from coupled_decoding.serving.session import TransformersSession
from tests.serving.test_session import NEGATIVE, PROMPTS, VOCAB, llama

LENGTH, LONG = 6, [*range(1, 20)]
SCALES = [3.0, 1.0, 1.5]


def backbone() -> CausalLM:
    return CausalLM(llama().double())


def logits(session: TransformersSession, rows: list[int] | None = None, seed: int = 3) -> Tensor:
    """Of a window of random tokens behind the prompts, the same in each row."""
    tokens = torch.randint(VOCAB, (LENGTH - 1,), generator=torch.Generator().manual_seed(seed))
    which = torch.arange(len(session.last_token)) if rows is None else torch.tensor(rows)
    fed = torch.cat([session.last_token[which].unsqueeze(1), tokens.expand(len(which), -1)], 1)
    positions = session.last_position[which].unsqueeze(1) + torch.arange(LENGTH)
    return session.forward(fed, positions, None if rows is None else which)


def guided(model: Backbone, rows: Sequence[int], scales: Any, **options: Any) -> TransformersSession:
    return TransformersSession(model, [PROMPTS[row] for row in rows], LENGTH, guidance_scale=scales,
                               negative_prompts=[NEGATIVE[row] for row in rows], **options)


def test_each_row_has_a_scale_of_its_own() -> None:
    """Numbers and functions of the index, in one forward, also where some rows are fed: as each row alone."""
    model = backbone()
    scales = [3.0, lambda index: 1.0 + index.double(), 1.5]
    together = guided(model, range(3), scales)
    for row, scale in enumerate(scales):
        alone = logits(guided(model, [row], scale))[0]
        torch.testing.assert_close(logits(together)[row], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(logits(together, [row])[0], alone, rtol=0, atol=1e-12)
    assert (logits(together) - logits(guided(model, range(3), 3.0)))[1:].abs().max() > 0.01
    with pytest.raises(ValueError, match="2 guidance scales for 3 prompts"):
        guided(model, range(3), [1.0, 2.0])


def test_a_row_of_scale_1_has_the_logits_of_its_prompt_to_the_bit() -> None:
    """u + 1 (c - u) is not c in floating point: the numbers of this test tell the two apart."""
    model = backbone()
    both = logits(TransformersSession(model, [*PROMPTS, *NEGATIVE], LENGTH))  # as many rows as guidance makes
    assert not torch.equal(both[4] + 1.0 * (both[1] - both[4]), both[1])
    assert torch.equal(logits(guided(model, range(3), SCALES))[1], both[1])
    changed = guided(model, range(3), 2.0)
    changed.adopt(1, guided(model, range(3), SCALES), 1)
    assert torch.equal(logits(changed)[1], both[1])


def test_rows_stand_idle_until_they_adopt_a_prompt() -> None:
    """A session without prompts is filled row by row, guidance included; what stands beside stays as it is."""
    model = backbone()
    session = TransformersSession(model, [None] * 3, LENGTH, negative_prompts=[None] * 3, capacity=30)
    read = guided(model, range(3), SCALES)
    session.adopt(2, read, 0)
    first = logits(session, [2])
    torch.testing.assert_close(first, logits(guided(model, [0], SCALES[0])), rtol=0, atol=1e-12)
    session.adopt(0, read, 2)
    session.adopt(1, read, 1)
    torch.testing.assert_close(logits(session), logits(guided(model, [2, 1, 0], [1.5, 1.0, 3.0])), rtol=0, atol=1e-12)
    assert torch.equal(logits(session, [2]), first)
    assert session.guidance_scales == [1.5, 1.0, 3.0]
    cd.check_session(session, 1e-12)
    half = TransformersSession(model, [PROMPTS[0], None, PROMPTS[2]], LENGTH)
    torch.testing.assert_close(logits(half, [0, 2]), logits(TransformersSession(model, PROMPTS, LENGTH), [0, 2]),
                               rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="row 1 has no prompt to adopt"):
        half.adopt(0, half, 1)


def test_a_session_has_the_room_it_is_given() -> None:
    """A prompt longer than all the first ones fits, one longer than the room is refused, and nothing changes by it."""
    model = backbone()
    session = TransformersSession(model, PROMPTS, LENGTH, capacity=len(LONG) + LENGTH)
    before = logits(session, [0])
    longer = TransformersSession(model, [[1, *LONG]], LENGTH)
    with pytest.raises(ValueError, match="the prompt and 6 new tokens make 26: the session has room for 25; make it"):
        session.adopt(1, longer, 0)
    with pytest.raises(ValueError, match="the longest prompt and 6 new tokens make 26: the session has room for 25"):
        TransformersSession(model, [[1, *LONG]], LENGTH, capacity=len(LONG) + LENGTH)
    session.adopt(1, TransformersSession(model, [LONG], LENGTH), 0)
    torch.testing.assert_close(logits(session, [1]), logits(TransformersSession(model, [LONG], LENGTH)), rtol=0,
                               atol=1e-12)
    assert torch.equal(logits(session, [0]), before)
    assert session.capacity == len(LONG) + LENGTH
    cd.check_session(session, 1e-12)


def test_a_session_that_others_adopt_from_holds_the_prompts_alone() -> None:
    """No room is made for what it would generate, until it is decoded itself; it can be adopted from then, too."""
    model, made = backbone(), list[int]()
    new_cache = model.new_cache
    model.new_cache = lambda rows, capacity: made.append(rows * capacity) or new_cache(rows, capacity)  # type: ignore
    read = TransformersSession(model, [PROMPTS[2]], LENGTH)
    session = TransformersSession(model, PROMPTS[:2], LENGTH, capacity=20)
    session.adopt(0, read, 0)
    expected = logits(session, [0])
    assert made == [len(PROMPTS[2]) - 1, 2 * (len(PROMPTS[0]) - 1), 2 * 20]
    logits(read, seed=8)
    session.adopt(1, read, 0)
    torch.testing.assert_close(logits(session)[1], expected[0], rtol=0, atol=1e-12)


def test_guided_and_unguided_sessions_do_not_mix() -> None:
    model = backbone()
    plain = TransformersSession(model, PROMPTS, LENGTH)
    with pytest.raises(ValueError, match="this session is guided and the other one is not: make both with negative"):
        guided(model, range(3), 2.0).adopt(0, plain, 0)
    with pytest.raises(ValueError, match="the other session is guided and this one is not"):
        plain.adopt(0, guided(model, range(3), 2.0), 0)


class Shifting(CausalLM):
    """Adds each row's condition to its hidden states."""

    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.stack([*conditions]),)

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        hidden = super().trunk(tokens, positions, mask, cache, conditions)
        return hidden + conditions[0].unsqueeze(1) if conditions else hidden  # none where the model is checked


def test_conditions_go_with_their_rows() -> None:
    """In any subset of rows, under guidance, and where a row adopts another prompt; a tensor is read once for all."""
    model = Shifting(llama().double())
    one, other, nothing = torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    prompts = [Prompt((1, 2, 3), one), Prompt((4, 5), other), Prompt((1, 2, 3), other)]

    def session(rows: Sequence[int], **options: Any) -> TransformersSession:
        return TransformersSession(model, [prompts[row] for row in rows], LENGTH, guidance_scale=2.0,
                                   negative_prompts=[Prompt((7,), nothing)] * len(rows), **options)

    alone = [logits(session([row]))[0] for row in range(3)]
    assert (alone[0] - alone[2]).abs().max() > 0.1
    together = session(range(3))
    torch.testing.assert_close(logits(together), torch.stack(alone), rtol=0, atol=1e-12)
    torch.testing.assert_close(logits(together, [0, 2]), torch.stack([alone[0], alone[2]]), rtol=0, atol=1e-12)
    together.adopt(0, session([1]), 0)
    torch.testing.assert_close(logits(together, [0, 2]), torch.stack([alone[1], alone[2]]), rtol=0, atol=1e-12)
    idle = TransformersSession(model, [None] * 2, LENGTH, negative_prompts=[None] * 2, capacity=20)
    idle.adopt(1, together, 2)
    torch.testing.assert_close(logits(idle, [1])[0], alone[2], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="some prompts have a condition and some have none"):
        TransformersSession(model, [prompts[0], (1, 2)], LENGTH)
    with pytest.raises(ValueError, match="this model reads no conditions"):
        TransformersSession(backbone(), prompts, LENGTH)
