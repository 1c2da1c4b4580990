"""The drop-in for transformers: ``model.generate(..., custom_generate=cd.generate_with(cd.SCD(window=64)))``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.generation import (
    GenerateDecoderOnlyOutput,
    GenerationConfig,
    LogitsProcessorList,
    MaxLengthCriteria,
    StoppingCriteriaList,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)

from coupled_decoding.decoding.arguments import MAX_SEED
from coupled_decoding.decoding.loop import decode
from coupled_decoding.decoding.methods import SCD, Method
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.serving.causal_lm import CausalLM
from coupled_decoding.serving.processed import ProcessedSession

HANDLED = {
    "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep", "cache_position",
    "output_attentions", "output_hidden_states", "return_dict",
}
"""Keyword arguments of the model that are understood; a value for any other is refused."""


@dataclass
class CoupledGenerateOutput(GenerateDecoderOnlyOutput):
    """What transformers returns for decoder-only models, and what happened on the way.

    Entries of ``scores`` and ``logits`` past a row's end are zero; ``attentions``, ``hidden_states`` and
    ``past_key_values`` are None.
    """

    trace: Trace | None = None
    seeds: tuple[int, ...] | None = None


def generate_with(
    method: Method | None = None,
    *,
    seed: int | Sequence[int] | None = None,
    streamer: Any = None,
    on_step: Callable[[Step], bool | None] | None = None,
) -> Callable[..., Tensor | CoupledGenerateOutput]:
    """A decoding method as transformers' ``custom_generate``, for any decoder-only model.

    ``model.generate(**inputs, do_sample=True, custom_generate=cd.generate_with(cd.SCD(window=64)))`` draws from the
    same distribution as without it, in fewer forwards; with ``do_sample=False`` it gives the same greedy tokens. Logits
    processors and stopping criteria, ``eos_token_id``, ``num_return_sequences``, left-padded batches, guidance with
    negative prompts, and ``return_dict_in_generate`` with ``output_scores`` and ``output_logits`` work as they do in
    transformers. Each row stops on its own; criteria are asked with one row at a time.

    Args:
        method: ``SCD()`` by default.
        seed: an int gives row i the seed ``seed + i``, a sequence gives each row its own; None draws them from torch's
            generator, so ``transformers.set_seed`` makes a run repeatable.
        streamer: gets the tokens of a batch of one as they are committed. It has to be given here: transformers does
            not hand its own ``streamer`` argument on to a callable.
        on_step: progress; returning False stops, and what is committed is returned.

    Raises:
        ValueError: at ``generate``, for what cannot be served: beams, encoder-decoders, inputs other than token ids,
            a filled cache, attentions or hidden states as output, processors that keep a state. At once for a method
            with branches: these have pasts of their own, which processors are not asked about.
    """
    method = method or SCD()
    if method.rules().grow is not None:
        raise ValueError(f"{method.name} reads branches, which logits processors are not asked about: give a method "
                         "without")

    backbone: CausalLM | None = None  # of the last model, so that its checks and measurements are made once

    def run(
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> Tensor | CoupledGenerateOutput:
        nonlocal backbone
        _refuse(model, input_ids, generation_config, model_kwargs)
        if backbone is None or not backbone.wraps(model):
            backbone = CausalLM(model)
        if streamer is not None and len(input_ids) > 1:
            raise ValueError(f"a streamer for a batch of {len(input_ids)}: it shows one text; generate one at a time")
        mask = model_kwargs.get("attention_mask")
        prompts = _unpadded(input_ids, mask, model_kwargs.get("position_ids"))
        length = generation_config.max_length - input_ids.shape[1]
        processors, negative, scale = _guidance(logits_processor, prompts)
        session = ProcessedSession(
            backbone, prompts, input_ids, length, processors, negative_prompts=negative, guidance_scale=scale
        )
        ends = Ends(input_ids, stopping_criteria, session, generation_config, streamer)
        seeds = torch.randint(MAX_SEED, (len(input_ids),)).tolist() if seed is None else seed
        decoded = decode(
            session, length, method=method, sampling=Sampling(temperature=1.0 if generation_config.do_sample else 0.0),
            seed=seeds, stop=ends, on_step=on_step,
        )
        if streamer is not None:
            streamer.end()
        tokens = decoded.tokens[:, : int((decoded.tokens >= 0).sum(1).max())]
        sequences = torch.cat([input_ids, torch.where(tokens < 0, ends.pad_token, tokens)], 1)
        if not generation_config.return_dict_in_generate:
            return sequences
        return CoupledGenerateOutput(
            sequences=sequences,
            scores=ends.stacked(ends.scores, tokens) if generation_config.output_scores else None,
            logits=ends.stacked(ends.logits, tokens) if generation_config.output_logits else None,
            trace=decoded.trace,
            seeds=tuple(decoded.seeds),
        )

    return run


class Ends:
    """Asks the stopping criteria about each committed token in turn, feeds the streamer, and keeps scores."""

    def __init__(
        self,
        prompts: Tensor,
        criteria: StoppingCriteriaList,
        session: ProcessedSession,
        config: GenerationConfig,
        streamer: Any,
    ) -> None:
        self.prompts, self.session, self.streamer = prompts, session, streamer
        self.criteria = StoppingCriteriaList(c for c in criteria if not isinstance(c, MaxLengthCriteria))
        self.keep_scores = bool(config.return_dict_in_generate and config.output_scores)
        self.keep_logits = bool(config.return_dict_in_generate and config.output_logits)
        pad = config._pad_token_tensor
        if pad is None and self.criteria and len(prompts) > 1:
            raise ValueError("rows of the batch may end at different lengths: set pad_token_id to fill the rest with")
        self.pad_token = 0 if pad is None else int(pad)
        self.scores: list[list[Tensor]] = [[] for _ in prompts]
        self.logits: list[list[Tensor]] = [[] for _ in prompts]
        self._seen = [0] * len(prompts)
        if streamer is not None:
            streamer.put(prompts.cpu())

    def __call__(self, row: int, tokens: Tensor) -> int | None:
        """How many of a row's committed tokens stay if it ends now, None if it continues; see ``decode``."""
        first, self._seen[row] = self._seen[row], len(tokens)
        place = int((self.session.rows == row).nonzero())
        sequence = torch.cat([self.prompts[row], tokens.to(self.prompts.device)]).unsqueeze(0)
        for end in range(first + 1, len(tokens) + 1):
            if self.keep_scores:
                self.scores[row].append(self.session.scores[place, end - 1 - first].clone())
            if self.keep_logits:
                self.logits[row].append(self.session.raw[place, end - 1 - first].clone())
            if self.streamer is not None:
                self.streamer.put(tokens[end - 1 : end])
            past = sequence[:, : self.prompts.shape[1] + end]
            scores = tuple(kept.unsqueeze(0) for kept in self.scores[row]) if self.keep_scores else None
            if bool(torch.as_tensor(self.criteria(past, scores)).any()):
                return end
        return None

    @staticmethod
    def stacked(kept: list[list[Tensor]], tokens: Tensor) -> tuple[Tensor, ...]:
        """One ``[B, V]`` for each generated token, zero past a row's end."""
        nothing = torch.zeros_like(kept[0][0])
        return tuple(torch.stack([row[i] if i < len(row) else nothing for row in kept]) for i in range(tokens.shape[1]))


def _refuse(model: Any, input_ids: Tensor, config: GenerationConfig, model_kwargs: dict[str, Any]) -> None:
    """ValueError for what this decoder does not do; the sentence says which."""
    if model.config.is_encoder_decoder:
        raise ValueError(f"{type(model).__name__} is an encoder-decoder: only decoder-only models can be served")
    if config.num_beams > 1:
        raise ValueError(f"num_beams is {config.num_beams}: beams are not sampled; use num_return_sequences")
    if config.output_attentions or config.output_hidden_states:
        raise ValueError("output_attentions and output_hidden_states: a window's are not those of single tokens; "
                         "leave them out")
    unknown = sorted(key for key, value in model_kwargs.items() if value is not None and key not in HANDLED)
    if unknown or input_ids.shape[1] == 0:
        raise ValueError(f"{', '.join(unknown) or 'no input_ids'}: only prompts of token ids can be read")
    cache = model_kwargs.get("past_key_values")
    if cache is not None and cache.get_seq_length() > 0:
        raise ValueError("past_key_values already holds tokens: give the whole prompt as input_ids without it")


def _unpadded(input_ids: Tensor, mask: Tensor | None, position_ids: Tensor | None) -> list[list[int]]:
    """Token ids of each row without the padding on its left."""
    mask = torch.ones_like(input_ids) if mask is None else mask
    if mask.shape != input_ids.shape or (mask.diff(dim=1) < 0).any() or not mask[:, -1].all():
        raise ValueError(f"attention_mask of shape {tuple(mask.shape)}: give zeros at the left end of a row only, one "
                         f"for each padding token of input_ids {tuple(input_ids.shape)}")
    counted = mask.cumsum(1) - 1
    if position_ids is not None and (position_ids != counted)[mask.bool()].any():
        raise ValueError("position_ids of your own: positions are counted from the first token of each prompt; leave "
                         "them out")
    return [row[keep.bool()].tolist() for row, keep in zip(input_ids, mask, strict=True)]


def _guidance(
    processors: LogitsProcessorList, prompts: list[list[int]]
) -> tuple[list[Any], list[list[int]] | None, float]:
    """Transformers' guidance processor as rows of our own: the other processors, negative prompts and scale."""
    guiding = [p for p in processors if isinstance(p, UnbatchedClassifierFreeGuidanceLogitsProcessor)]
    if not guiding:
        return list(processors), None, 1.0
    if len(guiding) > 1 or processors[0] is not guiding[0]:
        raise ValueError("guidance after other logits processors: only guidance on the model's own logits is served")
    context = guiding[0].unconditional_context
    ids, mask = context["input_ids"], context["attention_mask"]
    if ids is None:
        negative = [prompt[-1:] for prompt in prompts]
    else:
        given = _unpadded(ids, mask, None)
        if len(prompts) % len(given):
            raise ValueError(f"{len(given)} negative prompts for {len(prompts)} rows: give one for each prompt")
        negative = [given[row * len(given) // len(prompts)] for row in range(len(prompts))]
    return list(processors[1:]), negative, float(guiding[0].guidance_scale)
