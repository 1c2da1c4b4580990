"""What seconds come to: medians, and intervals that hold for the few values there are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coupled_decoding.evaluation.exactness.statistics import median_interval


@dataclass(frozen=True)
class Timed:
    """One draw of some items together."""

    seconds: float
    nfe: list[int]
    """Forwards of each item."""
    outside: float | None = None
    """Of the seconds, those that the method took outside the model; None where no trace tells them."""


@dataclass(frozen=True)
class Median:
    """A median and two of the values, between which the median of the law that drew them lies.

    The interval is that of order statistics: it holds for any law, also for the few values there are, with a
    probability that is known; resampling would come to about the same pair, and only for many values.
    """

    value: float
    low: float
    high: float
    probability: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Median:
        return cls(statistics.median(values), *median_interval(values))


@dataclass(frozen=True)
class Timings:
    """What one case took, in turn with others."""

    batches: Sequence[Sequence[Timed]]
    """Of each batch of items, the draws of each repetition."""

    @property
    def seconds(self) -> Median:
        """Seconds per item."""
        return Median.of(self._units(lambda batch, repetition: self._per_item(self.batches[batch][repetition])))

    @property
    def nfe(self) -> float:
        """Mean forwards per item; they are the same in each repetition."""
        return statistics.mean(count for repetitions in self.batches for count in repetitions[0].nfe)

    @property
    def outside(self) -> float | None:
        """The share of all seconds that the method took outside the model; None where nothing tells it."""
        every = [one for repetitions in self.batches for one in repetitions]
        outside = [one.outside for one in every if one.outside is not None]
        return sum(outside) / sum(one.seconds for one in every) if len(outside) == len(every) else None

    def times_faster(self, base: Timings) -> Median:
        """The seconds of another case divided by those of this one, in each round."""
        return Median.of(self._units(lambda batch, repetition: (
            base.batches[batch][repetition].seconds / self.batches[batch][repetition].seconds)))

    def _units(self, value: Callable[[int, int], float]) -> list[float]:
        """One value for each batch of items, the median of its repetitions; with a single batch, the repetitions.

        Repetitions of one batch resemble each other more than batches do: taken for independent they would promise too
        narrow an interval.
        """
        values = [[value(batch, repetition) for repetition in range(len(repetitions))]
                  for batch, repetitions in enumerate(self.batches)]
        return [statistics.median(one) for one in values] if len(values) > 1 else values[0]

    @staticmethod
    def _per_item(one: Timed) -> float:
        return one.seconds / len(one.nfe)
