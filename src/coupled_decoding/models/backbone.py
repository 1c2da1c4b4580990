"""A decoder-only transformers model as the session sees it: tokens in, hidden states, logits of chosen codes out."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from coupled_decoding.decoding.layout import as_slice
from coupled_decoding.models.cache import PositionCache

_checked: WeakSet = WeakSet()


class Backbone:
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
        self.model = model
        self.config = model.config.get_text_config()
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.vocab_size: int = self.config.vocab_size
        self.max_positions: int | None = getattr(self.config, "max_position_embeddings", None)
        self.output_codes = output_codes
        self._head = model.get_output_embeddings()
        self._rows = _rows_of_head(self._head, output_codes)
        self._check_against_model()

    def new_cache(self, rows: int, capacity: int) -> PositionCache:
        return PositionCache(self.config.num_hidden_layers, rows, capacity, self.device)

    def hidden(self, tokens: Tensor, positions: Tensor, cache: PositionCache, rows: Tensor | None = None) -> Tensor:
        """Last hidden states ``[R, T, hidden]`` of tokens ``[R, T]`` at their positions; writes the cache."""
        mask = cache.aim(positions, rows)
        if self.config._attn_implementation == "eager":  # adds its mask instead of selecting with it
            mask = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(
                ~mask, torch.finfo(self.dtype).min
            )
        if self.max_positions is not None:  # padding past the end must not leave a table of position embeddings
            positions = positions.clamp(max=self.max_positions - 1)
        return self.trunk(tokens, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True)

    def trunk(self, tokens: Tensor, **kwargs: Any) -> Tensor:
        """The model without its output head."""
        return self.model.base_model(input_ids=tokens, **kwargs).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ``[..., C]`` of the output codes, in float32 or the model's float64."""
        weight, bias = self._rows
        logits = nn.functional.linear(hidden, weight, bias)
        return logits if logits.dtype == torch.float64 else logits.float()

    @torch.no_grad()
    def _check_against_model(self) -> None:
        """Compare three tokens with the model's own forward: catches scaled or capped logits, ALiBi and the like."""
        if self.model in _checked:
            return
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
        ours = nn.functional.linear(torch.cat(halves, 1), *_rows_of_head(self._head, None)).double()
        tolerance = 1e-3 if self.dtype in (torch.float32, torch.float64) else 0.05
        if not torch.allclose(ours, own, rtol=tolerance, atol=tolerance * (1 + float(own.abs().max()))):
            raise ValueError(
                f"{type(self.model).__name__} computes its logits in a way that this session does not reproduce "
                f"(largest difference {float((ours - own).abs().max()):.3g}): it needs a model file of its own"
            )
        _checked.add(self.model)


def _rows_of_head(head: nn.Linear, codes: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Weight ``[C, hidden]`` and bias of the wanted outputs; a view where the codes are neighbours."""
    weight, bias = head.weight, getattr(head, "bias", None)
    if codes is None:
        return weight, bias
    chosen = as_slice(codes.to(weight.device))
    return weight[chosen], None if bias is None else bias[chosen]


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
