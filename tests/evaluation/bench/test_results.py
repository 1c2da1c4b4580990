"""What rounds come to, and the files: medians, tables, CSV, JSON, plots."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch

import coupled_decoding as cd
from coupled_decoding.evaluation.bench import tables
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.counts import Curves, Summary
from coupled_decoding.evaluation.bench.plots import PLOTS, Shown, save_figure
from coupled_decoding.evaluation.bench.results import Measured, as_csv, as_json, varying
from coupled_decoding.evaluation.bench.seconds import Median, Timed, Timings
from coupled_decoding.evaluation.bench.transformers_generate import Generate
from coupled_decoding.evaluation.bench.work import places

AR_SECONDS, RATIOS = [10.0, 12.0, 20.0, 10.0, 11.0, 9.0], [2.0, 4.0, 3.0, 2.5, 3.5, 1.0]
AR = Timings([[Timed(seconds, [8], 0.1 * seconds)] for seconds in AR_SECONDS])
"""Of six items, one repetition;"""
FAST = Timings([[Timed(seconds / ratio, [2])] for seconds, ratio in zip(AR_SECONDS, RATIOS, strict=True)])
"""and something as many times faster as the ratios say."""


class TestSeconds:
    def test_ratios_are_of_each_round_and_their_interval_holds_the_median(self) -> None:
        """The median of the six ratios, between the smallest and the largest with 1 - 2 / 2^6."""
        assert FAST.times_faster(AR) == Median(2.75, 1, 4, 1 - 2 / 64)
        assert AR.seconds.value == 10.5
        assert AR.times_faster(AR) == Median(1, 1, 1, 1 - 2 / 64)

    def test_repetitions_of_a_batch_are_one_value(self) -> None:
        def seconds(*batches: list[float]) -> Median:
            return Timings([[Timed(one, [1]) for one in batch] for batch in batches]).seconds

        assert seconds([1, 5, 9], [2, 2, 8]) == Median.of([5, 2])
        assert seconds([1, 5, 9]) == Median.of([1, 5, 9])

    def test_seconds_and_forwards_are_those_of_one_item(self) -> None:
        of_two = Timings([[Timed(6.0, [3, 3])], [Timed(2.0, [6])]])
        assert of_two.seconds.value == 2.5
        assert of_two.nfe == 4

    def test_share_outside_the_model(self) -> None:
        """Of all seconds; unknown where nothing keeps a trace."""
        assert AR.outside == pytest.approx(0.1)
        assert FAST.outside is None


def measured_of(case: Case, nfe: float, timed: bool) -> Measured:
    return Measured(
        case=case, items=6, counts=Summary(nfe, nfe_error=0.5, ratio=6 / nfe, single=0.25, changed=0.5, fed=9),
        curves=Curves([0, 0.5, 0.5, 0.25, 1, 0], [None, 0.5, 0.25, 0.5, 1, None], {1: 3, 2: 4, 20: 1}),
        timings=FAST if timed else None, base=AR if timed else None,
    )


def some(
    timed: bool = True, guidances: tuple[float, ...] = (1.0,), windows: tuple[int, ...] = (2, 4)
) -> list[Measured]:
    methods = [cd.AR(), Generate("static"), *(cd.SJD(window) for window in windows),
               *(cd.SeedExact(window, predict=True) for window in windows)]
    return [measured_of(Case(method, cd.Sampling(), scale), 6 - i, timed)
            for scale in guidances for i, method in enumerate(methods)]


class TestFiles:
    def test_csv_and_json_say_the_same(self) -> None:
        figures = some(guidances=(1.0, 3.0))
        lines = list(csv.DictReader(io.StringIO(as_csv(figures))))
        document = json.loads(as_json({"model": "x"}, figures))
        assert document["model"] == "x"
        assert len(lines) == len(document["cases"]) == len(figures) == 12
        for line, case, one in zip(lines, document["cases"], figures, strict=True):
            curves = {name: case.pop(name) for name in ("accepted", "unchanged", "committed")}
            assert case == one.flat
            assert line == {name: "" if case.get(name) is None else str(case[name]) for name in line}
            assert one.curves is not None
            assert curves["unchanged"] == one.curves.unchanged
            assert curves["committed"] == {str(tokens): count for tokens, count in one.curves.committed.items()}
        assert lines[0]["times_faster"] == "2.75"
        assert lines[1]["window"] == ""

    def test_a_table_shows_the_options_that_differ(self) -> None:
        figures = some()
        assert varying(figures) == ["method", "window", "predict"]
        text = tables.report("picture", {"model": "x"}, figures, {"window.png": "Against window."})
        head = next(line for line in text.splitlines() if line.startswith("| method"))
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        assert len({line.count("|") for line in lines}) == 1
        assert head.startswith("| method | window | predict | NFE | AR / NFE | tokens fed per picture | steps that")
        assert ("All cases: lossless yes, first guess uniform, branches 0, guidance 1, temperature 1, batch 1, "
                "compiled no.") in text
        assert ("| SeedExact | 4 | yes | 1.0 +- 0.5 | 6.00x | 9 | 25% | 50% | 4.50 (3.00 to 9.00) | "
                "2.75x (1.00 to 4.00) |  |") in text
        assert "| generate, static cache |  |  | 5.0" in text
        assert "probability of 97%" in text
        assert "![Against window.](window.png)" in text

    def test_a_table_of_forwards_only(self) -> None:
        assert "seconds" not in tables.report("picture", {}, some(timed=False), {}).lower()


class TestPlots:
    PLACES = places(cd.Layout.grid(2, 3, 10))

    def test_every_plot_is_drawn(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        shown = Shown(some(guidances=(1.0, 3.0)), "picture", self.PLACES)
        figures = {name: draw(shown) for name, (draw, _) in PLOTS.items()}
        assert all(figures.values())
        save_figure(figures["places.png"], tmp_path / "places.png")  # type: ignore[arg-type]
        assert (tmp_path / "places.png").stat().st_size > 1000

    def test_seconds_are_drawn_where_there_are_some(self) -> None:
        pytest.importorskip("matplotlib")
        drawn = [PLOTS["window.png"][0](Shown(some(timed), "picture", None)) for timed in (True, False)]
        assert [len(figure.axes) for figure in drawn] == [2, 1]  # type: ignore[union-attr]

    def test_nothing_is_drawn_of_nothing(self) -> None:
        pytest.importorskip("matplotlib")
        plain = Shown(some()[:2], "picture", self.PLACES)
        assert [draw(plain) for draw, _ in PLOTS.values()] == [None] * len(PLOTS)
        one_window = Shown(some(windows=(4,)), "picture", None)
        drawn = {name for name, (draw, _) in PLOTS.items() if draw(one_window) is not None}
        assert drawn == {"nfe-changed.png", "trajectory.png", "committed.png"}

    def test_curves_are_those_of_the_widest_windows(self) -> None:
        shown = Shown(some(guidances=(1.0, 3.0)), "picture", None)
        widest = ["SJD, window 4", "SeedExact, window 4, predict"]
        assert [shown.label(one) for one in shown.curves()] == widest
        pytest.importorskip("matplotlib")
        figure = PLOTS["guidance.png"][0](shown)
        assert figure is not None
        assert figure.axes[0].get_legend_handles_labels()[1] == widest


class TestPlaces:
    def test_a_grid_with_row_ends(self) -> None:
        layout = cd.Layout.grid(2, 3, 10, row_end=11, prefix=(12,), suffix=(13,))
        assert places(layout).tolist() == [[[1, 2, 3], [5, 6, 7]]]  # type: ignore[union-attr]

    def test_a_clip(self) -> None:
        assert places(cd.Layout.clip(3, 2, 2, 10)).flatten().tolist() == [*range(12)]  # type: ignore[union-attr]
        assert places(cd.Layout.clip(3, 2, 2, 10)).shape == (3, 2, 2)  # type: ignore[union-attr]

    def test_what_is_no_grid(self) -> None:
        assert places(cd.Layout.free(6, 10)) is None
        two = cd.Layout(torch.arange(9), torch.full((10,), -1), torch.tensor([-1, -1, 0, 1, -1, -1, -1, 4, 5, 6]))
        assert places(two) is None
