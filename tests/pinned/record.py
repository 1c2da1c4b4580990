"""Record what decoding gives today: ``python -m tests.pinned.record``, or with the names of sections only those.

Only where a change of tokens, forwards or tokens fed is meant. A section is named as its file beside this one; record
``emoji`` or ``doom`` anew when the weights that ship have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.pinned.cases import SECTIONS, SHIPPED, TINY, Rows, pipeline, write_tiny

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """What is kept of a section."""

    weights: str
    """Digest of its model's weights; empty where a section needs no model."""
    groups: dict[str, dict[str, Rows]]
    """What each case decoded to, by group and name."""

    @classmethod
    def read(cls, section: str) -> Recorded:
        return cls(**json.loads((FOLDER / f"{section}.json").read_text()))

    def write(self, section: str) -> None:
        """A case a line."""
        groups = ",\n".join(
            f"{json.dumps(group)}: {{\n"
            + ",\n".join(f"  {json.dumps(name)}: {json.dumps(rows)}" for name, rows in cases.items()) + "\n}"
            for group, cases in self.groups.items()
        )
        text = f'{{"weights": "{self.weights}", "groups": {{\n{groups}\n}}}}\n'
        (FOLDER / f"{section}.json").write_text(text)


def decode_group(section: str, group: str, folder: Path | None) -> dict[str, Rows]:
    """Decode the cases of a group with the model in a folder, None where it needs no model."""
    found: dict[str, Rows] = {}
    for name, rows in SECTIONS[section][group](None if folder is None else pipeline(folder)):
        if name in found:
            raise ValueError(f"two cases of {section}, {group} are named {name!r}: give each a name of its own")
        found[name] = rows
    return found


def digest_of_weights(folder: Path | None) -> str:
    """SHA-256 of all files of weights in a folder."""
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    asked = parser.parse_args().sections or [*SECTIONS]
    for section in asked:
        if section not in SECTIONS:
            parser.error(f"there is no section {section!r}: give some of {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for section in asked:
            folder = write_tiny(section, Path(temporary) / section) if section in TINY else SHIPPED.get(section)
            groups = {}
            for group in SECTIONS[section]:
                started = time.perf_counter()
                groups[group] = decode_group(section, group, folder)
                print(f"{section}, {group}: {len(groups[group])} cases, {time.perf_counter() - started:.1f} s")
            Recorded(digest_of_weights(folder), groups).write(section)


if __name__ == "__main__":
    main()
