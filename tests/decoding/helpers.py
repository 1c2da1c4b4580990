"""Shared by the tests of the decoding core: statistics, small models whose law is known, and a wide model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_decoding import Layout, Method, Sampling, SessionBase, decode
from coupled_decoding.decoding.noise import exponentials
from coupled_decoding.decoding.rules.window import Learned, Window
from coupled_decoding.evaluation.exactness.statistics import chi_square_p_value, count_sequences
from coupled_decoding.evaluation.exactness.tabular import TabularSession

SUITE_FALSE_ALARM = 1e-6
"""How often the whole suite may fail though everything is right, if all its seeds were drawn anew."""
COMPARISONS = 1000
"""More than the suite makes: 43 exactness configurations of up to 4 kinds of row, 32 examples of up to 7 coupling
laws, and about 100 others."""
TAIL = 1000
"""So far out, a chi-square over cells of at least ``LEAST`` expected counts is optimistic: at a nominal 1e-12 the true
rate was computed (sums of Poisson cells) as up to 1.6e-10. Wrong versions fail by hundreds of orders of magnitude."""
THRESHOLD = SUITE_FALSE_ALARM / COMPARISONS / TAIL  # 1e-12
LEAST = 50.0


def p_value(counts: Tensor, law: Tensor) -> float:
    return chi_square_p_value(counts, law.double(), least=LEAST)


def assert_agrees(counts: Tensor, law: Tensor) -> None:
    """Counts are drawn from the law, impossible cells empty."""
    assert int(counts[law == 0].sum()) == 0
    assert p_value(counts, law) > THRESHOLD


# -- models whose joint law can be written down ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of row in a batch: its prompt, what its stream looks like, its length, and what it starts from."""

    prompt: int
    layout: Layout
    length: int
    given: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Scenario:
    """Kinds of rows that are decoded together, in turns."""

    vocab_size: int
    kinds: Sequence[Kind]
    scale: float = 1.5

    def session(self, batch: int, dtype: torch.dtype = torch.float64) -> TabularSession:
        prompts = torch.tensor([self.kind_of(row).prompt for row in range(batch)])
        depth = max(kind.length for kind in self.kinds)
        return TabularSession.random(self.vocab_size, depth, prompts, seed=20, dtype=dtype, scale=self.scale)

    def kind_of(self, row: int) -> Kind:
        return self.kinds[row % len(self.kinds)]


def _legal_layouts() -> list[Layout]:
    """Sets of codes that change from index to index; the second stream has a forced token that is also a code."""
    legal = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 1]], dtype=torch.bool)
    above = torch.tensor([-1, -1, 0, 1, 2])
    free, forced = torch.full((5,), -1), torch.tensor([-1, -1, 3, -1, -1])
    return [
        Layout(torch.arange(4), free, above, legal=legal, legal_set=torch.tensor([0, 1, 2, 0, 1])),
        Layout(torch.arange(4), forced, above, legal=legal, legal_set=torch.tensor([1, 2, 0, 2, 0])),
    ]


_FREE = Layout.free(5, 3)
_CODES = torch.tensor([1, 2, 4])
_GRIDS = [
    Layout.grid(height, width, _CODES, row_end=0, prefix=[3], suffix=[3]) for height, width in [(2, 2), (1, 3), (3, 1)]
]
_LEGAL = _legal_layouts()

SCENARIOS = {
    "free": Scenario(3, [Kind(0, _FREE, 5), Kind(1, _FREE, 5), Kind(2, _FREE, 3)]),
    # two prompts, grids of three shapes, and a row that ends in the middle of its grid
    "grid": Scenario(5, [Kind(0, _GRIDS[0], 8), Kind(1, _GRIDS[1], 6), Kind(1, _GRIDS[2], 8), Kind(0, _GRIDS[0], 6)]),
    "legal": Scenario(4, [Kind(0, _LEGAL[0], 5), Kind(1, _LEGAL[1], 5), Kind(1, _LEGAL[0], 4)]),
    # peaked models, on which wrong versions show soonest
    "short": Scenario(3, [Kind(prompt, Layout.free(4, 3), 4) for prompt in (0, 1)], scale=2.0),
    "many codes": Scenario(6, [Kind(prompt, Layout.free(3, 6), 3) for prompt in (0, 1)], scale=2.0),
    # frames of two codes and of one; a row that goes on from two frames, as clips do
    "clip": Scenario(3, [
        Kind(0, Layout.clip(3, 1, 2, 3), 6), Kind(1, Layout.clip(5, 1, 1, 3), 5),
        Kind(0, Layout.clip(3, 2, 1, 3), 6, (2, 1)),
    ]),
    "given": Scenario(3, [Kind(0, _FREE, 5, (2, 1)), Kind(1, _FREE, 5), Kind(2, _FREE, 4, (0,))]),
}


def law_of(session: TabularSession, kind: Kind, sampling: Sampling) -> Tensor:
    """The law of a kind's sequences; conditional on its given tokens, if it has some."""
    law = session.joint_law(kind.prompt, kind.length, sampling, kind.layout)
    if kind.given:
        condition = torch.zeros_like(law)
        condition[kind.given] = law[kind.given] / law[kind.given].sum()
        law = condition
    return law


def counts_and_laws(
    scenario: Scenario,
    method: Method,
    sampling: Sampling,
    draws: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
    batch: int = 20_000,
) -> list[tuple[Tensor, Tensor]]:
    """Decode ``draws`` rows; for each kind of row, how often every sequence came, and how probable it is."""
    session = scenario.session(batch, dtype)
    kinds = [scenario.kind_of(row) for row in range(batch)]
    given_of = [torch.tensor(kind.given, dtype=torch.long) for kind in scenario.kinds]
    given = [given_of[row % len(given_of)] for row in range(batch)]
    counts: list[Tensor | None] = [None] * len(scenario.kinds)
    for first in range(0, draws, batch):
        tokens = decode(
            session, [kind.length for kind in kinds], method=method, sampling=sampling,
            layout=[kind.layout for kind in kinds], seed=seed + first,
            given=given if any(kind.given for kind in kinds) else None,
        ).tokens
        for k, kind in enumerate(scenario.kinds):
            new = count_sequences(tokens[k :: len(counts), : kind.length], scenario.vocab_size)
            old = counts[k]
            counts[k] = new if old is None else old + new
    return [
        (count, law_of(session, kind, sampling))
        for count, kind in zip(counts, scenario.kinds, strict=True) if count is not None
    ]


# -- a model of many codes and any length ------------------------------------------------------------------------------


class ChainSession(SessionBase):
    """Logits that depend on the token before, the index and the prompt: as many codes and tokens as a test wants."""

    reads_branches = True

    def __init__(self, vocab_size: int, prompts: Tensor, dtype: torch.dtype = torch.float32, seed: int = 5) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.vocab_size, self.prompts = vocab_size, prompts
        self.last_token = prompts % vocab_size
        self.last_position = prompts + 3
        self.after = 1.5 * torch.randn(vocab_size, vocab_size, generator=generator, dtype=dtype)
        self.at = torch.randn(101, vocab_size, generator=generator, dtype=dtype)

    def forward(
        self, tokens: Tensor, positions: Tensor, rows: Tensor | None = None, parents: Tensor | None = None
    ) -> Tensor:
        prompts = (self.prompts if rows is None else self.prompts[rows]).unsqueeze(1)
        return self.after[tokens] + self.at[(7 * positions + 3 * prompts) % len(self.at)]

    def keep(self, which: Tensor, slots: Tensor) -> None:
        """Nothing is remembered."""


def window_of(label: Tensor, count: int, seed: int = 0, visit: int = 0) -> Window:
    """``count`` rows of one position each, whose drafts were drawn from ``label`` ``[C]`` with the position's noise."""
    seeds = seed * 10**9 + torch.arange(count)
    noise = exponentials(seeds, torch.zeros_like(seeds), torch.arange(len(label))).unsqueeze(1)  # [R, 1, C]
    labels = label.expand(count, 1, -1)
    return Window(
        rows=torch.arange(count),
        seeds=seeds,
        visit=torch.full((count,), visit),
        index=torch.zeros(count, 1, dtype=torch.long),
        size=torch.full((count,), 2),
        forced=torch.zeros(count, 1, dtype=torch.bool),
        drafts=(noise / labels).argmin(-1),
        noise=noise,
        learned=Learned(labels),
    )
