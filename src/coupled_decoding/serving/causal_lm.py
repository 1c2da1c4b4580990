"""The backbone of any decoder-only ``...ForCausalLM`` of transformers, with what cannot be served refused."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from coupled_decoding.serving.backbone import Backbone, as_logits, rows_of_head
from coupled_decoding.serving.cache import PositionCache

ROUNDING, ROUNDING_OF_HALF = 1e-3, 0.05
"""By how much two ways to compute the same logits may differ, relative to these and to the largest."""


class CausalLM(Backbone):
    """Runs a transformers causal language model over a position-indexed cache.

    Args:
        model: a decoder-only ``...ForCausalLM`` with full attention in every layer.
        output_codes: LongTensor ``[C]``, the vocabulary ids whose logits are wanted; None: all. Only their rows of the
            output head are computed.

    Raises:
        ValueError: an architecture that cannot be served; the sentence says why.
    """

    def __init__(self, model: Any, output_codes: Tensor | None = None) -> None:
        refuse_unservable(model)
        super().__init__(model.base_model, model.config.get_text_config().vocab_size, output_codes)
        self.model = model
        self._head = model.get_output_embeddings()
        self._rows = rows_of_head(self._head, output_codes)
        self._check_against_model()

    def wraps(self, model: Any) -> bool:
        """Whether this is the backbone of a model as it stands: its weights may have moved or been replaced since."""
        head = model.get_output_embeddings()
        return (self.model is model and self._head is head and self._rows[0] is head.weight
                and (self.device, self.dtype) == (self.decoder.device, self.decoder.dtype))

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        return self.transformers_trunk(positions, mask, cache, input_ids=tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        weight, bias = self._rows
        return as_logits(nn.functional.linear(hidden.to(weight.device), weight, bias))

    @torch.no_grad()
    def _check_against_model(self) -> None:
        """Compare three tokens with the model's own forward: catches scaled or capped logits, ALiBi and the like."""
        tokens = torch.arange(3, device=self.device).unsqueeze(0) % self.vocab_size
        own = self.model(input_ids=tokens, use_cache=False).logits.double()
        positions = torch.arange(3, device=self.device).unsqueeze(0)
        try:
            cache = self.new_cache(rows=1, capacity=3)
            halves = [self.hidden(tokens[:, part], positions[:, part], cache) for part in (slice(2), slice(2, 3))]
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{type(self.model).__name__} does not run with positions, mask and cache of its own for each row "
                f"({error}): it needs a model file of its own"
            ) from error
        ours = nn.functional.linear(torch.cat(halves, 1), *rows_of_head(self._head, None)).double()
        tolerance = ROUNDING if self.dtype in (torch.float32, torch.float64) else ROUNDING_OF_HALF
        if not torch.allclose(ours, own, rtol=tolerance, atol=tolerance * (1 + float(own.abs().max()))):
            raise ValueError(
                f"{type(self.model).__name__} computes its logits in a way that this session does not reproduce "
                f"(largest difference {float((ours - own).abs().max()):.3g}): it needs a model file of its own"
            )


def refuse_unservable(model: Any) -> None:
    """ValueError with a sentence for architectures whose cache or mask this package cannot drive."""
    name, config = type(model).__name__, model.config.get_text_config()
    if model.config.is_encoder_decoder:
        raise ValueError(f"{name} is an encoder-decoder: only decoder-only models can be served")
    if not isinstance(model.get_output_embeddings(), nn.Linear):
        raise ValueError(f"{name} has no linear output head: load the ...ForCausalLM class of the model")
    if getattr(model, "_is_stateful", False):
        raise ValueError(f"{name} carries a recurrent state, which cannot be rolled back")
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ValueError(f"{name} has layers of kind {', '.join(sorted(kinds - {'full_attention'}))}: "
                         "only full attention can be indexed by position")
    if getattr(config, "sliding_window", None) is not None and getattr(config, "layer_types", None) is None:
        raise ValueError(f"{name} attends within a sliding window of {config.sliding_window}: "
                         "only full attention can be indexed by position")
    if config._attn_implementation not in ("sdpa", "eager"):
        raise ValueError(f"{name} runs {config._attn_implementation!r}, which refuses a mask of its own for each row: "
                         'load it with attn_implementation="sdpa"')
