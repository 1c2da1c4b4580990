"""What a benchmark that was cut off keeps, and what it does not mix."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.kept import Kept, kept_tensor


@dataclass(frozen=True)
class Count:
    nfe: int

    @classmethod
    def read(cls, kept: dict[str, int]) -> Count:
        return cls(**kept)


def fails() -> Count:
    raise RuntimeError("made again, or cut off")


def test_a_run_that_was_cut_off_continues(tmp_path: Path) -> None:
    """What is there is not made again; what was being made is not there, nor half of it."""
    path = tmp_path / "folder" / "results.json"
    Kept(path).get("one", Count.read, lambda: Count(1))
    with pytest.raises(RuntimeError):
        Kept(path).get("two", Count.read, fails)
    again = Kept(path)
    assert again.get("one", Count.read, fails) == Count(1)
    assert again.get("two", Count.read, lambda: Count(2)) == Count(2)
    assert Kept(path).results == {"one": {"nfe": 1}, "two": {"nfe": 2}}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    """Also a file from before there were versions, and what is no file of results."""
    path = tmp_path / "results.json"
    for content, said in (({"version": 0, "results": {}}, "of version 0, expected 1"), ({"one": {}}, "something else"),
                          ([], "something else")):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=said):
            Kept(path)


def test_a_tensor_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "0000.tokens"
    made = kept_tensor(path, lambda: torch.arange(3))
    assert torch.equal(made, torch.arange(3))
    assert torch.equal(kept_tensor(path, lambda: torch.zeros(3)), made)


def test_a_fingerprint_is_of_weights_and_their_names(tiny_doom: Path, tmp_path: Path) -> None:
    """Other weights or another name are another model; a model card or an example is not."""
    folder = shutil.copytree(tiny_doom, tmp_path / "model")
    first = fingerprint.of_model(str(folder))
    (folder / "README.md").write_text("a card")
    (folder / "example.webp").write_bytes(b"a clip")
    assert fingerprint.of_model(str(folder)) == first == fingerprint.of_model(str(tiny_doom))
    weights = folder / "model.safetensors"
    weights.rename(folder / "others.safetensors")
    assert fingerprint.of_model(str(folder)) != first
    weights.write_bytes(b"others")
    (folder / "others.safetensors").unlink()
    assert fingerprint.of_model(str(folder)) != first


def test_a_fingerprint_of_clips_is_of_their_pictures(tmp_path: Path) -> None:
    (tmp_path / "000.webp").write_bytes(b"one")
    first = fingerprint.of_clips(tmp_path)
    (tmp_path / "notes.txt").write_text("words")
    assert fingerprint.of_clips(tmp_path) == first
    (tmp_path / "001.webp").write_bytes(b"two")
    assert fingerprint.of_clips(tmp_path) != first
