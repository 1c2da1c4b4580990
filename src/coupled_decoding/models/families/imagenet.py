"""The 1000 classes of ImageNet (ILSVRC 2012) by id or name; ``imagenet.txt`` has WordNet's names of each, in order."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files

from coupled_decoding.models.prompts import checked_prompt, shorten

CLASSES = 1000


def class_id(prompt: str) -> int:
    """Class of an id ("207") or a name ("golden retriever"). ValueError where there is none, or more than one."""
    word, names = _plain(checked_prompt(prompt)), _ids_by_name()
    if word.isdecimal() and int(word) < CLASSES:
        return int(word)
    found = names.get(word, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{prompt.strip()!r} names the ImageNet classes {' and '.join(map(str, found))}: give the id")
    close = difflib.get_close_matches(word, names, n=1)
    example = close[0] if close else "golden retriever"
    raise ValueError(f"the prompt {shorten(prompt)!r} is no ImageNet class: give an id from 0 to {CLASSES - 1} or a "
                     f"name such as {example!r}")


@cache
def _ids_by_name() -> dict[str, list[int]]:
    """Ids of each name and of each whole line of names."""
    lines = (files("coupled_decoding.models.families") / "imagenet.txt").read_text(encoding="utf-8").splitlines()
    ids: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        for name in {_plain(name) for name in (line, *line.split(","))}:
            ids.setdefault(name, []).append(i)
    return ids


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("'", "").split())
