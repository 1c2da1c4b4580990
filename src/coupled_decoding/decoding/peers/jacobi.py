"""Plain Jacobi decoding."""

from __future__ import annotations

from dataclasses import dataclass

from coupled_decoding.decoding.methods import SeedExact
from coupled_decoding.decoding.sampling import Sampling


@dataclass(frozen=True)
class Jacobi(SeedExact):
    """Greedy decoding by fixed-point iteration (arXiv 2305.10427; Song et al., ICML 2021): lossy under sampling.

    Each draft is the argmax of its position's last distribution, and stands where the new argmax is the same. That is
    :class:`coupled_decoding.SeedExact` at temperature 0, and so it is built: whatever sampling is asked for, the output
    is that of greedy AR, legal codes applied, and no seed changes it.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_as_published()

    @property
    def lossless(self) -> bool:
        return False

    def sampling(self, asked: Sampling) -> Sampling:
        return Sampling(temperature=0)
