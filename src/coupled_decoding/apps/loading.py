"""Models for commands: one of another kind is refused before it is loaded, which may be gigabytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coupled_decoding.apps.errors import BadInput, refusing
from coupled_decoding.apps.options import DtypeName

if TYPE_CHECKING:
    from coupled_decoding.pipelines.pictures import PicturePipeline
    from coupled_decoding.pipelines.video import VideoPipeline


def load_pictures(model: str, dtype: DtypeName | None, device: str | None, compiled: bool) -> PicturePipeline:
    """A model that draws pictures of prompts."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
        if issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a video model ({family.card.name}), and this command draws pictures: use "
                           f"scd video CONTEXT --model {model}, which goes on with a clip")
        if family.tokens_only:
            raise BadInput(f"{model!r} gives no pictures here, {family.tokens_only}")
    return _load(model, dtype, device, compile=compiled)


def load_video(
    model: str, dtype: DtypeName | None, device: str | None, compiled: bool, allow_torchscript: bool
) -> VideoPipeline:
    """A model that goes on with clips."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
        if not issubclass(family, VideoModel):
            raise BadInput(f"{model!r} is a picture model ({family.card.name}), and this command goes on with clips: "
                           f"use scd generate PROMPT --model {model}")
        if family.frames_by_torchscript and not allow_torchscript:
            raise BadInput(f"{model!r} reads and makes frames by TorchScript files, which are programs and run with "
                           "your rights: give --allow-torchscript if you trust them")
    return _load(model, dtype, device, compile=compiled, allow_torchscript=allow_torchscript)


def load_any(
    model: str, dtype: DtypeName | None, device: str | None, allow_torchscript: bool
) -> PicturePipeline | VideoPipeline:
    """A model of either kind, also one whose tokens are no pictures by themselves."""
    from coupled_decoding.models.contract import VideoModel

    with refusing(ValueError, OSError):
        family = _family(model)
    if issubclass(family, VideoModel):
        return load_video(model, dtype, device, False, allow_torchscript)
    return _load(model, dtype, device)


def _family(model: str) -> Any:
    from coupled_decoding.pipelines.load import recognised

    return recognised(model)[1]


def _load(model: str, dtype: DtypeName | None, device: str | None, **more: Any) -> Any:
    import coupled_decoding as cd

    where = {"device_map": "auto"} if device == "auto" else {"device": device}
    with refusing(ValueError, OSError, ModuleNotFoundError):
        return cd.from_pretrained(model, dtype=dtype.value if dtype else None, **where, **more)
