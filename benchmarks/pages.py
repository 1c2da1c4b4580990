"""What the benchmarks share: where their files are, their command line, and what each page says about its numbers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.kept import write_text
from coupled_decoding.evaluation.bench.machine import versions

FIGURES, IMAGES, BUILD = Path("docs/figures"), Path("docs/images"), Path("build/benchmarks")


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line whose help is the docstring of its module."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def weights_of(*models: str) -> dict[str, str]:
    """By the name of each model, which weights its figures belong to; see :func:`fingerprint.of_model`."""
    return {Path(model).name: fingerprint.of_model(model) for model in models}


def weights_in_words(weights: Mapping[str, str]) -> str:
    """The sentence of a page that says which weights it was measured on."""
    return f"Weights: {', '.join(f'{model} {digest}' for model, digest in weights.items())}."


def made_with(weights: Mapping[str, str]) -> str:
    """How counts were made that do not depend on the machine."""
    packages = versions()
    return (f"float32, torch {packages['torch']}, transformers {packages['transformers']}. "
            f"{weights_in_words(weights)}")


def publish(name: str, text: str) -> None:
    """Write the page of this name among the figures of the documents."""
    write_text(FIGURES / f"{name}.md", text)
