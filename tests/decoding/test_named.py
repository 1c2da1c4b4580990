"""The table of methods by name: whole, without torch, and of one mind with the functions."""

from __future__ import annotations

import subprocess
import sys

import pytest

import coupled_decoding as cd
from coupled_decoding.decoding import named
from coupled_decoding.decoding.named import COUPLINGS, FIRST_GUESSES, METHODS, method_named, options_of
from coupled_decoding.decoding.rules import coupling, guesses


def test_the_table_needs_no_torch() -> None:
    """So that ``scd --help`` shows names at once."""
    code = "import sys, coupled_decoding.decoding.named; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_names_and_functions_are_the_same() -> None:
    """A first guess or a coupling that has a function has a name, and the other way round, in one order."""
    assert [*guesses.GUESSES] == [*FIRST_GUESSES]
    assert {*coupling.COUPLINGS} - {"independent"} == {*COUPLINGS}  # drawing anew is SJD's


def test_every_method_has_a_name() -> None:
    """Each method of the package can be asked for, and its name gives the method with its own defaults."""
    made = {name: method_named(name) for name in METHODS}
    assert {type(method) for method in made.values()} == {
        cd.AR, cd.SJD, cd.SCD, cd.SeedExact, cd.Jacobi, cd.PAC, cd.GSD, cd.ZipAR}
    assert made["scd-maximal"] == cd.SCD(coupling="maximal")
    assert made[named.DEFAULT] == cd.SCD()
    assert made["gsd"] == cd.GSD()


def test_options_reach_the_method() -> None:
    assert method_named("seed-exact", window=8, branches=4) == cd.SeedExact(8, branches=4)
    assert method_named("gsd", window=8, group=3) == cd.GSD(8, group=3)
    assert options_of("scd-maximal") == {"window": 64, "first_guess": "uniform", "predict": False}


@pytest.mark.parametrize(("name", "options", "sentence"), [
    ("scd", {}, r"there is no method 'scd': give one of ar, sjd, scd-maximal, scd-gumbel"),
    ("scd-maximal", {"branches": 3}, "branches means nothing to scd-maximal, which takes window, first_guess and "
     "predict: leave it out"),
    ("scd-gumbel", {"coupling": "maximal"}, "coupling means nothing to scd-gumbel"),
    ("sjd", {"window": 0}, "window is 0"),
])
def test_what_means_nothing_is_refused(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        method_named(name, **options)
