"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "coupled-decoding")


def describe() -> dict[str, str]:
    """Processor, cores, threads and versions; the accelerator where there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
             ] if cpuinfo.exists() else []
    return {
        "processor": names[0] if names else platform.processor(),
        **({"accelerator": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **versions(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that decide what is computed."""
    return {package: version(package) for package in PACKAGES}


def in_words() -> str:
    return ", ".join(f"{key} {value}" for key, value in describe().items())
