"""From a name to a pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, overload

import torch

from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.contract import PictureModel, VideoModel
from coupled_decoding.models.registry import FAMILIES, family_of
from coupled_decoding.pipelines.pictures import PicturePipeline
from coupled_decoding.pipelines.video import VideoPipeline

SHIPPED = ("emoji", "doom")
"""Models that come with the package."""


@overload
def from_pretrained(
    name: Literal["emoji"],
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    allow_torchscript: bool = False,
    compile: bool = False,
) -> PicturePipeline: ...


@overload
def from_pretrained(
    name: Literal["doom"],
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    allow_torchscript: bool = False,
    compile: bool = False,
) -> VideoPipeline: ...


@overload
def from_pretrained(
    name: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    allow_torchscript: bool = False,
    compile: bool = False,
) -> PicturePipeline | VideoPipeline: ...


def from_pretrained(
    name: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    allow_torchscript: bool = False,
    compile: bool = False,
) -> PicturePipeline | VideoPipeline:
    """Load a model: a shipped one (``"emoji"``), a local checkpoint folder, or an id on the Hugging Face hub.

    Returns the pipeline of its family: a :class:`PicturePipeline`, or a :class:`VideoPipeline` where it makes clips. No
    other family is imported.

    Args:
        name: which model. A local folder goes before a hub id of the same name.
        dtype: precision of the transformer; float32 by default, in which a seed's promise holds. As a string too:
            ``"bfloat16"``.
        device: where it runs; the CPU by default.
        device_map: spreads a large transformer over several devices, ``"auto"`` or a mapping as in transformers; needs
            accelerate. What is small beside it stays on ``device``.
        allow_torchscript: load TorchScript files too, where a family publishes its tokenizer in this form only: they
            are programs and run with your rights, so allow only those you trust. No other code of a checkpoint is run.
        compile: let ``torch.compile`` make the transformer's forward faster. The first forwards take the time of it,
            once for windows and once for single tokens or rows; on a CPU it needs a C++ compiler. Rounding differs, as
            from one device to another.

    Raises:
        FileNotFoundError: no such model, or a checkpoint that lacks files; the sentence names them.
        ValueError: files that are damaged or of no family that is known, or a precision or device that is not.
    """
    folder, family = recognised(name)
    model = family.load(folder, Placement(_dtype(dtype), _device(device), device_map, allow_torchscript))
    if compile:
        model.backbone.compile()
    title = (folder.resolve().name or str(folder)) if os.path.isdir(name) else str(name)
    return VideoPipeline(model, title) if isinstance(model, VideoModel) else PicturePipeline(model, title)


def recognised(name: str | Path) -> tuple[Path, type[PictureModel] | type[VideoModel]]:
    """The folder and the family of a model, which is not loaded; errors as of :func:`from_pretrained`."""
    folder = _folder(str(name))
    family = family_of(folder)
    if family is None:
        known = ", ".join(family.name for family in FAMILIES)
        raise ValueError(f"{folder} is no checkpoint of a known family ({known}): `scd models` lists the files of each")
    return folder, family.model_class()


def _folder(name: str) -> Path:
    if name in SHIPPED:
        return Path(str(files("coupled_decoding") / "pretrained" / name))
    if os.path.isdir(name):
        return Path(name)
    give = f"give a shipped one ({', '.join(SHIPPED)}), a folder, or an id on the hub such as owner/name"
    if not name.strip():
        raise FileNotFoundError(f"the model is {name!r}, which names none: {give}")
    if os.path.isfile(name):
        raise FileNotFoundError(f"the model {name!r} is a file: {give}")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        there = "folder" if re.match(r"[./~\\]", name) or name.endswith("/") else "model"
        raise FileNotFoundError(f"there is no {there} {name!r}: {give}")
    from huggingface_hub import snapshot_download  # slow to import, and only needed here
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except HFValidationError as error:
        raise FileNotFoundError(f"there is no folder {name!r}, and it is no id on the hub: {give}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"no folder is named {name!r}, and the hub gave no such model: {reason}") from error


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    if dtype is None:
        return torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype is {dtype!r}: give float64, float32, bfloat16 or float16")
    return found


def _device(device: torch.device | str | None) -> torch.device:
    try:
        found = torch.device("cpu" if device is None else device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = "it holds no numbers" if "meta" in str(device) else str(error).strip().splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used: {reason}") from error
    return found
