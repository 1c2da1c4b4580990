"""Writing checkpoints: a folder is there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn


@contextmanager
def folder_written_whole(folder: Path, *, keep: bool) -> Iterator[Path]:
    """A folder to write in the place of another: beside it, moved there when the block ends, removed if it fails.

    Args:
        keep: begin with a copy of what stands there, so that files which the block does not write stay.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if keep and folder.exists():
            shutil.copytree(folder, partial)
        else:
            partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_weights(model: nn.Module, path: Path) -> None:
    """All parameters and buffers, in float16."""
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, path)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
