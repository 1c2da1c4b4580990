"""What a figure was measured on."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def describe() -> dict[str, str]:
    """Processor, threads and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
             ] if cpuinfo.exists() else []
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "coupled-decoding")},
    }


def in_words() -> str:
    return ", ".join(f"{key} {value}" for key, value in describe().items())
