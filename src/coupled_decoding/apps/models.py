"""``scd models``: what there is to say about the families, as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.output import print_json

if TYPE_CHECKING:
    from coupled_decoding.models.contract import Card


def models(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/families.md.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the families of models that --model takes.

    Where each is published, which files a folder must hold, its own defaults, and what was verified of our reading of
    it. A folder says itself which family it is of.

    \b
    A local folder of Janus-Pro, in bfloat16 on a GPU:
      scd generate "a red heart" --model Janus-Pro-1B/ --dtype bfloat16 --device cuda
    """
    found = cards()
    if as_json:
        print_json([dataclasses.asdict(card) for card in found])
    else:
        typer.echo(table(found) if as_markdown else text(found))


def cards() -> list[Card]:
    from coupled_decoding.models.registry import FAMILIES

    return [family.model_class().card for family in FAMILIES]


def defaults(card: Card) -> str:
    """Published sampling and guidance in a few words."""
    sampling = card.sampling
    words = [f"temperature {sampling.temperature:g}"]
    words += [f"top-k {sampling.top_k}"] if sampling.top_k is not None else []
    words += [f"top-p {sampling.top_p:g}"] if sampling.top_p is not None else []
    return ", ".join([*words, f"guidance {card.guidance_scale:g}" if card.guidance_scale != 1 else "no guidance"])


def text(found: Sequence[Card]) -> str:
    """One paragraph per family."""
    return "\n\n".join("\n".join([
        card.name,
        *(f"  {label:<13} {value}" for label, value in (
            ("checkpoints", card.checkpoints), ("files", card.files), ("size", card.size), ("defaults", defaults(card)),
            ("verified", card.verified), ("not verified", card.not_verified),
        )),
    ]) for card in found)


def table(found: Sequence[Card]) -> str:
    """A table of what was verified, and one of what each family needs."""
    verified = [["family", "verified", "not verified"]]
    verified += [[card.name, card.verified, card.not_verified] for card in found]
    needs = [["family", "checkpoints", "files", "size", "defaults"]]
    needs += [[card.name, card.checkpoints, card.files, card.size, defaults(card)] for card in found]
    return f"{_table(verified)}\n\n{_table(needs)}"


def _table(rows: list[list[str]]) -> str:
    head, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *rest])
