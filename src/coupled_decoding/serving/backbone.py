"""What a session asks of a transformer: tokens in, hidden states, logits of chosen codes out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from coupled_decoding.decoding.layout import as_slice
from coupled_decoding.serving.cache import PositionCache


class Backbone:
    """A transformer over a position-indexed cache. A family says how tokens become hidden states, and these logits.

    Args:
        decoder: a transformers decoder (``...Model``), or one that :meth:`trunk` is overridden for.
        vocab_size: number of token ids that :meth:`embed` knows.
        output_codes: LongTensor ``[C]``, increasing: the ids that the columns of the logits stand for; None: all.
    """

    padding: int | None = None
    """Id that fills prompts on the left, where a family gives all of them one length: it takes positions, unseen."""

    def __init__(self, decoder: Any, vocab_size: int, output_codes: Tensor | None = None) -> None:
        self.decoder, self.vocab_size, self.output_codes = decoder, vocab_size, output_codes
        self.config = decoder.config.get_text_config()
        self.device: torch.device = decoder.device
        self.dtype: torch.dtype = decoder.dtype
        self.max_positions: int | None = getattr(self.config, "max_position_embeddings", None)
        self._costs: dict[bool, dict[int, list[float]]] = {False: {}, True: {}}
        self._compiled = False

    def costs(self, guided: bool) -> dict[int, list[float]]:
        """What forwards of this model took, see :class:`coupled_decoding.Session`: guidance makes two rows of one."""
        return self._costs[guided]

    def compile(self) -> None:
        """Let ``torch.compile`` make the decoder's forwards, in place."""
        if not self._compiled:
            # numbers of tokens, rows and slots are free from the start: each found out later would be one more
            # compilation
            self.decoder.compile(dynamic=True)
            self._compiled = True

    def eager(self) -> AbstractContextManager[object]:
        """A context in which forwards run as if nothing had been compiled: for what is read once, prompts above all,
        whose shapes would be a compilation of their own.
        """
        # setting it imports the compiler, which takes a second or two
        return torch.compiler.set_stance("force_eager") if self._compiled else nullcontext()

    def new_cache(self, rows: int, capacity: int) -> PositionCache:
        cache = PositionCache(self.config.num_hidden_layers, rows, capacity, self.device)
        if self.padding is not None:
            cache.pad(torch.zeros(rows, dtype=torch.long, device=self.device))
        return cache

    def read_conditions(self, conditions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What :meth:`trunk` is given of conditions of prompts: tensors ``[N, ...]`` for N conditions.

        Their other sizes are the same for all prompts that the model reads, so that a row can take over another
        session's.
        """
        raise ValueError("this model reads no conditions: give prompts of token ids alone")

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: PositionCache,
        rows: Tensor | None = None,
        parents: Tensor | None = None,
        conditions: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Last hidden states ``[R, T, hidden]`` of tokens ``[R, T]`` at their positions; writes the cache.

        ``parents`` are those of branches, see :meth:`coupled_decoding.serving.cache.PositionCache.aim`; ``conditions``
        what :meth:`read_conditions` made, of these R rows.
        """
        mask = cache.aim(positions, rows, parents)
        if self.max_positions is not None:  # padding past the end must not leave a table of position embeddings
            positions = positions.clamp(max=self.max_positions - 1)
        return self.trunk(tokens, positions, mask, cache, conditions)

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        """The model without its output head.

        Args:
            tokens, positions: LongTensor ``[R, T]``.
            mask: bool ``[R, 1, T, visible]``, true where a token may look.
            cache: aimed; its ``update`` stores keys and values and gives all that are visible.
            conditions: as of :meth:`read_conditions`, of these rows.

        Returns:
            ``[R, T, hidden]``.
        """
        return self.transformers_trunk(positions, mask, cache, inputs_embeds=self.embed(tokens))

    def transformers_trunk(self, positions: Tensor, mask: Tensor, cache: PositionCache, **inputs: Tensor) -> Tensor:
        """:meth:`trunk` of a decoder that is called as those of transformers are, with ``input_ids`` or embeddings."""
        if self.config._attn_implementation == "eager":  # adds its mask instead of selecting with it
            mask = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(
                ~mask, torch.finfo(self.dtype).min
            )
        return self.decoder(
            position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True, **inputs
        ).last_hidden_state

    def embed(self, tokens: Tensor) -> Tensor:
        """Input embeddings ``[R, T, hidden]`` of token ids."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ``[..., C]`` of the output codes, in float32 or the model's float64."""
        raise NotImplementedError


def rows_of_head(head: nn.Linear, codes: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Weight ``[C, hidden]`` and bias of the wanted outputs; a view where the codes are neighbours."""
    weight, bias = head.weight, getattr(head, "bias", None)
    if weight.device.type == "meta":
        raise ValueError("the output head is offloaded: keep it on a device in device_map, since only the rows of the "
                         "legal codes are computed")
    if codes is None:
        return weight, bias
    if int(codes[-1]) >= len(weight):
        raise ValueError(f"code {int(codes[-1])} is wanted, but the output head has ids 0 to {len(weight) - 1}: "
                         "tokenizer and weights are of different models")
    chosen = as_slice(codes.to(weight.device))
    return weight[chosen], None if bias is None else bias[chosen]


def as_logits(logits: Tensor) -> Tensor:
    """In float32 at least: target distributions are made in the precision of the logits."""
    return logits if logits.dtype == torch.float64 else logits.float()
