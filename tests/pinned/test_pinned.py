"""Decoding gives what it gave when it was recorded: the same tokens, in as many forwards that read as many tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pinned.cases import SECTIONS, SHIPPED, TINY, Rows, write_tiny
from tests.pinned.record import FOLDER, Recorded, decode_group, digest_of_weights

GROUPS = [(section, group) for section, groups in SECTIONS.items() for group in groups]
PARTS = ("other tokens", "another number of forwards", "another number of tokens fed")


def differences(recorded: dict[str, Rows], found: dict[str, Rows]) -> list[str]:
    """A sentence for each case that is not as recorded."""
    sentences = [f"{name}: recorded, but no longer decoded" for name in recorded if name not in found]
    for name, rows in found.items():
        kept = recorded.get(name)
        if kept is None:
            sentences.append(f"{name}: not recorded")
        elif len(kept) != len(rows):
            sentences.append(f"{name}: {len(rows)} rows, recorded {len(kept)}")
        else:
            sentences += [f"{name}: row {row} {_difference(old, new)}"
                          for row, (old, new) in enumerate(zip(kept, rows, strict=True)) if old != new]
    return sentences


def _difference(old: str, new: str) -> str:
    """What is different in a row; one of a stream of pictures has a number in front."""
    words = [word for word, one, other in zip(PARTS, old.split()[-3:], new.split()[-3:], strict=True) if one != other]
    return f"has {' and '.join(words) or 'another place'} ({new}, recorded {old})"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the models, by section."""
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    return {section: write_tiny(section, checkpoints / section) for section in TINY} | SHIPPED


@pytest.mark.parametrize(("section", "group"), GROUPS, ids=[": ".join(names) for names in GROUPS])
def test_decoding_gives_what_was_recorded(section: str, group: str, folders: dict[str, Path]) -> None:
    """Every case of a group, in float64; those of a model that ships only while it has the weights of the record."""
    recorded, folder = Recorded.read(section), folders.get(section)
    same = digest_of_weights(folder) == recorded.weights
    if not same and section in SHIPPED:
        pytest.skip(f"{section} has other weights than when this was recorded: run "
                    f"`python -m tests.pinned.record {section}` when they are final")
    sentences = differences(recorded.groups.get(group, {}), decode_group(section, group, folder))
    if sentences:
        weights = "" if same else f"; the random weights of {section} are others too"
        heading = f"{len(sentences)} rows or cases are not as recorded{weights}"
        pytest.fail("\n".join([heading, *sentences]), pytrace=False)


def test_what_is_recorded_is_what_is_decoded() -> None:
    """No group is left out of the record, and none stays in it that nothing decodes any more."""
    assert {file.stem for file in FOLDER.glob("*.json")} == SECTIONS.keys()
    for section, groups in SECTIONS.items():
        assert Recorded.read(section).groups.keys() == groups.keys()


def test_a_difference_is_named() -> None:
    recorded = {"one": ["aa 3 12", "bb 4 16"], "two": ["0: cc 5 20"], "three": ["dd 1 1"], "four": ["ee 2 8"]}
    found = {"one": ["aa 3 12", "bf 4 17"], "two": ["0: cc 6 20"], "three": ["dd 1 1", "dd 1 1"], "five": ["ee 2 8"]}
    assert differences(recorded, recorded) == []
    assert differences(recorded, found) == [
        "four: recorded, but no longer decoded",
        "one: row 1 has other tokens and another number of tokens fed (bf 4 17, recorded bb 4 16)",
        "two: row 0 has another number of forwards (0: cc 6 20, recorded 0: cc 5 20)",
        "three: 2 rows, recorded 1",
        "five: not recorded",
    ]
