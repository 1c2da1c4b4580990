"""A draft for the position right after a commit, whose past has just changed.

Its label was made for another code before it, and holds only a third of the time, where later drafts hold nine times in
ten. Two things that are known by then predict it better: the average of the labels that the position has had, for
they came of several pasts, and what has followed the code just committed wherever the row had it before.

The draft is drawn with the position's own noise, and its label is the distribution that drew it: that is a function of
the model, of committed codes and of drafts at earlier positions, never of the noise of its own position, so
verification keeps the output exact (rules 1 and 2 of CONTRIBUTING.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from coupled_decoding.decoding.rules.chances import Chances
from coupled_decoding.decoding.rules.draw import race
from coupled_decoding.decoding.rules.memory import Memory
from coupled_decoding.decoding.rules.window import Window


def predicted(
    window: Window, memory: Memory, committed: Tensor, accepted: Tensor, token: Tensor, chances: Chances
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Redraw the first draft after what each row commits now.

    Args:
        window: with ``averages`` up to this step.
        memory: with the target distributions of this step.
        committed: LongTensor ``[R, room]``, the code at each generated index, -1 where the layout forces a
            token. What stands after the accepted drafts is not looked at.
        accepted, token: LongTensor ``[R]``, of the verification.
        chances: its ``followers`` and ``prior``.

    Returns:
        Where in the window, ``row`` and ``offset`` LongTensor ``[M]``, of rows that have such a draft; the drafts,
        LongTensor ``[M]``; and their labels ``[M, C]``.
    """
    after = accepted + 1
    offset = after.clamp(max=window.index.shape[1] - 1)
    row = torch.nonzero((after < window.size) & ~window.forced.gather(1, offset.unsqueeze(1)).squeeze(1)).squeeze(1)
    offset = offset[row]
    average = window.averages[row, offset]
    end = window.index[row, 0] + accepted[row]  # the generated index of ``token``
    known = _followers(memory, window.rows[row], committed[row], end, token[row], average.shape[-1])
    label = average * (known + chances.prior / average.shape[-1]).pow(chances.followers).to(average.dtype)
    label = label / label.sum(-1, keepdim=True)
    return row, offset, race(label, window.noise[row, offset]), label


def _followers(memory: Memory, rows: Tensor, committed: Tensor, end: Tensor, token: Tensor, codes: int) -> Tensor:
    """Sum of the target distributions right after each earlier ``token``, float32 ``[M, codes]``.

    Only those up to index ``end``: what was drawn from them is committed.
    """
    earlier = torch.arange(committed.shape[1], device=committed.device) < end.unsqueeze(1)
    which, index = torch.nonzero((committed == token.unsqueeze(1)) & earlier).unbind(1)
    kept, shares = memory.at(rows[which], index + 1)
    total = shares.new_zeros(len(rows) * codes)
    return total.index_add_(0, (which.unsqueeze(1) * codes + kept).flatten(), shares.flatten()).view(-1, codes)
