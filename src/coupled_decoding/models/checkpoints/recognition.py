"""Which family a folder is of, by what it says of itself: files that are there, or what its ``config.json`` names.

Each function says whether a folder holds a checkpoint of one family, complete or not. They stand apart from the
families so that a folder is recognised without importing any of them, and what they need of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coupled_decoding.models.checkpoints.reading import model_type, read_json

ANOLE_META = "models/7b"
"""Of Anole as published, in Meta's layout."""
GLM_PART = "vision_language_encoder"
"""Of GLM-Image's pipeline, the autoregressive part."""
LUMINA_2_FIRST_CODE = 155000
"""Where codes of pictures begin in Lumina-mGPT 2.0; its relatives have 65536 tokens in all."""


def emoji(folder: Path) -> bool:
    return (folder / "picture_config.json").is_file()


def doom(folder: Path) -> bool:
    return (folder / "clip_config.json").is_file()


def janus(folder: Path) -> bool:
    return model_type(folder) in ("janus", "multi_modality")


def llamagen(kind: str) -> Callable[[Path], bool]:
    """The recogniser of one of its kinds, ``c2i`` or ``t2i``."""
    pattern = re.compile(rf"({kind}_\w+|vq_ds16_{kind})\.pt")
    return lambda folder: any(pattern.fullmatch(path.name) for path in folder.glob("*.pt"))


def glm_image(folder: Path) -> bool:
    index = folder / "model_index.json"
    if index.is_file() and read_json(index).get("_class_name") == "GlmImagePipeline":
        return True
    return model_type(glm_part(folder)) == "glm_image"


def glm_part(folder: Path) -> Path:
    """The folder of the autoregressive part: this one, or the one in a pipeline's folder."""
    return folder if (folder / "config.json").is_file() else folder / GLM_PART


def lumina_mgpt_2(folder: Path) -> bool:
    config = _chameleon_config(folder)
    return config is not None and config.get("vocab_size", 0) > LUMINA_2_FIRST_CODE


def lumina_mgpt(folder: Path) -> bool:
    config = _chameleon_config(folder)
    return config is not None and config.get("mask_image_logits") is False


def anole(folder: Path) -> bool:
    """Any Chameleon but Lumina-mGPT: what cannot draw is refused when it is loaded, by a sentence that says so."""
    config = _chameleon_config(folder)
    return (folder / ANOLE_META).is_dir() or (config is not None and config.get("mask_image_logits") is not False)


def emu3(folder: Path) -> bool:
    return model_type(folder) in ("emu3", "Emu3")


def cosmos(folder: Path) -> bool:
    return (folder / "model.pt").is_file()


def _chameleon_config(folder: Path) -> dict[str, Any] | None:
    """``config.json`` of a folder, in transformers' layout, of any model on this base; None for other folders."""
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    return config if config.get("model_type") == "chameleon" else None
