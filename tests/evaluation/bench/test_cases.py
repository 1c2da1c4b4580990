"""What a benchmark crosses: methods by name, options that say nothing left out, every case once."""

from __future__ import annotations

import json

import pytest

import coupled_decoding as cd
from coupled_decoding.decoding.named import METHODS
from coupled_decoding.decoding.peers import GSD, PAC, Jacobi, ZipAR
from coupled_decoding.evaluation.bench.cases import Asked, Case, Grid, compared
from coupled_decoding.evaluation.bench.transformers_generate import Generate


def grid(*methods: str, **crossed: object) -> list[Case]:
    return Grid([Asked.of(method) for method in methods], [cd.Sampling()], **crossed).cases()  # type: ignore[arg-type]


class TestMethods:
    def test_options_of_its_own(self) -> None:
        asked = Asked.of("seed-exact:window=32,branches=96,predict,first-guess=above")
        expected = cd.SeedExact(32, "above", branches=96, predict=True)
        assert asked.make({}) == asked.make({"window": 8, "predict": False}) == expected
        assert Asked.of("scd-maximal").make({"window": 8}) == cd.SCD(8, coupling="maximal")

    def test_every_line_of_the_table_makes_a_method(self) -> None:
        crossed = {"window": 8, "first_guess": "above", "predict": True, "branches": 4, "batch": 3}
        for name in METHODS:
            assert isinstance(Asked.of(name).make({}), cd.Method)
            assert isinstance(Asked.of(name).make(crossed), cd.Method)

    @pytest.mark.parametrize(("text", "said"), [
        ("foo", "there is no method 'foo': give one of ar, sjd"),
        ("sjd:colour=red", "fixes 'colour': sjd has window, first_guess"),
        ("scd-gumbel:coupling=maximal", "fixes 'coupling'"),
        ("sjd:window", "gives window no value: write window=64"),
        ("sjd:window=wide", "fixes window=wide: expected a value such as 64"),
        ("sjd:window=0", "window is 0"),
        ("sjd:first_guess=foo", "first_guess is 'foo'"),
        ("ar:window=2", "fixes 'window'"),
        ("seed-exact:predict=yes", "gives predict a value"),
        ("scd-maximal:branches=4", "fixes 'branches': scd-maximal has window, first_guess, predict"),
    ])
    def test_what_cannot_be_read(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Asked.of(text)

    def test_methods_of_others(self) -> None:
        """With their own options, and whether they keep the distribution."""
        cases = grid("pac:tree_width=3", "gsd:group=4", "zipar", "jacobi", windows=[8], first_guesses=["repeat"])
        assert [case.decoder for case in cases] == [
            PAC(8, "repeat", tree_width=3), GSD(8, "repeat", group=4), ZipAR(8), Jacobi(8, "repeat")]
        assert [case.options["lossless"] for case in cases] == [True, False, False, False]

    def test_compared_methods_are_as_published(self) -> None:
        assert [method.name for method in compared(8)] == ["SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"]
        assert all(method.window == 8 and not getattr(method, "predict", False) and not getattr(method, "branches", 0)
                   for method in compared(8))


class TestGrid:
    def test_what_says_nothing_about_a_method_is_left_out(self) -> None:
        """AR is one case, SJD knows windows and guesses only, and branches need noise that orders candidates."""
        cases = grid("ar", "sjd", "scd-maximal", "scd-gumbel", windows=[4, 8], first_guesses=["uniform", "above"],
                     predicts=[False, True], branches=[0, 2])
        count = {name: sum(case.decoder.name == name for case in cases)
                 for name in ("AR", "SJD", "SCD-maximal", "SCD-gumbel")}
        assert count == {"AR": 1, "SJD": 4, "SCD-maximal": 8, "SCD-gumbel": 16}
        assert len({case.name for case in cases}) == len(cases)

    def test_fixed_options_are_not_crossed(self) -> None:
        cases = grid("seed-exact:window=3,predict", windows=[4, 8], branches=[0, 2])
        assert [case.decoder for case in cases] == [
            cd.SeedExact(3, predict=True), cd.SeedExact(3, predict=True, branches=2),
        ]

    def test_settings_and_peers_are_crossed_too(self) -> None:
        cases = Grid([Asked("ar")], [cd.Sampling(), cd.Sampling(temperature=0.5)], guidances=[1.0, 3.0],
                     batches=[1, 2], generates=[Generate("static")]).cases()
        assert len(cases) == 2 * 2 * 2 * 2
        assert [case.plain for case in cases] == [False, True] * 8
        assert cases[0].pairs_with(cases[1])
        assert not any(cases[1].pairs_with(other) for other in cases[2:])

    def test_a_name_says_everything(self) -> None:
        case = Case(cd.SCD(4, branches=2), cd.Sampling(top_k=9), guidance=3.0, batch=2)
        assert json.loads(case.name) == {
            "method": "SCD-gumbel", "window": 4, "first_guess": "uniform", "coupling": "gumbel", "branches": 2,
            "predict": False, "guidance": 3.0, "temperature": 1.0, "top_k": 9, "top_p": None, "batch": 2,
            "compiled": False,
        }
        assert case.title == "SCD-gumbel, window 4 + 2"
        assert Case(Generate("static"), cd.Sampling()).title == "generate, static cache"
