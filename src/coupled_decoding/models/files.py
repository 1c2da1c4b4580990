"""Reading checkpoints: what is missing or damaged is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging


def require_files(folder: Path, names: Sequence[str]) -> None:
    """FileNotFoundError that names what a checkpoint folder lacks."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"the checkpoint {folder} lacks {', '.join(missing)}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object, found {type(content).__name__}")
    return content


@contextmanager
def naming(path: Path) -> Iterator[dict[str, Any]]:
    """The object in a JSON file; ValueError that names the file where the block finds that it does not fit."""
    config = read_json(path)
    try:
        yield config
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not say what is needed: {type(error).__name__} {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError if it is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: it is no safetensors file ({error})") from error


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a safetensors file into a module of ours, in the module's precision; names and shapes must all fit."""
    tensors = read_tensors(path)
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise ValueError(f"{path} does not fit {type(module).__name__}: {_some(wrong)} missing, unknown or of another "
                         "shape")
    module.load_state_dict(tensors)


def load_causal_lm(folder: Path, dtype: torch.dtype) -> Any:
    """A transformers causal language model from a local folder, in evaluation mode.

    Raises ValueError where weights are damaged, missing or of the wrong shape; transformers would only warn of some.
    """
    read_json(folder / "config.json")
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report of mismatches; ours is below
    transformers_logging.disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True, attn_implementation="sdpa"
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"the weights in {folder} cannot be read: {str(error).strip().splitlines()[0]}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = [str(key) for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in report[kind]]
    if wrong:
        raise ValueError(f"the weights in {folder} do not fit its config.json: {_some(wrong)} missing, unknown or of "
                         "another shape")
    return model.eval()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
