"""Plots of a benchmark, as the paper draws them: one function per figure, from measured cases to a matplotlib figure.

A function gives None where there is nothing to see, such as forwards against windows of one window. Needs the extra
``plot``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from coupled_decoding.atomic import written_whole
from coupled_decoding.evaluation.bench.counts import Curves
from coupled_decoding.evaluation.bench.results import Measured, varying

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTING = ("guidance", "temperature", "batch")
"""Options that change what is drawn, or beside what, and not how."""
CURVES = 8
"""Most of them in one figure."""
FAR_APART = 6
"""An axis is logarithmic where the largest value is more than so many times the smallest."""
BARS = 0.8
"""The part of the distance between two groups of bars that a group fills."""
DPI = 85
"""Pixels per inch of a saved figure."""
PARTS = 32
"""About how many means a curve over a sequence has."""
BINS = {
    "1": (1, 1), "2": (2, 2), "3": (3, 3), "4": (4, 4), "5 to 8": (5, 8), "9 to 16": (9, 16), "17 to 32": (17, 32),
    "33 to 64": (33, 64), "65 or more": (65, sys.maxsize),
}
"""Bars of the histogram: first and last number of tokens."""


@dataclass(frozen=True)
class Shown:
    """What all plots are of."""

    measured: Sequence[Measured]
    drawn: str
    """One item in a word."""
    places: Tensor | None
    """LongTensor ``[F, H, W]``: generated indices by frame, row and column; None where there is no grid."""

    def label(self, one: Measured, *without: str) -> str:
        """What tells a case from others, these options and the setting aside."""
        options = one.case.options
        said = [str(options["method"]) + " (lossy)" * (not options["lossless"])]
        alike = [other for other in self.measured if other.case.options["method"] == options["method"]]
        if "first_guess" not in varying(alike):  # some methods have one of their own
            without = (*without, "first_guess")
        for name in varying(self.measured):
            value = options.get(name)
            if name in ("method", "lossless", *SETTING, *without) or value in (None, False, 0) or not _drafts(one):
                continue
            said.append(name if value is True else f"{name.replace('_', ' ')} {value}")
        return ", ".join(said)

    @property
    def row(self) -> int:
        """Tokens of a row of the picture, its end included; 1 where there is no grid."""
        if self.places is None or self.places.shape[1] < 2:
            return 1
        return int(self.places[0, 1, 0] - self.places[0, 0, 0])

    def plain(self) -> list[Measured]:
        """Those in the setting of the first case."""
        first = self.measured[0].case.options
        return [one for one in self.measured if all(one.case.options[name] == first[name] for name in SETTING)]

    def curves(self) -> list[Measured]:
        """The case with the widest window of each method that drafts; few enough to be told apart."""
        widest: dict[str, Measured] = {}
        for one in self.plain():
            label = self.label(one, "window")
            if _drafts(one) and (label not in widest or _window(one) > _window(widest[label])):
                widest[label] = one
        return list(widest.values())[:CURVES]


def nfe_against_changed(shown: Shown) -> Figure | None:
    """Forwards against the share of drafts that a step changed (the paper's figure 2), a point per case."""
    drafting = [one for one in shown.plain() if _drafts(one)]
    if len(drafting) < 2:
        return None
    figure, axis = _panels(1)
    for label, ones in _series(shown, drafting, "window"):
        changed, nfe = [one.counts.changed for one in ones], [one.counts.nfe for one in ones]
        axis[0].errorbar(changed, nfe, [one.counts.nfe_error for one in ones], marker="o", markersize=4, label=label)
        for one, x, y in zip(ones, changed, nfe, strict=True):
            axis[0].annotate(str(_window(one)), (x, y), textcoords="offset points", xytext=(5, 4), fontsize=7)
    axis[0].set(xlabel="share of drafts that a step changed (beside each point: window)",
                ylabel=f"forwards per {shown.drawn}", ylim=(0, None))
    _legend(axis)
    return figure


def over_trajectory(shown: Shown) -> Figure | None:
    """Accepted drafts, and drafts that stood unchanged, by place in the sequence (the paper's figure 3)."""
    if not shown.curves():
        return None
    figure, axes = _panels(2)
    for one in shown.curves():
        for axis, values in zip(axes, _shares_of(one), strict=True):
            axis.plot(*_smoothed(values, shown.row), linewidth=1, label=shown.label(one))
    for axis, title in zip(axes, _SHARES, strict=True):
        axis.set(xlabel="place in the sequence", title=title, ylim=(0, 1))
    _legend(axes)
    return figure


def over_picture(shown: Shown) -> Figure | None:
    """The same by place in the picture (the paper's figure 4), the mean over the frames of a clip."""
    curves = shown.curves()
    if shown.places is None or not curves:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * len(curves) + 1.2, 5), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    for column, one in enumerate(curves):
        for row, values in enumerate(_shares_of(one)):
            # no draft was drawn again where the figure is None: not a number, left white
            places = torch.tensor([float("nan") if value is None else value for value in values])[shown.places]
            picture = axes[row, column].imshow(places.nanmean(0).numpy(), vmin=0, vmax=1)
            axes[row, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(shown.label(one).replace(", ", "\n"), fontsize=8)
    for row, title in enumerate(_SHARES):
        axes[row, 0].set_ylabel(title, fontsize=8)
    figure.colorbar(picture, ax=axes)
    return figure


def nfe_against_guidance(shown: Shown) -> Figure | None:
    """Forwards against guidance scale (the paper's figure 6)."""
    if len({one.case.guidance for one in shown.measured}) < 2:
        return None
    figure, axes = _panels(1)
    first = shown.measured[0].case
    widest = {shown.label(one) for one in shown.curves()}
    alike = [one for one in shown.measured
             if (one.case.sampling, one.case.batch) == (first.sampling, first.batch) and shown.label(one) in widest]
    _lines(shown, axes[0], alike, lambda one: one.case.guidance or 0, "nfe", "nfe_error")
    axes[0].set(xlabel="guidance scale", ylabel=f"forwards per {shown.drawn}", ylim=(0, None),
                xticks=sorted({one.case.guidance or 0 for one in alike}))
    _legend(axes)
    return figure


def against_window(shown: Shown) -> Figure | None:
    """Forwards, and seconds where they were measured, against window."""
    drafting = [one for one in shown.plain() if _drafts(one)]
    windows = sorted({_window(one) for one in drafting})
    if len(windows) < 2:
        return None
    timed = all(one.timings for one in drafting)
    figure, axes = _panels(2 if timed else 1)
    measures = (("nfe", f"forwards per {shown.drawn}"), ("seconds", f"seconds per {shown.drawn}"))
    for axis, (measure, words) in zip(axes, measures, strict=False):
        _lines(shown, axis, drafting, _window, measure, "nfe_error" if measure == "nfe" else None, "window")
        for one in shown.plain():
            # transformers' generate takes AR's forwards, and other seconds
            if one.case.plain or (measure == "seconds" and not _drafts(one)):
                axis.axhline(one.flat[measure], color="black" if one.case.plain else "grey", linewidth=1,
                             linestyle=":" if one.case.title.endswith("static cache") else "--", label=one.case.title)
        values = [one.flat[measure] for one in shown.plain() if measure in one.flat]
        if max(values) > FAR_APART * min(values):
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, None)
        axis.set(xlabel="window", ylabel=words)
        axis.set_xscale("log", base=2)
        axis.set_xticks(windows, [str(window) for window in windows])
    _legend(axes)
    return figure


def committed_histogram(shown: Shown) -> Figure | None:
    """How many tokens a step committed."""
    if not shown.curves():
        return None
    figure, axes = _panels(1)
    curves = shown.curves()
    most = max(max(_curves(one).committed) for one in curves)
    bins = {name: ends for name, ends in BINS.items() if ends[0] <= most}
    width = BARS / len(curves)
    for number, one in enumerate(curves):
        committed = _curves(one).committed
        steps = sum(committed.values())
        shares = [sum(count for tokens, count in committed.items() if first <= tokens <= last) / steps
                  for first, last in bins.values()]
        axes[0].bar([place + number * width for place in range(len(bins))], shares, width, label=shown.label(one))
    axes[0].set_xticks([place + (BARS - width) / 2 for place in range(len(bins))], [*bins])
    axes[0].set(xlabel="tokens committed", ylabel="share of steps")
    _legend(axes)
    return figure


PLOTS: dict[str, tuple[Callable[[Shown], Figure | None], str]] = {
    "nfe-changed.png": (nfe_against_changed, "Forwards against drafts that a step changed."),
    "trajectory.png": (over_trajectory, "By place in the sequence."),
    "places.png": (over_picture, "By place in the picture: above, the share of tokens that were accepted drafts; "
                                 "below, of drafts that a step left unchanged."),
    "guidance.png": (nfe_against_guidance, "Forwards against guidance scale."),
    "window.png": (against_window, "Against window; across, those that draft nothing."),
    "committed.png": (committed_histogram, "Tokens committed per step."),
}
"""File name -> what draws it, and what it shows."""

_SHARES = ("accepted drafts", "drafts left unchanged")


def save_figure(figure: Figure, path: Path) -> None:
    """A PNG of 256 colours: a repository keeps every picture forever."""
    import matplotlib.pyplot as plt  # the extra plot

    if figure.get_layout_engine() is None:
        figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    plt.close(figure)
    small = Image.open(drawn).convert("RGB").quantize(256)
    with written_whole(path, parents=True) as partial:
        small.save(partial, format="PNG", optimize=True)


def _panels(count: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * count + 2, 4), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _legend(axes: Any) -> None:
    """Beside the last panel, where it hides nothing; whatever the others show, it shows too."""
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _curves(one: Measured) -> Curves:
    if one.curves is None:
        raise ValueError(f"only means were kept of {one.case.title}: plots need the curves that scd bench keeps")
    return one.curves


def _shares_of(one: Measured) -> tuple[Sequence[float | None], Sequence[float | None]]:
    """By place, in the order of the titles."""
    return _curves(one).accepted, _curves(one).unchanged


def _drafts(one: Measured) -> bool:
    """Whether a case drafts in windows of one size."""
    return one.case.options.get("window") not in (None, 1, "auto")


def _window(one: Measured) -> int:
    return one.case.options["window"]


def _series(shown: Shown, measured: Sequence[Measured], *without: str) -> Iterator[tuple[str, list[Measured]]]:
    """Cases by label, in the order in which labels first appear: a method has one colour in all plots."""
    series: dict[str, list[Measured]] = {}
    for one in measured:
        series.setdefault(shown.label(one, *without), []).append(one)
    yield from series.items()


def _lines(
    shown: Shown, axis: Any, measured: Sequence[Measured], where: Callable[[Measured], float], measure: str,
    error: str | None, *without: str,
) -> None:
    for label, ones in _series(shown, measured, *without):
        ones.sort(key=where)
        if error is None:
            value = [one.flat[measure] for one in ones]
            ends = [[one.flat[measure] - one.flat[f"{measure}_low"] for one in ones],
                    [one.flat[f"{measure}_high"] - one.flat[measure] for one in ones]]
        else:
            value, ends = [one.flat[measure] for one in ones], [one.flat[error] for one in ones]
        axis.errorbar([where(one) for one in ones], value, ends, marker="o", markersize=4, label=label)


def _smoothed(values: Sequence[float | None], row: int) -> tuple[list[float], list[float]]:
    """Means of about :data:`PARTS` parts of a sequence, at their middles; parts without a value are left out.

    Parts are of whole rows, for within a row shares rise and fall.
    """
    part = row * max(1, round(len(values) / PARTS / row))
    places, means = [], []
    for first in range(0, len(values), part):
        there = [value for value in values[first : first + part] if value is not None]
        if there:
            places.append(first + (part - 1) / 2)
            means.append(fmean(there))
    return places, means
