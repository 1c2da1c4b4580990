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


def lengths_of(length: int | Sequence[int], batch: int) -> list[int]:
    """One length a row."""
    if batch == 0:
        raise ValueError("the session has no rows: read in at least one prompt")
    lengths = [int(length)] * batch if isinstance(length, (int, Integral)) else [index(n) for n in length]
    if len(lengths) != batch:
        raise ValueError(f"length has {len(lengths)} entries: give one number, or one for each of {batch} rows")
    if min(lengths) < 1:
        raise ValueError(f"length is {min(lengths)}: give at least 1")
    return lengths


def layouts_of(layout: Layout | Sequence[Layout] | None, lengths: list[int], vocab_size: int) -> list[Layout]:
    """One layout a row; None is any token anywhere."""
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
    """One seed a row: ``seed + i`` for an int, drawn from the system for None."""
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


def columns_of(codes: Tensor, output_codes: Tensor | None) -> slice | Tensor:
    """Where the drawable codes stand in a session's logits; a slice where they are neighbours, which copies nothing.

    ``output_codes`` are the ids that the logits' columns stand for, None for all ids in order.
    """
    if output_codes is None:
        columns = codes
    else:
        columns = torch.searchsorted(output_codes, codes).clamp(max=len(output_codes) - 1)
        missing = output_codes[columns] != codes
        if missing.any():
            raise ValueError(f"the layout may draw token {int(codes[missing][0])}, which the session's output_codes "
                             "leave out")
    return as_slice(columns)
