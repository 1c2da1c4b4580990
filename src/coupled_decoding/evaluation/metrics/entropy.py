"""How sharp the distributions are that a model draws from."""

from __future__ import annotations

import torch
from torch import Tensor

from coupled_decoding.decoding.session import Session


@torch.no_grad()
def mean_entropy(session: Session, tokens: Tensor) -> Tensor:
    """Mean nats of a session's distributions along given streams, LongTensor ``[B, length]``: ``[B]``.

    The distributions are those of the logits as they are, at temperature 1. Takes one forward.
    """
    fed = torch.cat([session.last_token.unsqueeze(1), tokens[:, :-1]], 1)
    index = torch.arange(fed.shape[1], device=fed.device)
    logits = session.forward(fed, session.last_position.unsqueeze(1) + index)
    return torch.distributions.Categorical(logits=logits).entropy().mean(1)
