"""What is drawn: pictures of prompts, or clips that continue contexts."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor

from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.trace import Trace
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.transformers_generate import Generate, check_generates, generation
from coupled_decoding.pipelines.pictures import PicturePipeline
from coupled_decoding.pipelines.video import VideoPipeline
from coupled_decoding.serving.session import TransformersSession

Draw = Callable[..., Trace | None]
"""Draws when it is called, told of each step by ``on_step=``; None from what keeps no trace."""

FEW_STEPS = 3
"""After which a warm-up stops."""


class Work(ABC):
    """A number of items, each of which can be drawn in any case.

    Item i has seed ``seed + i`` in every case and every repetition, so that what is drawn again is the same.
    """

    drawn: str
    """One item in a word."""
    length: int
    """Tokens of one item that are drawn: the forwards that AR takes."""
    layout: Layout
    """The layout of these tokens."""
    pipe: PicturePipeline | VideoPipeline

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are."""

    @abstractmethod
    def named(self, items: Sequence[int]) -> list[Any]:
        """What results of these items depend on besides the model, the case and its versions; for JSON."""

    def described(self, items: Sequence[int]) -> dict[str, Any]:
        """For names of kept results: how many items these are, and twelve digits of what :meth:`named` says."""
        return {f"{self.drawn}s": len(items), "items": fingerprint.of_text(json.dumps(self.named(items)))}

    def ready(self, case: Case, items: Sequence[int]) -> Draw:
        """Items to be drawn together in a case, with all done that is not to be timed.

        What is timed ends in pixels. ValueError where the model cannot do what the case asks for.
        """
        if case.compiled:
            self.pipe.model.backbone.compile()
            return self._ready(case, items)
        return partial(self._eagerly, self._eagerly(partial(self._ready, case, items)))

    def _eagerly(self, run: Callable[..., Any], **listening: Any) -> Any:
        with self.pipe.model.backbone.eager():
            return run(**listening)

    @abstractmethod
    def _ready(self, case: Case, items: Sequence[int]) -> Draw:
        """Like :meth:`ready`, whether or not forwards are compiled."""

    def warm_up(self, case: Case) -> None:
        """Let a case do what happens only once, such as compiling."""
        few = self.ready(case, range(min(case.batch, len(self))))
        if isinstance(case.decoder, Generate) or case.compiled:  # what is compiled shows at the end, as windows shrink
            few()
        else:
            few(on_step=lambda step: step.number < FEW_STEPS)


class PictureWork(Work):
    """Pictures of prompts; what is timed begins with the prompt."""

    drawn = "picture"
    pipe: PicturePipeline

    def __init__(self, pipe: PicturePipeline, prompts: Sequence[str], seed: int = 0) -> None:
        self.pipe, self.prompts, self.seed = pipe, prompts, seed
        self.layout = pipe.layout
        self.length = self.layout.length

    def __len__(self) -> int:
        return len(self.prompts)

    def named(self, items: Sequence[int]) -> list[Any]:
        return [[self.prompts[i], self.seed + i] for i in items]

    def _ready(self, case: Case, items: Sequence[int]) -> Draw:
        prompts, seeds = [self.prompts[i] for i in items], [self.seed + i for i in items]
        if isinstance(case.decoder, Generate):
            return self._generation(case, case.decoder, prompts, seeds[0])
        draw = partial(self.pipe, prompts, method=case.decoder, sampling=case.sampling, guidance_scale=case.guidance,
                       seed=seeds)
        return lambda on_step=None: draw(on_step=on_step).trace

    def check_generates(self) -> None:
        """ValueError where the model has no ``generate``."""
        check_generates(self._session(self.prompts[:1], 1.0))

    def _session(self, prompts: Sequence[str], guidance: float) -> Any:
        return self.pipe.model.session(prompts, guidance, self.pipe.model.size)

    def _generation(self, case: Case, decoder: Generate, prompts: list[str], seed: int) -> Draw:
        model = self.pipe.model
        session: TransformersSession = self._session(prompts, 1.0 if case.guidance is None else case.guidance)
        draw = generation(session, self.layout, decoder.cache, case.sampling, seed)

        def drawn() -> None:
            model.decode(draw(), model.size)

        return drawn


class ClipWork(Work):
    """Clips that continue first frames; what is timed begins with these frames, and encodes them."""

    drawn = "clip"
    pipe: VideoPipeline

    def __init__(
        self, pipe: VideoPipeline, contexts: Sequence[Sequence[Image.Image]], num_frames: int, seed: int = 0
    ) -> None:
        self.pipe, self.contexts, self.num_frames, self.seed = pipe, contexts, num_frames, seed
        context = len(contexts[0])
        self.layout = pipe.model.layout_of(context, num_frames)
        self.length = pipe.model.length_of(num_frames) - pipe.model.length_of(context)

    def __len__(self) -> int:
        return len(self.contexts)

    def named(self, items: Sequence[int]) -> list[Any]:
        return [[fingerprint.of_frames(self.contexts[i]), self.num_frames, self.seed + i] for i in items]

    def _ready(self, case: Case, items: Sequence[int]) -> Draw:
        if isinstance(case.decoder, Generate) or case.guidance is not None:
            raise ValueError("clips are drawn without transformers' generate, and without guidance")
        draw = partial(self.pipe, [self.contexts[i] for i in items], num_frames=self.num_frames, method=case.decoder,
                       sampling=case.sampling, seed=[self.seed + i for i in items])
        return lambda on_step=None: draw(on_step=on_step).trace


def batches(work: Work, case: Case) -> list[range]:
    """The items of each batch of a case; the last may be smaller."""
    return [range(first, min(first + case.batch, len(work))) for first in range(0, len(work), case.batch)]


def places(layout: Layout) -> Tensor | None:
    """Generated indices of the codes by frame, row and column, LongTensor ``[F, H, W]``; None where it is no grid."""
    codes = (layout.forced < 0).nonzero().flatten()
    if layout.places is None:
        return None
    shape = (layout.places.amax(0) + 1).tolist()
    return codes.view(shape) if len(codes) == shape[0] * shape[1] * shape[2] else None
