"""Several pictures in one, with words: contact sheets, and comparisons of methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt
from unicodedata import category, normalize

from PIL import Image, ImageDraw, ImageFont

SMALLEST_SIDE, LARGEST_SIDE = 256, 512
"""Pixels that the longer side of a picture takes on a sheet: small ones are enlarged, large ones reduced."""

MARGIN, GAP, LINE = 28, 20, 20
"""Pixels around the sheet, between pictures, and from one line of text to the next."""

PAPER, INK, PENCIL, EDGE = "#ffffff", "#1f2328", "#6e7781", "#e4e7eb"


@dataclass(frozen=True)
class Column:
    """What one method drew."""

    name: str
    note: str
    pictures: Sequence[Image.Image]
    captions: Sequence[str]
    """A line under each picture."""


@dataclass(frozen=True)
class Cell:
    """A picture on a sheet and the lines underneath, each with its colour."""

    tile: Image.Image
    lines: Sequence[tuple[str, str]]
    edge: str = EDGE
    """Colour of the line around the picture."""
    edge_width: int = 1


def contact_sheet(pictures: Sequence[Image.Image], prompts: Sequence[str], seeds: Sequence[int],
                  pictures_per_prompt: int) -> Image.Image:
    """All pictures with their prompts underneath: a row a prompt, or a square where each prompt has one picture."""
    columns = pictures_per_prompt if pictures_per_prompt > 1 else ceil(sqrt(len(pictures)))
    cells = []
    for picture, prompt, seed in zip(pictures, prompts, seeds, strict=True):
        tile = _smooth(picture)
        said = _wrapped(prompt, tile.width, most=3)
        cells.append(Cell(tile, [*((line, INK) for line in said), (f"seed {seed}", PENCIL)]))
    return sheet([("", cells[first : first + columns]) for first in range(0, len(cells), columns)])


def comparison(columns: Sequence[Column], rows: Sequence[str]) -> Image.Image:
    """The same pictures by several methods: a column a method, a row a picture with its title above."""
    return sheet(
        [(title, [Cell(_smooth(column.pictures[row]), [(column.captions[row], PENCIL)]) for column in columns])
         for row, title in enumerate(rows)],
        [(column.name, column.note) for column in columns],
    )


def sheet(rows: Sequence[tuple[str, Sequence[Cell]]], heads: Sequence[tuple[str, str]] = ()) -> Image.Image:
    """Rows of pictures of one size; a row may have a title above it, and the columns names and notes on top."""
    columns = len(rows[0][1])
    width, height = rows[0][1][0].tile.size
    tops, y = [], MARGIN + (3 * LINE if heads else 0)
    for title, cells in rows:
        y += LINE + 8 if title else 0
        tops.append(y)
        y += height + 8 + LINE * max(len(cell.lines) for cell in cells) + GAP
    across = columns * (width + GAP) - GAP
    paper = Image.new("RGB", (2 * MARGIN + across, y - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(paper)
    for column, (name, note) in enumerate(heads):
        x = MARGIN + column * (width + GAP)
        draw.text((x, MARGIN - 6), name, INK, _font(22))
        draw.text((x, MARGIN + LINE + 4), note, PENCIL, _font(15))
    for (title, cells), top in zip(rows, tops, strict=True):
        if title:
            draw.text((MARGIN, top - LINE - 8), _wrapped(title, across, most=1)[0], INK, _font(15))
        for column, cell in enumerate(cells):
            x = MARGIN + column * (width + GAP)
            paper.paste(cell.tile, (x, top))
            edge = cell.edge_width
            draw.rectangle((x - edge, top - edge, x + width + edge - 1, top + height + edge - 1), outline=cell.edge,
                           width=edge)
            for number, (line, colour) in enumerate(cell.lines):
                draw.text((x, top + height + 8 + number * LINE), line, colour, _font(15))
    return paper


def _smooth(picture: Image.Image) -> Image.Image:
    """The picture at a size that can be looked at."""
    longer = max(picture.size)
    scale = min(max(longer, SMALLEST_SIDE), LARGEST_SIDE) / longer
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """The text in lines of at most ``width`` pixels; what does not fit in ``most`` lines ends in an ellipsis."""
    font = _font(15)
    lines: list[str] = []
    rest = _without_accents(" ".join(text.split())[:1000])
    while rest and len(lines) < most:
        fits = len(rest)
        last = len(lines) == most - 1
        while fits > 1 and font.getlength(_ended(rest, fits, last)) > width:
            fits -= 1
        if fits < len(rest) and not last and " " in rest[: fits + 1]:
            fits = rest[: fits + 1].rindex(" ")
        lines.append(_ended(rest, fits, last))
        rest = rest[fits:].lstrip()
    return lines


def _without_accents(text: str) -> str:
    """The text with plain letters for accented ones, of which Pillow's own font has none."""
    return "".join(character for character in normalize("NFKD", text) if category(character) != "Mn")


def _ended(text: str, length: int, last: bool) -> str:
    """The first letters of a text, with an ellipsis where it is cut for good."""
    return text[:length].rstrip() + ("…" if last and length < len(text) else "")
