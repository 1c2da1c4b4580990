"""A session over a transformers model: prompts read once, guidance as a second set of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding.decoding.session import SessionBase
from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.cache import PositionCache
from coupled_decoding.serving.guidance import Guidance, GuidanceScale
from coupled_decoding.serving.prompts import Conditions, Prompt, PromptLike, as_prompt


@dataclass(frozen=True, eq=False)
class Reading:
    """Prompts that were read, each distinct one once. Numbers of rows are on the CPU, layers on any device."""

    cache: PositionCache | None
    """Keys and values of the distinct prompts; None: there was nothing to read before any last token."""
    source: Tensor
    """LongTensor ``[rows]``: the row of ``cache`` that each row of the session has read."""
    conditions: tuple[Tensor, ...]
    """What the backbone made of the distinct conditions: tensors ``[N, ...]``."""
    condition: Tensor
    """LongTensor ``[rows]``: which of them each row of the session has."""


class TransformersSession(SessionBase):
    """A batch of prompts read by a decoder-only transformers model; see :class:`coupled_decoding.Session`.

    Args:
        backbone: the model, and which codes its head computes.
        prompts: of each row, at least one token; None: the row stands idle until it adopts one.
        length: most tokens that will be generated after a prompt.
        negative_prompts: with guidance, the unconditional prompt of each row. Both run in the same forward, and the
            logits are ``u + s * (c - u)`` (classifier-free guidance, arXiv 2207.12598).
        guidance_scale: s, one for all rows or one for each; used with ``negative_prompts`` only. A row of scale 1 has
            exactly the logits of its prompt.
        capacity: most tokens of a row, its prompt included: room for prompts that rows will adopt. A longer one is
            refused. None: as many as these prompts and ``length`` need; room for longer ones is made when they come.

    A prompt that several rows share is read once. A session takes memory for its rows at its first forward: one that
    others adopt prompts from, and that is never decoded, holds the prompts alone.

    Raises ValueError where a sequence does not fit the model or the capacity.
    """

    reads_branches = refills = True

    def __init__(
        self,
        backbone: Backbone,
        prompts: Sequence[PromptLike | None],
        length: int,
        *,
        negative_prompts: Sequence[PromptLike | None] | None = None,
        guidance_scale: GuidanceScale | Sequence[GuidanceScale] = 1.0,
        capacity: int | None = None,
    ) -> None:
        rows = len(prompts)
        if negative_prompts is not None and len(negative_prompts) != rows:
            raise ValueError(f"{len(negative_prompts)} negative prompts for {rows} prompts: give one for each")
        scales = list(guidance_scale) if isinstance(guidance_scale, Sequence) else [guidance_scale] * rows
        if len(scales) != rows:
            raise ValueError(f"{len(scales)} guidance scales for {rows} prompts: give one, or one for each")
        self.backbone, self.length, self.guidance_scales = backbone, length, scales
        self.output_codes = backbone.output_codes
        self.vocab_size = backbone.vocab_size
        self.costs = backbone.costs(guided=negative_prompts is not None)
        self.prompts = [as_prompt(prompt) for prompt in prompts]
        self.negative_prompts = None if negative_prompts is None else [as_prompt(one) for one in negative_prompts]
        both = [*self.prompts, *(self.negative_prompts or [])]
        self._check(both, capacity)
        longest = max((len(prompt.ids) for prompt in both if prompt is not None), default=0)
        self._grows, self.capacity = capacity is None, longest + length if capacity is None else capacity

        device = backbone.device
        ends = torch.tensor([0 if prompt is None else len(prompt.ids) - 1 for prompt in both], device=device)
        last = torch.tensor([0 if prompt is None else prompt.ids[-1] for prompt in both], device=device)
        self.last_token, self.last_position = last[:rows], ends[:rows]
        self._guidance: Guidance | None = None
        if self.negative_prompts is not None:
            # an unconditional row reads the same new tokens at its own positions, after a last prompt token of its own
            self._offset, self._negative_last = ends[rows:] - self.last_position, last[rows:]
            self._guidance = Guidance(scales, length, device)
        self._both: tuple[Tensor, Tensor] | None = None
        self._reading: Reading | None = self._read(both)
        self._cache: PositionCache | None = None
        self._conditions = Conditions()

    def _check(self, prompts: Sequence[Prompt | None], capacity: int | None) -> None:
        given = [prompt.ids for prompt in prompts if prompt is not None]
        if not prompts or not all(given):
            raise ValueError("a prompt is empty: give each row at least one token")
        for ids in given:
            if min(ids) < 0 or max(ids) >= self.vocab_size:
                raise ValueError(f"token {min(ids) if min(ids) < 0 else max(ids)} in a prompt: the model has ids 0 to "
                                 f"{self.vocab_size - 1}")
        longest = max(map(len, given), default=0) + self.length
        if capacity is not None and longest > capacity:
            raise ValueError(f"the longest prompt and {self.length} new tokens make {longest}: the session has room "
                             f"for {capacity}; give a larger capacity")
        limit = self.backbone.max_positions
        if limit is not None and longest > limit + 1:  # the last token generated is never read
            raise ValueError(f"the longest prompt and {self.length} new tokens make {longest}: the model reads {limit} "
                             "positions")

    @torch.no_grad()
    def _read(self, prompts: Sequence[Prompt | None]) -> Reading:
        """Read all but the last token of every distinct prompt once."""
        given = [prompt for prompt in prompts if prompt is not None]
        distinct = list({prompt.read: prompt for prompt in given}.values())
        conditions = {id(prompt.condition): prompt.condition for prompt in given}
        which = {identity: i for i, identity in enumerate(conditions)}
        some = [condition for condition in conditions.values() if condition is not None]
        if some and len(some) < len(conditions):
            raise ValueError("some prompts have a condition and some have none: give all of them one")
        parts = self.backbone.read_conditions(some) if some else ()
        of_distinct = torch.tensor([which[id(prompt.condition)] for prompt in distinct], dtype=torch.long)
        number = {prompt.read: i for i, prompt in enumerate(distinct)}
        return Reading(
            cache=self._cache_of(distinct, tuple(part[of_distinct] for part in parts)),
            source=torch.tensor([0 if one is None else number[one.read] for one in prompts]),
            conditions=parts,
            condition=torch.tensor([0 if one is None else which[id(one.condition)] for one in prompts]),
        )

    def _cache_of(self, prompts: Sequence[Prompt], conditions: tuple[Tensor, ...]) -> PositionCache | None:
        """Keys and values of all but the last token of these prompts, read in one forward."""
        backbone, longest = self.backbone, max((len(prompt.ids) - 1 for prompt in prompts), default=0)
        if longest == 0:
            return None
        # padding on the right is stale by construction: it sits at positions that are written again
        padded = [[*prompt.ids[:-1], *[0] * (longest + 1 - len(prompt.ids))] for prompt in prompts]
        tokens = torch.tensor(padded, device=backbone.device)
        positions = torch.arange(longest, device=backbone.device).expand(len(prompts), -1)
        cache = backbone.new_cache(len(prompts), longest)
        if backbone.padding is not None:
            cache.pad((tokens == backbone.padding).sum(1))
        with backbone.eager():
            backbone.hidden(tokens, positions, cache, conditions=conditions)
        return cache

    def _whole(self) -> PositionCache:
        """The cache of all rows; made at the first forward, out of what was read."""
        if self._cache is None:
            rows = len(self.last_token) * (1 if self._guidance is None else 2)
            self._cache, reading = self.backbone.new_cache(rows, self.capacity), self._reading
            self._reading = None
            if reading is not None:
                if reading.cache is not None:
                    self._cache.fill(reading.cache, reading.source)
                self._conditions = Conditions(tuple(part[reading.condition] for part in reading.conditions))
        return self._cache

    @torch.no_grad()
    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Logits ``[R, T, C]`` over the output codes; see :meth:`coupled_decoding.Session.forward`."""
        if self._guidance is None:
            return self.backbone.logits(self._hidden(tokens, positions, rows, parents))
        here = slice(None) if rows is None else rows
        offset, last = self._offset[here], self.last_position[here].unsqueeze(1)
        twins = torch.where(positions == last, self._negative_last[here].unsqueeze(1), tokens)
        hidden = self._hidden(
            torch.cat([tokens, twins]),
            torch.cat([positions, positions + offset.unsqueeze(1)]),
            None if rows is None else self._with_unconditional(rows),
            None if parents is None else parents.repeat(2, 1),
        )
        conditional, unconditional = self.backbone.logits(hidden).chunk(2)
        return self.guide(conditional, unconditional, self._guidance, positions - last, rows)

    def _hidden(self, tokens: Tensor, positions: Tensor, rows: Tensor | None, parents: Tensor | None) -> Tensor:
        """Hidden states ``[R, T, hidden]`` of rows of the cache, unconditional ones included."""
        cache = self._whole()
        return self.backbone.hidden(tokens, positions, cache, rows, parents, self._conditions.of(rows))

    def guide(
        self, conditional: Tensor, unconditional: Tensor, guidance: Guidance, index: Tensor, rows: Tensor | None
    ) -> Tensor:
        """Guided logits from those of the two branches, all ``[R, T, C]``; see :meth:`Guidance.mix`."""
        return guidance.mix(conditional, unconditional, index, rows)

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """See :meth:`coupled_decoding.Session.keep`."""
        cache = self._whole()
        if self._guidance is not None:
            which = torch.cat([which, which + cache.rows_of_last_forward // 2])
            slots = slots.repeat(2)
        cache.keep(which, slots)

    @torch.no_grad()
    def adopt(self, row: int, other: TransformersSession, source: int) -> None:
        """See :meth:`coupled_decoding.Session.adopt`; the row takes over the other's guidance scale, too.

        ValueError where this session has no room for the prompt and what the other was to generate after it, or where
        one of the two sessions is guided and the other is not.
        """
        prompt, negative = other.prompts[source], (other.negative_prompts or other.prompts)[source]
        if prompt is None or negative is None:
            raise ValueError(f"row {source} has no prompt to adopt")
        if (self._guidance is None) != (other._guidance is None):
            guided, plain = ("the other", "this") if self._guidance is None else ("this", "the other")
            raise ValueError(f"{guided} session is guided and {plain} one is not: make both with negative prompts, a "
                             "row of scale 1 is then as without guidance")
        needed = max(len(prompt.ids), len(negative.ids)) + other.length
        if needed > self.capacity and not self._grows:
            raise ValueError(f"the prompt and {other.length} new tokens make {needed}: the session has room for "
                             f"{self.capacity}; make it with a larger capacity")
        cache = self._whole()
        self.capacity = max(self.capacity, needed)
        cache.reserve(self.capacity)
        rows, sources = torch.tensor([row]), torch.tensor([source])
        if self._guidance is not None and other._guidance is not None:
            assert self.negative_prompts is not None
            self.negative_prompts[row] = negative
            self._offset[row], self._negative_last[row] = other._offset[source], other._negative_last[source]
            self._guidance.adopt(row, other._guidance, source)
            rows = torch.cat([rows, rows + len(self.last_token)])
            sources = torch.cat([sources, sources + len(other.last_token)])
        self.prompts[row], self.guidance_scales[row] = prompt, other.guidance_scales[source]
        self.last_token[row], self.last_position[row] = other.last_token[source], other.last_position[source]
        reading = other._as_read()
        if reading.cache is not None:
            cache.adopt(rows, reading.cache, reading.source[sources])
        self._conditions.adopt(rows, reading.conditions, reading.condition[sources], count=cache.rows)

    def _as_read(self) -> Reading:
        """Where the prompts of the rows stand: apart, or in the rows themselves once these have been made."""
        if self._reading is not None:
            return self._reading
        cache = self._whole()
        own = torch.arange(cache.rows)
        return Reading(cache, own, self._conditions.parts, own)

    def _with_unconditional(self, rows: Tensor) -> Tensor:
        """These rows and their unconditional twins; the same tensor for the same tensor, which spares a comparison."""
        if self._both is None or self._both[0] is not rows:
            self._both = rows, torch.cat([rows, rows + len(self.last_token)])
        return self._both[1]
