"""Forwards by how drafts are made: as published, with the first draft predicted, and with branches beside the window.

    python -m benchmarks.drafts                 # writes docs/figures/drafts.json and docs/figures/drafts.md

Pictures of the prompts of benchmarks.nfe, without guidance and with a scale of 3, and clips that continue held-out
ones; the same seeds for every method, temperature 1, nothing cut. Methods stand together that read as many tokens per
forward: what is read is what a forward costs. Counts, so the machine need not be quiet; results are kept as they come,
a run that is cut off continues where it was, and the tables show as far as it has run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import torch
from tqdm import tqdm

import coupled_decoding as cd
from benchmarks import pages
from coupled_decoding.decoding.peers import PAC
from coupled_decoding.evaluation.bench import fingerprint, tables
from coupled_decoding.evaluation.bench.cases import Case, compared
from coupled_decoding.evaluation.bench.kept import Kept
from coupled_decoding.evaluation.bench.results import Measured
from coupled_decoding.evaluation.bench.running import count
from coupled_decoding.evaluation.bench.tables import Column
from coupled_decoding.evaluation.bench.work import ClipWork, PictureWork, Work
from data.held_out import CONTEXT, FRAMES, read_clips
from data.prompts import prompts

TREE = 18
"""Tokens of the tree of :class:`PAC`, as published."""
MODELS = {"picture": "emoji", "clip": "doom"}


@dataclass(frozen=True)
class Experiment:
    """One table: methods that read the same number of tokens per forward."""

    drawn: str
    tokens: int
    window: int
    """How many of the tokens are the window's where there are branches too."""
    guidance: float | None = None
    batch: int = 25
    guess: str = "uniform"
    """What ours starts from."""
    whole: bool = True
    """Else only the best of each kind, and what is compared with."""

    def cases(self) -> list[Case]:
        return [Case(method, cd.Sampling(), self.guidance, self.batch) for method in self.methods()]

    def methods(self) -> Iterator[cd.Method]:
        """Methods of others first, then ours, from simple to involved."""
        yield from compared(self.tokens) if self.whole else (cd.SCD(self.tokens), cd.SeedExact(self.tokens))
        yield PAC(self.tokens - TREE)
        for make in (cd.SCD, cd.SeedExact):
            if self.guess != "uniform":
                yield make(self.tokens, self.guess)
            if self.whole:
                yield make(self.tokens, self.guess, predict=True)
            yield make(self.window, self.guess, predict=True, branches=self.tokens - self.window)

    def columns(self, measured: Sequence[Measured]) -> list[Column[Measured]]:
        published = next((one for one in measured if one.case.decoder == cd.SCD(self.tokens)), None)
        fewer: Column[Measured] = Column("fewer than SCD", lambda one: (
            f"{published.counts.nfe / one.counts.nfe:.2f}" if published else ""))
        return [tables.option("method"), tables.option("window"), BRANCHES, tables.option("first_guess"), FIRST_DRAFT,
                tables.nfe("NFE (+- standard error)"), tables.RATIO, fewer, tables.SINGLE]


def tokens_beside(method: cd.Method) -> int:
    """Tokens that a forward reads beside the window."""
    return TREE if isinstance(method, PAC) else int(asdict(method).get("branches", 0))


BRANCHES: Column[Measured] = Column("branches", lambda one: str(
    tokens_beside(one.case.decoder) if isinstance(one.case.decoder, cd.Method) else 0))
FIRST_DRAFT: Column[Measured] = Column("first draft", lambda one: (
    "predicted" if one.case.options.get("predict") else "as published"))
EXPERIMENTS = (
    Experiment("picture", 64, 32, guidance=1.0),
    Experiment("picture", 64, 32, guidance=3.0, whole=False),
    Experiment("clip", 64, 48, batch=10, guess="previous-frame-distribution"),
    Experiment("picture", 128, 48, guidance=1.0, whole=False),
    Experiment("picture", 32, 16, guidance=1.0, whole=False),
)


@cache
def work_of(drawn: str, items: int) -> Work:
    if drawn == "picture":
        return PictureWork(cd.from_pretrained("emoji"), prompts(items))
    return ClipWork(cd.from_pretrained("doom"), [clip[:CONTEXT] for clip in read_clips(most=items)], FRAMES)


def main() -> None:
    parser = pages.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--clips", type=int, default=20)
    args = parser.parse_args()
    items = {"picture": args.pictures, "clip": args.clips}
    kept, said = Kept(pages.FIGURES / "drafts.json"), pages.made_with(pages.weights_of(*MODELS.values()))
    of = {drawn: {"model": fingerprint.of_model(model)} for drawn, model in MODELS.items()}
    results: dict[Experiment, list[Measured]] = {}
    for experiment, case in tqdm([(one, case) for one in EXPERIMENTS for case in one.cases()], desc="methods"):
        work = work_of(experiment.drawn, items[experiment.drawn])
        results.setdefault(experiment, []).append(count(work, case, kept, of[experiment.drawn]))
        pages.publish("drafts", report(results, said))
    print(report(results, said))


def report(results: Mapping[Experiment, Sequence[Measured]], made_with: str) -> str:
    lines = [
        "Every token that a forward reads counts. \"Fewer than SCD\" is against SCD-gumbel as published with as many "
        f"tokens per forward. Temperature 1, nothing cut; {made_with}",
    ]
    for experiment, measured in results.items():
        items = measured[0].items
        what = (f"{items} pictures, guidance {experiment.guidance:g}" if experiment.drawn == "picture"
                else f"{items} clips of {FRAMES} frames, {CONTEXT} of them given")
        lines += ["", f"### {what}, {experiment.tokens} tokens per forward", "",
                  tables.table(experiment.columns(measured), measured)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
