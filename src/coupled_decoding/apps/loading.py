"""Models for commands: one of another kind is refused before it is loaded, which may be gigabytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coupled_decoding.apps.errors import BadInput, refusing

if TYPE_CHECKING:
    from coupled_decoding.pipelines.pictures import PicturePipeline
    from coupled_decoding.pipelines.video import VideoPipeline


def load_pictures(
    model: str, dtype: str | None, device: str | None, compiled: bool, size: tuple[int, int] | None
) -> PicturePipeline:
    """A model that draws pictures of prompts, and of this size if one is asked for."""
    from coupled_decoding.models.contract import VideoModel
    from coupled_decoding.pipelines.load import recognised

    with refusing(ValueError, OSError):
        folder, family = recognised(model)
        if issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a video model ({family.card.name}), and this command draws pictures: use "
                           f"scd video CONTEXT --model {model}, which continues a clip")
        if family.card.tokens_only:
            raise BadInput(f"{model!r} gives no pictures here, {family.card.tokens_only}")
        if size is not None:
            family.check_size(folder, size)
    pipe: PicturePipeline = _load(model, dtype, device, compile=compiled)
    with refusing(ValueError):
        pipe.model.layout_of(size or pipe.model.size)
    return pipe


def load_video(
    model: str, dtype: str | None, device: str | None, compiled: bool, allow_torchscript: bool
) -> VideoPipeline:
    """A model that continues clips."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
        if not issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a picture model ({family.card.name}), and this command continues clips: use "
                           f"scd generate PROMPT --model {model}")
        if family.frames_by_torchscript and not allow_torchscript:
            raise BadInput(f"{model!r} reads and makes frames by TorchScript files, which are programs and run with "
                           "your rights: give --allow-torchscript if you trust them")
    pipe: VideoPipeline = _load(model, dtype, device, compile=compiled, allow_torchscript=allow_torchscript)
    return pipe


def load_any(
    model: str, dtype: str | None, device: str | None, allow_torchscript: bool
) -> PicturePipeline | VideoPipeline:
    """A model of either kind, also one whose tokens are no pictures by themselves."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
    if issubclass(family, VideoModel):
        return load_video(model, dtype, device, False, allow_torchscript)
    pipe: PicturePipeline = _load(model, dtype, device)
    return pipe


def local(model: str) -> Path | None:
    """The folder of a model that is on this machine under a path of the user's."""
    return Path(model) if model and os.path.isdir(model) else None


def _family(model: str) -> Any:
    from coupled_decoding.pipelines.load import recognised

    return recognised(model)[1]


def _load(model: str, dtype: str | None, device: str | None, **more: Any) -> Any:
    import coupled_decoding as cd

    where = {"device_map": "auto"} if device == "auto" else {"device": device}
    with refusing(ValueError, OSError, ModuleNotFoundError):
        return cd.from_pretrained(model, dtype=dtype, **where, **more)
