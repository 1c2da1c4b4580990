"""A session over a transformers model: prompts read once, guidance as a second set of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coupled_decoding.decoding.session import SessionBase
from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.compiling import eager

GuidanceScale = float | Callable[[Tensor], Tensor]
"""A number, or a function of the generated index, LongTensor ``[R, T]``, that gives the scale there."""


class TransformersSession(SessionBase):
    """A batch of prompts read by a decoder-only transformers model; see :class:`coupled_decoding.Session`.

    Args:
        backbone: the model, and which codes its head computes.
        prompts: token ids of each row, at least one token.
        length: most tokens that will be generated after a prompt; sizes the cache.
        negative_prompts: with guidance, the unconditional prompt of each row. Both run in the same forward, and the
            logits are ``u + s * (c - u)`` (classifier-free guidance, arXiv 2207.12598).
        guidance_scale: s; needed with ``negative_prompts``.

    A prompt that several rows share is read once. Raises ValueError where a sequence does not fit the model.
    """

    reads_branches = refills = True

    def __init__(
        self,
        backbone: Backbone,
        prompts: Sequence[Sequence[int]],
        length: int,
        *,
        negative_prompts: Sequence[Sequence[int]] | None = None,
        guidance_scale: GuidanceScale = 1.0,
    ) -> None:
        if negative_prompts is not None and len(negative_prompts) != len(prompts):
            raise ValueError(f"{len(negative_prompts)} negative prompts for {len(prompts)} prompts: give one for each")
        self.backbone, self.guidance_scale = backbone, guidance_scale
        self.output_codes = backbone.output_codes
        self.vocab_size = backbone.vocab_size
        self.costs = backbone.costs(guided=negative_prompts is not None)
        sequences = [tuple(int(t) for t in prompt) for prompt in [*prompts, *(negative_prompts or [])]]
        self.prompts, self.negative_prompts = sequences[: len(prompts)], sequences[len(prompts) :]
        self._check(sequences, length)

        device = backbone.device
        ends = torch.tensor([len(sequence) - 1 for sequence in sequences], device=device)
        self.last_token = torch.tensor([sequence[-1] for sequence in sequences[: len(prompts)]], device=device)
        self.last_position = ends[: len(prompts)]
        # an unconditional row reads the same new tokens at its own positions, after a last prompt token of its own
        self._offset = ends[len(prompts) :] - self.last_position if negative_prompts is not None else None
        self._negative_last = torch.tensor([sequence[-1] for sequence in sequences[len(prompts) :]], device=device)
        self._both: tuple[Tensor, Tensor] | None = None
        self._cache = backbone.new_cache(len(sequences), max(map(len, sequences)) + length)
        self._read(sequences)

    def _check(self, sequences: list[tuple[int, ...]], length: int) -> None:
        if not sequences or not all(sequences):
            raise ValueError("a prompt is empty: give each row at least one token")
        largest, smallest = max(map(max, sequences)), min(map(min, sequences))
        if smallest < 0 or largest >= self.vocab_size:
            raise ValueError(f"token {largest if smallest >= 0 else smallest} in a prompt: the model has ids 0 to "
                             f"{self.vocab_size - 1}")
        longest = max(map(len, sequences)) + length
        limit = self.backbone.max_positions
        if limit is not None and longest > limit + 1:  # the last token generated is never read
            raise ValueError(f"the longest prompt and {length} new tokens make {longest}: the model reads {limit} "
                             "positions")

    @torch.no_grad()
    def _read(self, sequences: list[tuple[int, ...]]) -> None:
        """Read all but the last token of every distinct sequence once, and give each row a copy."""
        distinct = list(dict.fromkeys(sequence[:-1] for sequence in sequences))
        longest = max(map(len, distinct))
        if longest == 0:
            return
        # padding on the right is stale by construction: it sits at positions that are written again
        padded = [[*sequence, *[0] * (longest - len(sequence))] for sequence in distinct]
        tokens = torch.tensor(padded, device=self.backbone.device)
        positions = torch.arange(longest, device=self.backbone.device).expand(len(distinct), -1)
        once = self.backbone.new_cache(len(distinct), longest)
        if self.backbone.padding is not None:
            once.first = (tokens == self.backbone.padding).sum(1)
        with eager(self.backbone.decoder):
            self.backbone.hidden(tokens, positions, once)
        number = {sequence: i for i, sequence in enumerate(distinct)}
        source = torch.tensor([number[sequence[:-1]] for sequence in sequences], device=self.backbone.device)
        self._cache.fill(once, source)

    @torch.no_grad()
    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Logits ``[R, T, C]`` over the output codes; see :meth:`coupled_decoding.Session.forward`."""
        if self._offset is None:
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
        scale: float | Tensor
        if callable(self.guidance_scale):
            scale = self.guidance_scale(positions - last).unsqueeze(-1)
        else:
            scale = self.guidance_scale
        return self.guide(conditional, unconditional, scale)

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """See :meth:`coupled_decoding.Session.keep`."""
        if self._offset is not None:
            which = torch.cat([which, which + len(self._cache.place.slots) // 2])
            slots = slots.repeat(2)
        self._cache.keep(which, slots)

    def adopt(self, row: int, other: TransformersSession, source: int) -> None:
        """See :meth:`coupled_decoding.Session.adopt`."""
        self.prompts[row] = other.prompts[source]
        if self.negative_prompts:
            self.negative_prompts[row] = other.negative_prompts[source]
        here, there = torch.tensor([row]), torch.tensor([source])
        token = other.last_token[there]
        if self._offset is not None and other._offset is not None:
            self._offset[row] = other._offset[source]
            token = torch.cat([token, other._negative_last[there]])
            here = torch.cat([here, here + len(self.last_token)])
            there = torch.cat([there, there + len(other.last_token)])
        token = self.backbone.adopt(other.backbone, token)
        self.last_token[row], self.last_position[row] = token[0], other.last_position[source]
        if self._offset is not None:
            self._negative_last[row] = token[1]
        self._cache.adopt(here, other._cache, there)

    def _hidden(self, tokens: Tensor, positions: Tensor, rows: Tensor | None, parents: Tensor | None) -> Tensor:
        """Hidden states ``[R, T, hidden]`` of rows of the cache, unconditional ones included."""
        return self.backbone.hidden(tokens, positions, self._cache, rows, parents=parents)

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
        """Guided logits from those of the two branches, all ``[R, T, C]``; ``scale`` broadcasts to ``[R, T, 1]``."""
        return unconditional + scale * (conditional - unconditional)

    def _with_unconditional(self, rows: Tensor) -> Tensor:
        """These rows and their unconditional twins; the same tensor for the same tensor, which spares a comparison."""
        if self._both is None or self._both[0] is not rows:
            self._both = rows, torch.cat([rows, rows + len(self.last_token)])
        return self._both[1]
