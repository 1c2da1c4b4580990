"""What rounds come to: medians, their intervals, and how many times faster one case is than another."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coupled_decoding.evaluation.bench.rounds import Round
from coupled_decoding.evaluation.exactness.statistics import median_interval


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


def units(values: Sequence[Sequence[float]]) -> list[float]:
    """One value for each batch of items, the median of its repetitions; with a single batch, the repetitions.

    Repetitions of one batch resemble each other more than batches do: taken for independent they would promise too
    narrow an interval.
    """
    return [statistics.median(one) for one in values] if len(values) > 1 else list(values[0])


def seconds_of(rounds: Sequence[Sequence[Round]], case: int) -> Median:
    """Seconds an item."""
    return Median.of(units([[one[case]["seconds"] / len(one[case]["nfe"]) for one in of_batch]
                            for of_batch in rounds]))


def times_faster(rounds: Sequence[Sequence[Round]], case: int, base: int) -> Median:
    """The seconds of ``base`` divided by those of ``case``, in each round."""
    return Median.of(units([[one[base]["seconds"] / one[case]["seconds"] for one in of_batch] for of_batch in rounds]))


def share_outside(rounds: Sequence[Sequence[Round]], case: int) -> float | None:
    """The share of all seconds that the method took outside the model; None where nothing tells it."""
    own = [one[case] for of_batch in rounds for one in of_batch]
    if any("outside" not in one for one in own):
        return None
    return sum(one["outside"] for one in own) / sum(one["seconds"] for one in own)


def report(
    rounds: Sequence[Sequence[Round]], titles: Sequence[str], what: str, bases: Mapping[str, int], where: str
) -> str:
    """A table in Markdown.

    Args:
        titles: of the cases, in their order.
        what: one item in words, such as ``"picture"``; each was drawn alone.
        bases: in words, and the case of that number: what the others are compared with.
        where: the machine in words.
    """
    share = seconds_of(rounds, 0).probability
    lines = [
        f"{len(rounds)} {what}s, one at a time. {where}. Intervals hold the median of all such {what}s with "
        f"probability {share:.0%}.",
        "",
        f"| method | NFE | seconds a {what} (median) | "
        + "".join(f"times faster than {base} (median, interval) | " for base in bases).strip(),
        "| --- " * (3 + len(bases)) + "|",
    ]
    for case, title in enumerate(titles):
        nfe = statistics.mean(count for of_batch in rounds for count in of_batch[0][case]["nfe"])
        ratios = [times_faster(rounds, case, base) for base in bases.values()]
        cells = [title, f"{nfe:.1f}", f"{seconds_of(rounds, case).value:.2f}",
                 *(f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" for ratio in ratios)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
