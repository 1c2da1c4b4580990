"""Checks of what callers of ``decode`` give, each refusal one sentence."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from numbers import Integral
from operator import index

import torch
from torch import Tensor

from coupled_decoding.decoding.layout import Layout, as_slice

MAX_SEED = 2**63 - 1


def check_whole(name: str, value: object, least: int = 1, hint: str = "") -> None:
    """ValueError where a value is no whole number, of any integral type, of at least ``least``.

    ``hint`` ends the sentence: what else could be given.
    """
    if not isinstance(value, Integral) or index(value) < least:
        raise ValueError(f"{name} is {value}: give a whole number of at least {least}{hint}")


def check_window(window: object) -> None:
    """ValueError where a window is no whole number of at least 1."""
    if window == "auto":
        raise ValueError("window is 'auto': what a seed gives would depend on the machine's speed; give a whole "
                         "number, or SeedExact, whose output does not depend on the window")
    check_whole("window", window)


def lengths_of(length: int | Sequence[int], batch: int) -> list[int]:
    """One length per row."""
    if batch == 0:
        raise ValueError("the session has no rows: read in at least one prompt")
    lengths = [int(length)] * batch if isinstance(length, (int, Integral)) else [index(n) for n in length]
    if len(lengths) != batch:
        raise ValueError(f"length has {len(lengths)} entries: give one number, or one for each of {batch} rows")
    if min(lengths) < 1:
        raise ValueError(f"length is {min(lengths)}: give at least 1")
    return lengths


def layouts_of(layout: Layout | Sequence[Layout] | None, lengths: list[int], vocab_size: int) -> list[Layout]:
    """One layout per row; None is any token anywhere."""
    if layout is None:
        layout = Layout.free(max(lengths), vocab_size)
    layouts = [layout] * len(lengths) if isinstance(layout, Layout) else list(layout)
    if len(layouts) != len(lengths):
        raise ValueError(f"{len(layouts)} layouts: give one, or one for each of {len(lengths)} rows")
    distinct = {id(one): one for one in layouts}.values()  # most batches share one
    largest = max(max(int(one.codes[-1]), int(one.forced.max())) for one in distinct)
    if largest >= vocab_size:
        raise ValueError(f"the layout names token {largest}: the session has ids 0 to {vocab_size - 1}")
    return layouts


def seeds_of(seed: int | Sequence[int] | None, batch: int) -> list[int]:
    """One seed per row: ``seed + i`` for an int, drawn from the system for None."""
    if seed is None:
        seeds = [secrets.randbelow(MAX_SEED + 1) for _ in range(batch)]
    elif isinstance(seed, (int, Integral)):
        seeds = [int(seed) + row for row in range(batch)]
    else:
        seeds = [index(one) for one in seed]
    if len(seeds) != batch:
        raise ValueError(f"{len(seeds)} seeds: give one number, or one for each of {batch} rows")
    for row, one in enumerate(seeds):
        if not 0 <= one <= MAX_SEED:
            raise ValueError(f"seed is {one} in row {row}: give whole numbers from 0 to 2^63 - 1")
    return seeds


def drawable_of(codes: Tensor, output_codes: Tensor | None) -> slice | Tensor:
    """Which of a session's logits are of drawable codes; a slice where they are neighbours, which copies nothing.

    ``output_codes`` are the ids that the session gives logits of, increasing; None: all ids in order.
    """
    if output_codes is None:
        drawable = codes
    else:
        drawable = torch.searchsorted(output_codes, codes).clamp(max=len(output_codes) - 1)
        missing = output_codes[drawable] != codes
        if missing.any():
            raise ValueError(f"the layout may draw token {int(codes[missing][0])}, which the session's output_codes "
                             "leave out")
    return as_slice(drawable)
