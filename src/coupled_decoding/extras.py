"""Optional packages, and the extra that brings each."""

from __future__ import annotations

from importlib.util import find_spec


def require_extra(package: str, extra: str, purpose: str) -> None:
    """ModuleNotFoundError that names the extra which brings a package."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"{purpose} needs {package}: pip install 'coupled-decoding[{extra}]'")
