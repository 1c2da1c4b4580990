"""Transformers' own ``generate`` as a peer: the same weights, sampled token by token, a cache of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LogitsProcessor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import Session
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.session import TransformersSession


@dataclass(frozen=True)
class Generate:
    """``generate`` with one of its caches."""

    cache: Literal["dynamic", "static"]

    @property
    def name(self) -> str:
        return f"generate, {self.cache} cache"

    @property
    def lossless(self) -> bool:
        return True


class LegalCodes(LogitsProcessor):
    """Leaves of the logits what a layout allows at each place: its legal codes, or the one forced token."""

    def __init__(self, layout: Layout, vocab_size: int, prompt: int, device: torch.device) -> None:
        self.prompt = prompt
        sets = torch.zeros(1 if layout.legal is None else len(layout.legal), vocab_size, dtype=torch.bool)
        sets[:, layout.codes.cpu()] = True if layout.legal is None else layout.legal.cpu()
        self.illegal = ~sets.to(device)
        self.legal_set = [0] * layout.length if layout.legal_set is None else layout.legal_set.tolist()
        self.forced = layout.forced.tolist()

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        index = input_ids.shape[1] - self.prompt
        if self.forced[index] >= 0:
            only = torch.full_like(scores, -torch.inf)
            only[:, self.forced[index]] = 0
            return only
        return scores.masked_fill(self.illegal[self.legal_set[index]], -torch.inf)


def check_generates(session: Session) -> None:
    """ValueError where transformers' ``generate`` cannot draw from a session's distribution."""
    if not isinstance(session, TransformersSession) or not isinstance(session.backbone, CausalLM):
        raise ValueError("this model is no causal language model of transformers as it stands: it has no generate")
    if any(callable(scale) or scale != session.guidance_scales[0] for scale in session.guidance_scales):
        raise ValueError("this model's guidance changes on the way, which transformers' generate does not know")


def generation(
    session: TransformersSession, layout: Layout, cache: str, sampling: Sampling, seed: int
) -> Callable[[], Tensor]:
    """A call of ``generate`` that is ready to be timed: it draws LongTensor ``[B, length]``.

    It has the session's prompts, guidance, legal codes and sampling, so the same distribution; its random numbers are
    torch's. Its own defaults, such as ``top_k=50``, are off.
    """
    check_generates(session)
    model = session.backbone.model  # type: ignore[attr-defined]
    ids, mask = _left_padded([prompt.ids for prompt in session.prompts if prompt], session.backbone.device)
    legal = LegalCodes(layout, model.config.get_text_config().vocab_size, ids.shape[1], ids.device)
    greedy = sampling.temperature == 0
    drawing = {"do_sample": False} if greedy else {
        "do_sample": True, "temperature": float(sampling.temperature), "top_k": sampling.top_k or 0,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
    }
    guiding = {}
    if session.negative_prompts:
        unguided = [prompt.ids for prompt in session.negative_prompts if prompt]
        negative, negative_mask = _left_padded(unguided, session.backbone.device)
        guiding = {"guidance_scale": float(session.guidance_scales[0]), "negative_prompt_ids": negative,  # type: ignore[arg-type]
                   "negative_prompt_attention_mask": negative_mask}

    def draw() -> Tensor:
        torch.manual_seed(seed)
        tokens = model.generate(
            ids, attention_mask=mask, min_new_tokens=layout.length, max_new_tokens=layout.length, pad_token_id=0,
            logits_processor=[legal], cache_implementation=None if cache == "dynamic" else cache, disable_compile=True,
            **drawing, **guiding,
        )
        return tokens[:, ids.shape[1] :]

    return draw


def _left_padded(prompts: list[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of prompts, both LongTensor ``[B, longest]``."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(one)) + list(one) for one in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=device)
    return ids, mask
