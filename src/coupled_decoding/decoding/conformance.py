"""A test that anyone's session can be put through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coupled_decoding.decoding.session import Session


class ContractError(ValueError):
    """A session does not keep the contract of :class:`coupled_decoding.Session`; the sentence says where."""


DECLARED = (
    "vocab_size", "output_codes", "last_token", "last_position", "reads_branches", "refills", "costs", "forward",
)
"""What every session has."""
LONG = 512
"""Tokens of the longest window of the check: it runs past the end of any prompt."""


def check_session(session: Session, tolerance: float = 1e-4, seed: int = 0) -> None:
    """Check that a session keeps the contract of :class:`coupled_decoding.Session`; raises ContractError if not.

    Feeds it random tokens and compares the logits: single tokens against windows, after stale drafts, with padding past
    the end, for some of the rows, and asked again; and branches, of a session that reads them. The session must have
    room for at least six tokens after its prompts.

    Args:
        tolerance: largest difference of two logits that counts as equal; the arithmetic may depend on the shape.
        seed: of the random tokens.
    """
    missing = [name for name in DECLARED if not hasattr(session, name)]
    _require(not missing, f"it has no {', '.join(missing)} (coupled_decoding.SessionBase gives what most do not need)")
    batch, device = len(session.last_token), session.last_token.device
    _require(session.last_token.shape == (batch,) and session.last_position.shape == (batch,),
             "last_token and last_position must have one entry for each row")
    codes = session.output_codes
    columns = session.vocab_size if codes is None else len(codes)
    generator = torch.Generator().manual_seed(seed)
    pool = torch.arange(session.vocab_size) if codes is None else codes.cpu()
    drawn = pool[torch.randint(len(pool), (2, batch, 6), generator=generator)].to(device)
    tokens = torch.cat([session.last_token.unsqueeze(1), drawn[0, :, :5]], 1)
    drafts = torch.cat([session.last_token.unsqueeze(1), drawn[1, :, :5]], 1)
    positions = session.last_position.unsqueeze(1) + torch.arange(6, device=device)

    one_by_one = torch.cat([session.forward(tokens[:, t : t + 1], positions[:, t : t + 1]) for t in range(6)], 1)
    _require(one_by_one.shape == (batch, 6, columns),
             f"logits have shape {tuple(one_by_one.shape)}, expected {(batch, 6, columns)}")
    _require(one_by_one.dtype in (torch.float32, torch.float64),
             f"logits are {one_by_one.dtype}, expected float32 or float64")

    def agree(logits: Tensor, expected: Tensor, what: str) -> None:
        difference = float((logits - expected).abs().max())
        _require(difference <= tolerance, f"{what}: logits differ by {difference:.3g}, more than {tolerance:.3g}")

    agree(session.forward(tokens, positions), one_by_one, "a window against single tokens")
    session.forward(drafts, positions)
    agree(session.forward(tokens, positions), one_by_one, "after other drafts were read at the same positions")
    session.forward(drafts[:, 1:], positions[:, 1:])
    agree(session.forward(tokens[:, :3], positions[:, :3]), one_by_one[:, :3], "before stale entries")
    mixed = torch.cat([tokens[:, :3], drafts[:, 3:]], 1)
    agree(session.forward(mixed, positions)[:, :3], one_by_one[:, :3], "with other tokens behind")
    beyond = session.last_position.unsqueeze(1) + torch.arange(LONG, device=device)
    long = torch.cat([tokens, tokens[:, -1:].expand(-1, LONG - 6)], 1)
    agree(session.forward(long, beyond)[:, :6], one_by_one, "with padding far past the end")
    for row in range(batch):
        rows = torch.tensor([row], device=device)
        agree(session.forward(tokens[rows], positions[rows], rows), one_by_one[rows], f"row {row} alone")
    agree(session.forward(tokens, positions), one_by_one, "asked again")
    if session.reads_branches:
        _check_branches(session, tokens, drafts, positions, None, agree)
        if batch > 1:
            some = torch.arange(1, batch, device=device)
            _check_branches(session, tokens[some], drafts[some], positions[some], some, agree)


def _check_branches(
    session: Session, tokens: Tensor, drafts: Tensor, positions: Tensor, rows: Tensor | None,
    agree: Callable[[Tensor, Tensor, str], None],
) -> None:
    """Two branches of a window of three tokens against windows of the same tokens; one of them is kept."""
    paths = [tokens[:, :4], torch.cat([tokens[:, :1], drafts[:, 1:4]], 1),
             torch.cat([tokens[:, :2], drafts[:, 2:4]], 1)]
    window, long, short = [session.forward(path, positions[:, :4], rows) for path in paths]

    # the long branch follows slot 0 and is two tokens, slots 3 and 5; the short one follows slot 1
    fed = torch.cat([tokens[:, :3], drafts[:, [1, 2, 2]]], 1)
    at = positions[:, [0, 1, 2, 1, 2, 2]]
    parents = torch.tensor([[0, 1, 3]], device=tokens.device).expand(len(tokens), -1)
    logits = session.forward(fed, at, rows, parents)
    agree(logits[:, :3], window[:, :3], "a window with branches")
    agree(logits[:, [3, 5]], long[:, 1:3], "a branch of two tokens")
    agree(logits[:, 4:5], short[:, 2:3], "a branch of one token")
    which = torch.arange(len(tokens), device=tokens.device)
    session.keep(which.repeat(2), torch.tensor([3, 5], device=tokens.device).repeat_interleave(len(tokens)))
    agree(session.forward(drafts[:, 3:4], positions[:, 3:4], rows), long[:, 3:4], "behind a branch that was kept")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ContractError(f"the session breaks its contract: {sentence}")
