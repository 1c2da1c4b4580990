"""Models for commands: one of another kind is refused before it is loaded, which may be gigabytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coupled_decoding.apps.errors import BadInput, refusing

if TYPE_CHECKING:
    from coupled_decoding.pipelines.pictures import PicturePipeline
    from coupled_decoding.pipelines.video import VideoPipeline


@dataclass(frozen=True)
class Where:
    """Which model computes, and how."""

    model: str
    dtype: str | None
    device: str | None
    compiled: bool = False
    allow_torchscript: bool = False

    @property
    def folder(self) -> Path | None:
        """Of a model that is on this machine under a path of the user's."""
        return Path(self.model) if self.model and os.path.isdir(self.model) else None


def load_pictures(where: Where, size: tuple[int, int] | None) -> PicturePipeline:
    """A model that draws pictures of prompts, and of this size if one is asked for."""
    model = where.model
    from coupled_decoding.models.contract import VideoModel
    from coupled_decoding.pipelines.load import recognised

    with refusing(ValueError, OSError):
        folder, family = recognised(model)
        if issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a video model ({family.card.name}), and this command draws pictures: use "
                           f"scd video CONTEXT --model {model}, which continues a clip")
        if family.tokens_only:
            raise BadInput(f"{model!r} gives no pictures here, {family.tokens_only}")
        if size is not None:
            family.check_size(folder, size)
    pipe: PicturePipeline = _load(where)
    with refusing(ValueError):
        pipe.model.layout_of(size or pipe.model.size)
    return pipe


def load_video(where: Where) -> VideoPipeline:
    """A model that continues clips."""
    model = where.model
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
        if not issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a picture model ({family.card.name}), and this command continues clips: use "
                           f"scd generate PROMPT --model {model}")
        if family.frames_by_torchscript and not where.allow_torchscript:
            raise BadInput(f"{model!r} reads and makes frames by TorchScript files, which are programs and run with "
                           "your rights: give --allow-torchscript if you trust them")
    pipe: VideoPipeline = _load(where)
    return pipe


def load_any(where: Where) -> PicturePipeline | VideoPipeline:
    """A model of either kind, also one whose tokens are no pictures by themselves."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(where.model)
    if issubclass(family, VideoModel):
        return load_video(where)
    pipe: PicturePipeline = _load(where)
    return pipe


def _family(model: str) -> Any:
    from coupled_decoding.pipelines.load import recognised

    return recognised(model)[1]


def _load(where: Where) -> Any:
    import coupled_decoding as cd

    place = {"device_map": "auto"} if where.device == "auto" else {"device": where.device}
    with refusing(ValueError, OSError, ModuleNotFoundError):
        return cd.from_pretrained(where.model, dtype=where.dtype, allow_torchscript=where.allow_torchscript,
                                  compile=where.compiled, **place)
