"""The public names: all there, for type checkers too, and imported when they are asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import coupled_decoding as cd

SHOW = "import sys; print(*sorted(sys.modules))"


def test_every_public_name_is_there() -> None:
    """As values, in ``dir``, and among the imports that type checkers read."""
    tree = ast.parse(Path(cd.__file__).read_text(encoding="utf-8"))
    declared = {(node.module, alias.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                for alias in node.names if node.module and node.module.startswith("coupled_decoding")}
    assert declared == {(f"coupled_decoding.{home}", name) for home, names in cd._HOMES.items() for name in names}
    assert sorted(name for _, name in declared) == sorted(cd.__all__)
    for name in cd.__all__:
        assert getattr(cd, name) is not None
    assert {*cd.__all__} <= {*dir(cd)}
    with pytest.raises(AttributeError, match="module 'coupled_decoding' has no attribute 'SDC'"):
        cd.SDC  # noqa: B018


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after some lines."""
    ran = subprocess.run([sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(("code", "without"), [
    ("import coupled_decoding", {"torch", "transformers", "PIL"}),
    ("import coupled_decoding as cd; cd.decode, cd.SCD, cd.PAC, cd.check_session", {"transformers", "PIL"}),
    ("import coupled_decoding as cd; cd.from_pretrained, cd.PicturePipeline, cd.Videos", {"transformers"}),
    ("import coupled_decoding.apps.cli", {"torch", "transformers", "numpy"}),
], ids=["import", "decode", "pipelines", "command line"])
def test_nothing_is_imported_before_it_is_needed(code: str, without: set[str]) -> None:
    found = modules_after(code)
    assert not found & without
    assert not [name for name in found if name.startswith("coupled_decoding.models.families.")]


def test_one_family_is_imported_for_its_folder() -> None:
    found = modules_after("from coupled_decoding.pipelines.load import recognised; recognised('doom')")
    assert [name for name in found if name.startswith("coupled_decoding.models.families.")] == [
        "coupled_decoding.models.families.doom"]
