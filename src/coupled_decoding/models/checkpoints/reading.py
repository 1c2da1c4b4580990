"""Reading checkpoints: what is missing or damaged is said in one sentence."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from coupled_decoding.extras import require_extra
from coupled_decoding.models.checkpoints.placement import Placement

Built = TypeVar("Built", bound=torch.nn.Module)


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


def model_type(folder: Path) -> str | None:
    """What a folder's ``config.json`` says that it holds; None where there is none or it does not say."""
    config = folder / "config.json"
    return read_json(config).get("model_type") if config.is_file() else None


@contextmanager
def naming(path: Path) -> Iterator[dict[str, Any]]:
    """The object in a JSON file; ValueError that names the file where the block finds that it does not fit."""
    config = read_json(path)
    try:
        yield config
    except (KeyError, TypeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"{path} does not say what is needed: {type(error).__name__} {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file: safetensors, or PyTorch's own (``.pt``, ``.pth``, ``.bin``, ``.ckpt``).

    PyTorch's files are mapped, not read, and only tensors and plain containers are unpickled: a file that would run
    code is refused. Wrapped state dicts (under ``state_dict``, ``model`` or ``module``) are unwrapped. ValueError if a
    file is damaged, or holds something else.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: it is no safetensors file ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than weights, and would run code of its own: it is not loaded") from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged: it is no PyTorch weights file ({_first_line(error)})") from error
    for key in ("state_dict", "model", "module"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds {type(content).__name__}: expected a dictionary of tensors")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def load_weights(
    module: torch.nn.Module,
    path: Path,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Load a weights file into a module of ours; names and shapes must all fit.

    Args:
        module: its parameters may be on the ``meta`` device; each takes the file's tensor, converted one at a time, so
            that there is never a second copy of all weights.
        path: the file; named in errors.
        tensors: its tensors under the module's names, where those differ from the file's; None: as the file has them.
        dtype: precision of floating-point weights; None: the module's own.

    Raises:
        ValueError: a damaged file, or names or shapes that do not fit.
    """
    tensors = read_tensors(path) if tensors is None else tensors
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise ValueError(f"{path} does not fit {type(module).__name__}: {some(wrong)} missing, unknown or of another "
                         "shape")
    for name, slot in own.items():
        wanted = slot.dtype if dtype is None or not slot.is_floating_point() else dtype
        module.load_state_dict({name: tensors[name].to(wanted)}, strict=False, assign=True)
    module.requires_grad_(False)


def build(
    cls: Callable[[Mapping[str, Tensor]], Built], tensors: Mapping[str, Tensor], path: Path, what: str,
    dtype: torch.dtype, device: torch.device,
) -> Built:
    """A network of ours whose sizes are read off its weights, in evaluation mode.

    Args:
        cls: makes the network of its weights; KeyError where one is missing, ValueError where sizes do not fit.
        tensors: the weights, under the network's names.
        path: where they come from, for errors.
        what: the network's name, for errors.
        dtype, device: of the network.

    Raises:
        ValueError: names or shapes that do not fit.
    """
    try:
        with torch.device("meta"):
            network = cls(tensors)
    except KeyError as error:
        raise ValueError(f"{path} holds no {what}: {error} is missing") from error
    except ValueError as error:
        raise ValueError(f"{path} does not fit {what}: {error}") from error
    load_weights(network, path, tensors=tensors, dtype=dtype)
    network.to(device).eval()
    return network


def read_folder(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint folder in transformers' file layout, sharded or not; mapped, not read.

    FileNotFoundError names what is missing, ValueError what is damaged.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return {key: tensor for shard in _shards(index) for key, tensor in read_tensors(shard).items()}
        if (folder / name).is_file():
            return read_tensors(folder / name)
    raise FileNotFoundError(f"the checkpoint {folder} lacks its weights: model.safetensors or pytorch_model.bin, or "
                            "their shards with an index")


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_pretrained(
    kind: Any, folder: Path, placement: Placement, *, config: Any = None, tensors: dict[str, Tensor] | None = None
) -> Any:
    """A transformers model of class ``kind`` from a local folder, sharded or not, in evaluation mode.

    Without ``config`` and ``tensors`` the folder's own are read; with them, the model is made of these, and the folder
    is only named in errors. Raises ValueError where weights are damaged, missing or of the wrong shape; transformers
    would only warn of some.
    """
    options: dict[str, Any] = {
        "attn_implementation": "sdpa", "dtype": placement.dtype,
        "ignore_mismatched_sizes": True,  # they are in the report, by name; its own error names none
    }
    if tensors is None:
        read_json(folder / "config.json")
        _require_shards(folder)
    else:
        options |= {"config": config, "state_dict": tensors}
    if placement.device_map is not None:
        require_extra("accelerate", "large", "device_map")
        options["device_map"] = placement.device_map
    from transformers.utils import logging as transformers_logging  # slow to import; recognising a folder needs none

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report of mismatches; ours is below
    transformers_logging.disable_progress_bar()
    try:
        source = folder if tensors is None else None
        model, report = kind.from_pretrained(source, local_files_only=True, output_loading_info=True, **options)
    except pickle.UnpicklingError as error:
        raise ValueError(f"the weights in {folder} hold more than weights, and would run code of their own: they are "
                         "not loaded") from error
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"the weights in {folder} cannot be read: {_first_line(error)}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = [key if isinstance(key, str) else str(key[0])
             for what in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in report[what]]
    if wrong:
        raise ValueError(f"the weights in {folder} do not fit its config.json: {some(wrong)} missing, unknown or of "
                         "another shape")
    return model.eval() if placement.device_map is not None else model.eval().to(placement.device)


def _shards(index: Path) -> list[Path]:
    """The files that an index lists. FileNotFoundError names those that are missing."""
    with naming(index) as content:
        names = sorted(set(content["weight_map"].values()))
    require_files(index.parent, names)
    return [index.parent / name for name in names]


def _require_shards(folder: Path) -> None:
    """FileNotFoundError that names the shards an index lists and the folder lacks."""
    for index in (*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json")):
        _shards(index)


def some(names: Sequence[str]) -> str:
    """The first three of them, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
