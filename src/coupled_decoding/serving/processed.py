"""A session whose logits pass through transformers' logits processors, at drafts as at committed tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.generation import logits_process as hf

from coupled_decoding.serving.backbone import Backbone
from coupled_decoding.serving.guidance import Guidance, GuidanceScale
from coupled_decoding.serving.session import TransformersSession

PASTLESS = (
    hf.TemperatureLogitsWarper, hf.TopKLogitsWarper, hf.TopPLogitsWarper, hf.TopHLogitsWarper, hf.MinPLogitsWarper,
    hf.TypicalLogitsWarper, hf.EpsilonLogitsWarper, hf.EtaLogitsWarper, hf.LogitNormalization,
    hf.InfNanRemoveLogitsProcessor, hf.SuppressTokensLogitsProcessor,
)
"""Processors that look at the scores alone: all positions of a window at once."""

REFUSED = {
    hf.UnbatchedClassifierFreeGuidanceLogitsProcessor: "runs the model on a cache of its own",
    hf.ClassifierFreeGuidanceLogitsProcessor: "expects guided rows in the batch",
    hf.DiaClassifierFreeGuidanceLogitsProcessor: "expects guided rows in the batch",
    hf.SynthIDTextWatermarkLogitsProcessor: "remembers the contexts that it has seen",
    hf.AlternatingCodebooksLogitsProcessor: "serves audio models",
    hf.WhisperTimeStampLogitsProcessor: "serves encoder-decoders",
    hf.WhisperNoSpeechDetection: "serves encoder-decoders",
    hf.DiaEOSChannelFilterLogitsProcessor: "serves audio models",
    hf.DiaEOSDelayPatternLogitsProcessor: "remembers what it has seen",
}
"""Processors of transformers that cannot be asked about a drafted past, and why."""


class ProcessedSession(TransformersSession):
    """A batch of prompts whose logits are those that ``generate`` would draw from.

    A processor is asked about every position of a window with the past that the drafts make, just as it would be asked
    had these drafts been drawn one by one. It must therefore be a function of the past tokens and the scores alone, row
    by row; what transformers ships is, but for those in ``REFUSED``.

    Args:
        backbone: the model.
        prompts: token ids of each row without padding.
        padded: LongTensor ``[B, P]``, the prompts as ``generate`` was given them: what processors see as the past.
        length: most tokens to generate.
        processors: applied in order.
        negative_prompts, guidance_scale: see :class:`TransformersSession`; as in transformers, guidance mixes
            log-probabilities (which differs from mixing logits by a constant that later processors may see).
    """

    # branches have pasts of their own, which processors are not asked about, and so have prompts of other sessions
    reads_branches = refills = False

    def __init__(
        self,
        backbone: Backbone,
        prompts: Sequence[Sequence[int]],
        padded: Tensor,
        length: int,
        processors: Sequence[Any],
        *,
        negative_prompts: Sequence[Sequence[int]] | None = None,
        guidance_scale: GuidanceScale = 1.0,
    ) -> None:
        for processor in processors:
            if (why := REFUSED.get(type(processor))) is not None:
                raise ValueError(f"{type(processor).__name__} {why}: it cannot be asked about drafts; leave it out")
        super().__init__(backbone, prompts, length, negative_prompts=negative_prompts, guidance_scale=guidance_scale)
        self.processors = list(processors)
        self._length, self._prompt = length, padded.shape[1]
        self._past = torch.cat([padded, padded.new_zeros(len(padded), length + 1)], 1)
        self._trusted: set[int] = set()
        self.rows: Tensor = torch.empty(0, dtype=torch.long)
        """LongTensor ``[R]``: the rows of the last forward."""
        self.raw: Tensor = torch.empty(0)
        """``[R, T, V]``: the last forward's logits before guidance and processors."""
        self.scores: Tensor = torch.empty(0)
        """``[R, T, V]``: what came of them."""

    def guide(
        self, conditional: Tensor, unconditional: Tensor, guidance: Guidance, index: Tensor, rows: Tensor | None
    ) -> Tensor:
        self.raw = conditional
        return super().guide(conditional.log_softmax(-1), unconditional.log_softmax(-1), guidance, index, rows)

    @torch.no_grad()
    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        """Processed scores ``[R, T, V]``; see :meth:`coupled_decoding.Session.forward`."""
        logits = super().forward(tokens, positions, rows, parents)
        if self.negative_prompts is None:
            self.raw = logits
        self.rows = which = torch.arange(len(tokens), device=tokens.device) if rows is None else rows
        index = positions - self.last_position[which].unsqueeze(1)  # generated index that each position decides
        last = self._past.shape[1] - 1  # a column for whatever lies past the end
        at = (self._prompt - 1 + index).clamp(max=last)
        self._past[which.unsqueeze(1), at] = tokens
        self.scores = logits
        for processor in self.processors:
            if isinstance(processor, PASTLESS):
                flat = self.scores.flatten(0, 1)
                self.scores = processor(self._past[:1].expand(len(flat), -1), flat).view(self.scores.shape)
            else:
                self.scores = self._by_past(processor, self.scores, tokens, which, index)
        return self.scores

    def _by_past(self, processor: Any, scores: Tensor, tokens: Tensor, which: Tensor, index: Tensor) -> Tensor:
        """Ask a processor that looks at the past, once for each length of the past.

        A draft that the processor has ruled out is about to be rejected, and nothing behind it can be committed in this
        step: positions there keep the scores they have, and the processor never sees a past that it forbids.
        """
        scores = scores.clone()
        places, possible = index.tolist(), torch.ones(len(which), dtype=torch.bool, device=which.device)
        for length in sorted({i for row in places for i in row if i < self._length}):
            here = index == length  # [R, T], at most one a row
            rows, offset = (here & possible.unsqueeze(1)).nonzero().unbind(1)
            if len(rows) == 0:
                continue
            past = self._past[which[rows], : self._prompt + length]
            processed = self._ask(_for_rows(processor, which[rows], len(self.last_token)), past, scores[rows, offset])
            scores[rows, offset] = processed
            behind = (offset + 1).clamp(max=tokens.shape[1] - 1)
            ruled_out = processed.gather(1, tokens[rows, behind].unsqueeze(1)).squeeze(1) == -torch.inf
            possible[rows] &= ~ruled_out
        return scores

    def _ask(self, processor: Any, past: Tensor, scores: Tensor) -> Tensor:
        """Apply a processor; one of an unknown kind is asked twice the first time, to see that it keeps no state."""
        processed = processor(past, scores.clone())
        if type(processor).__module__ != hf.__name__ and id(processor) not in self._trusted:
            if not torch.equal(processed, processor(past, scores.clone())):
                name = getattr(processor, "__name__", type(processor).__name__)
                raise ValueError(f"{name} gives two answers to one question: a logits processor that keeps a "
                                 "state or draws random numbers cannot be asked about drafts; leave it out")
            self._trusted.add(id(processor))
        return processed


def _for_rows(processor: Any, rows: Tensor, batch: int) -> Any:
    """The processor for some rows of a batch, where it holds something of each row."""
    if isinstance(processor, hf.PrefixConstrainedLogitsProcessor):
        allowed, numbers = processor._prefix_allowed_tokens_fn, rows.tolist()
        return hf.PrefixConstrainedLogitsProcessor(lambda row, past: allowed(numbers[row], past), 1)
    if isinstance(processor, hf.RepetitionPenaltyLogitsProcessor):
        ignored = processor.prompt_ignore_length
        if not isinstance(ignored, Tensor):
            return processor
        chosen = copy.copy(processor)
        chosen.prompt_ignore_length = ignored[rows // (batch // len(ignored))]
        return chosen
    if isinstance(processor, hf.EncoderRepetitionPenaltyLogitsProcessor):
        held = processor.encoder_input_ids
        chosen = copy.copy(processor)
        chosen.encoder_input_ids = held[rows // (batch // len(held))]
        return chosen
    if isinstance(processor, hf.EncoderNoRepeatNGramLogitsProcessor):
        chosen, copies = copy.copy(processor), batch // processor.batch_size
        chosen.generated_ngrams = [processor.generated_ngrams[row // copies] for row in rows.tolist()]
        chosen.batch_size = len(rows)
        return chosen
    return processor
