"""What a benchmark that was cut off keeps, and what it does not mix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.fingerprint import fingerprint
from benchmarks.kept import Kept, kept_tensor


def fails() -> dict[str, int]:
    raise RuntimeError("made again, or cut off")


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """What is there is not made again; what was being made is not there, nor half of it."""
    path = tmp_path / "folder" / "results.json"
    Kept(path).get("one", lambda: {"nfe": 1})
    with pytest.raises(RuntimeError):
        Kept(path).get("two", fails)
    again = Kept(path)
    assert again.get("one", fails) == {"nfe": 1}
    assert again.get("two", lambda: {"nfe": 2}) == {"nfe": 2}
    assert Kept(path).results == {"one": {"nfe": 1}, "two": {"nfe": 2}}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_a_tensor_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "0000.tokens"
    made = kept_tensor(path, lambda: torch.arange(3))
    assert torch.equal(made, torch.arange(3))
    assert torch.equal(kept_tensor(path, lambda: torch.zeros(3)), made)


def test_a_fingerprint_is_of_contents_and_names_but_not_of_words(tmp_path: Path) -> None:
    """Other weights or another name are another model; a corrected model card is not."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert fingerprint(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert fingerprint(tmp_path) != first
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    assert fingerprint(tmp_path) != first
