"""Imports between the rooms of this repository go one way, and a room leaves to others what is not its business."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("coupled_decoding", "data", "training", "benchmarks", "custom_generate", "tests")

LAYERS = ["decoding", "serving", "models", "pipelines", "evaluation"]
"""Of the package, from the lowest up: a room may import itself, those before it, and those beside."""
BESIDE = ["extras", "atomic", "media"]
MAY_IMPORT = {
    **{f"coupled_decoding.{room}": [*LAYERS[: above + 1], *BESIDE] for above, room in enumerate(LAYERS)},
    "coupled_decoding.decoding": ["decoding", "extras"],
    "coupled_decoding.models.checkpoints": ["models.checkpoints", "models.prompts", *BESIDE],
    "coupled_decoding.models.networks": ["models.networks", "models.checkpoints", "serving", "decoding", *BESIDE],
    "coupled_decoding.models.contract": ["models.checkpoints", "models.prompts", "serving", "decoding", *BESIDE],
    "coupled_decoding.models.registry": ["models.checkpoints", "models.contract"],  # families are imported when found
    "coupled_decoding.media": ["media", "atomic", "extras"],
    "coupled_decoding.atomic": [],
    "coupled_decoding.extras": [],
    "coupled_decoding.__init__": LAYERS,
    "coupled_decoding.__main__": ["apps"],
    "coupled_decoding.apps": [""],
    "data": ["data"],
    "training": ["training", "data", ""],
    "benchmarks": ["benchmarks", "data", ""],
    "custom_generate": [""],
}
"""A module is of the room with the longest name that fits; "" is the whole package, whose rooms need not name it."""
NOT_ITS_BUSINESS = {
    "coupled_decoding.apps": {"torch", "transformers"},
    "coupled_decoding.decoding": {"transformers", "tokenizers", "PIL"},
    "coupled_decoding.media": {"transformers", "tokenizers"},
}
FILES = [path.relative_to(ROOT) for folder in ("src", *OURS[1:-1]) for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    module = ".".join(path.with_suffix("").parts).removeprefix("src.")
    room = max((room for room in MAY_IMPORT if within(module, room)), key=len)
    allowed = [name if name in OURS else f"coupled_decoding.{name}".strip(".") for name in MAY_IMPORT[room]]
    for name in imported(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        library = name.split(".")[0]
        assert library not in OURS or any(within(name, one) for one in allowed), f"{module} imports {name}"
        assert library not in NOT_ITS_BUSINESS.get(room, ()), f"{module} imports {name}"


def within(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room}.")


def imported(module: ast.Module) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield str(node.module)
