"""A draft for the position right behind a commit, whose past has just changed.

Its label was made for another code before it, and holds only a third of the time, where later drafts hold nine times in
ten. Two things that are known by then foretell it better: the average of the labels that the position has had, for
they came of several pasts, and what has followed the code just committed wherever the row had it before.

The draft is drawn with the position's own noise, and its label is the distribution that drew it: that is a function of
the model, of committed codes and of drafts at earlier positions, never of the noise of its own position, so
verification keeps the output exact (rules 1 and 2 of CONTRIBUTING.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.window import Window

NEWEST = 0.4
"""Weight of the newest label in a position's average."""
FOLLOWERS = 0.5
"""Exponent of what has followed the committed code: labels know some of it already."""
PRIOR = 0.3
"""Times that any code is taken to have followed a code, all together, before anything is known."""


def predicted(
    window: Window, memory: Memory, committed: Tensor, accepted: Tensor, token: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Redraw the first draft behind what each row commits now.

    Args:
        window: with ``averages`` up to this step.
        memory: with the target distributions of this step.
        committed: LongTensor ``[R, room]``, column of the code at each generated index, -1 where the layout forces a
            token. What stands behind the accepted drafts is not looked at.
        accepted, token: LongTensor ``[R]``, of the verification.

    Returns:
        The places in the window, ``row`` and ``offset`` LongTensor ``[M]``, of rows that have such a draft; the
        drafts, LongTensor ``[M]``; and their labels ``[M, C]``.
    """
    assert window.averages is not None
    behind = accepted + 1
    place = behind.clamp(max=window.index.shape[1] - 1)
    row = torch.nonzero((behind < window.size) & ~window.forced.gather(1, place.unsqueeze(1)).squeeze(1)).squeeze(1)
    offset = place[row]
    average = window.averages[row, offset]
    end = window.index[row, 0] + accepted[row]  # the generated index of ``token``
    known = _followers(memory, window.rows[row], committed[row], end, token[row], average.shape[-1])
    label = average * (known + PRIOR / average.shape[-1]).pow(FOLLOWERS).to(average.dtype)
    label = label / label.sum(-1, keepdim=True)
    return row, offset, race(label, window.noise[row, offset]), label


def _followers(memory: Memory, rows: Tensor, committed: Tensor, end: Tensor, token: Tensor, codes: int) -> Tensor:
    """Sum of the target distributions right behind each earlier ``token``, float32 ``[M, codes]``.

    Only those up to index ``end``: what was drawn from them is committed.
    """
    earlier = torch.arange(committed.shape[1], device=committed.device) < end.unsqueeze(1)
    which, index = torch.nonzero((committed == token.unsqueeze(1)) & earlier).unbind(1)
    columns, shares = memory.columns[rows[which], index + 1], memory.shares[rows[which], index + 1]
    total = shares.new_zeros(len(rows) * codes)
    return total.index_add_(0, (which.unsqueeze(1) * codes + columns).flatten(), shares.flatten()).view(-1, codes)
