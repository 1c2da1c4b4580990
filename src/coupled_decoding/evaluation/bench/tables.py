"""The report in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coupled_decoding.evaluation.bench.results import Figures, varying
from coupled_decoding.evaluation.bench.seconds import Median

OPTIONS = {
    "method": "method", "lossless": "lossless", "window": "window", "first_guess": "first guess", "predict": "predict",
    "branches": "branches", "guidance": "guidance", "temperature": "temperature", "top_k": "top-k", "top_p": "top-p",
    "batch": "batch", "compiled": "compiled",
}
"""Of every case, in words; further ones of a method stand under their own names."""


def report(what: str, circumstances: Mapping[str, Any], figures: Sequence[Figures], images: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        what: one item in a word, such as ``"picture"``.
        circumstances: in words, and what each was.
        images: file names, and what each shows.
    """
    lines = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in circumstances.items()), ""]
    lines += [*_common(figures), "", table(what, figures), "", *_reading(what, figures)]
    for name, shown in images.items():
        lines += ["", f"![{shown}]({name})", "", shown]
    return "\n".join(lines) + "\n"


def table(what: str, figures: Sequence[Figures]) -> str:
    """A line a case: the options in which cases differ, then what was measured."""
    timed = any(one.seconds for one in figures)
    options = varying(figures)
    head = [*(OPTIONS.get(name, name) for name in options), "NFE", "AR / NFE", f"tokens fed a {what}",
            "steps that commit one token", "drafts changed a step"]
    head += [f"seconds a {what}", "times faster than AR", "seconds outside the model"] if timed else []
    lines = [_line(head), "| --- " * len(head) + "|"]
    lines += [_line([*(_said(one.flat.get(name)) for name in options), *_cells(one)]) for one in figures]
    return "\n".join(lines)


def _common(figures: Sequence[Figures]) -> list[str]:
    """What all cases share, in a sentence."""
    options = varying(figures)
    common = {name: value for one in figures for name, value in one.case.options.items()
              if name not in options and value is not None}
    shared = [f"{words} {_said(common[name])}" for name, words in OPTIONS.items() if name in common]
    return [f"All cases: {', '.join(shared)}."] if shared else []


def _cells(one: Figures) -> list[str]:
    counts = one.counts
    cells = [f"{counts['nfe']:.1f} +- {counts['nfe_error']:.1f}", f"{counts['ratio']:.2f}x", f"{counts['fed']:.0f}",
             f"{counts['single']:.0%}", f"{counts['changed']:.0%}"]
    if seconds := one.seconds:
        cells += [_interval(seconds.seconds), _interval(seconds.times_faster, "x"),
                  "" if seconds.outside is None else f"{seconds.outside:.0%}"]
    return cells


def _interval(median: Median | None, unit: str = "") -> str:
    return "" if median is None else f"{median.value:.2f}{unit} ({median.low:.2f} to {median.high:.2f})"


def _reading(what: str, figures: Sequence[Figures]) -> list[str]:
    """What the columns mean."""
    lines = [
        f"NFE: forwards of the model a {what}, mean +- standard error; AR takes one for each token. Tokens fed: what "
        "its forwards read, which is what they cost where arithmetic decides.",
    ]
    probabilities = sorted({one.seconds.seconds.probability for one in figures if one.seconds})
    if probabilities:
        said = " or ".join(f"{probability:.0%}" for probability in probabilities)
        lines += ["", f"Seconds: medians; in brackets two of the values measured, which hold the median of all such "
                  f"{what}s with a probability of {said}. Times faster than AR: of each round's own pair."]
    return lines


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
