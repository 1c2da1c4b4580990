"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
