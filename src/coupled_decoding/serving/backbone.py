"""What a session asks of a transformer: tokens in, hidden states, logits of chosen codes out."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from coupled_decoding.decoding.layout import as_slice
from coupled_decoding.serving.cache import PositionCache

_COSTS: WeakKeyDictionary[nn.Module, dict[bool, dict[int, list[float]]]] = WeakKeyDictionary()
"""By model, of which some families make a backbone for each batch, and by guidance, which makes two rows of one."""


class Backbone:
    """A transformer over a position-indexed cache. A family says how tokens become hidden states, and these logits.

    Args:
        decoder: a transformers decoder (``...Model``): called with ``inputs_embeds``, ``position_ids``, a 4-D
            ``attention_mask`` and ``past_key_values``. A family with another calling convention overrides
            :meth:`trunk`.
        vocab_size: number of token ids that :meth:`embed` knows.
        output_codes: LongTensor ``[C]``, increasing: the ids that the columns of the logits stand for; None: all.
    """

    padding: int | None = None
    """Id that fills prompts on the left, where a family gives all of them one length: it takes places, unseen."""

    def __init__(self, decoder: Any, vocab_size: int, output_codes: Tensor | None = None) -> None:
        self.decoder, self.vocab_size, self.output_codes = decoder, vocab_size, output_codes
        self.config = decoder.config.get_text_config()
        self.device: torch.device = decoder.device
        self.dtype: torch.dtype = decoder.dtype
        self.max_positions: int | None = getattr(self.config, "max_position_embeddings", None)

    def costs(self, guided: bool) -> dict[int, list[float]]:
        """What forwards of this model took; see :class:`coupled_decoding.Session`."""
        return _COSTS.setdefault(self.decoder, {}).setdefault(guided, {})

    def new_cache(self, rows: int, capacity: int) -> PositionCache:
        return PositionCache(self.config.num_hidden_layers, rows, capacity, self.device)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: PositionCache,
        rows: Tensor | None = None,
        places: Tensor | None = None,
        parents: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states ``[R, T, hidden]`` of tokens ``[R, T]`` at their positions; writes the cache.

        ``places`` is what the decoder takes as ``position_ids`` where tokens have places in a picture: LongTensor
        ``[3, R, T]``, time, row and column; None: the positions. ``parents`` are those of branches, see
        :meth:`coupled_decoding.serving.cache.PositionCache.aim`.
        """
        mask = cache.aim(positions, rows, parents)
        if self.config._attn_implementation == "eager":  # adds its mask instead of selecting with it
            mask = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(
                ~mask, torch.finfo(self.dtype).min
            )
        places = positions if places is None else places
        if self.max_positions is not None:  # padding past the end must not leave a table of position embeddings
            places = places.clamp(max=self.max_positions - 1)
        return self.trunk(tokens, position_ids=places, attention_mask=mask, past_key_values=cache, use_cache=True)

    def trunk(self, tokens: Tensor, **kwargs: Any) -> Tensor:
        """The model without its output head: LongTensor ``[R, T]`` to ``[R, T, hidden]``."""
        return self.decoder(inputs_embeds=self.embed(tokens), **kwargs).last_hidden_state

    def embed(self, tokens: Tensor) -> Tensor:
        """Input embeddings ``[R, T, hidden]`` of token ids."""
        raise NotImplementedError

    def adopt(self, other: Backbone, tokens: Tensor) -> Tensor:
        """The ids ``[n]`` that tokens of another backbone of the same model have here; the same, unless a family's ids
        are made for a batch of prompts.
        """
        return tokens

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
