"""Experiments with drafts: that methods compare, and that what is counted is what decoding does."""

from __future__ import annotations

from pathlib import Path

import coupled_decoding as cd
from benchmarks import drafts, first_draft


def test_methods_of_a_table_read_as_many_tokens() -> None:
    for experiment in drafts.EXPERIMENTS:
        for method in experiment.methods():
            assert method.window + drafts.tokens_beside(method) == experiment.tokens


def test_a_published_draft_is_accepted_where_its_label_puts_the_true_code_first(tiny_emoji: Path) -> None:
    pipe = cd.from_pretrained(tiny_emoji, dtype="float64")
    texts = ["a heart", "pizza"]
    watch = first_draft.watched(pipe, texts, None, seed=3)
    trace = pipe(texts, method=cd.SeedExact(first_draft.WINDOW), seed=3).trace
    later = trace.committed[1:]  # before the first step there is no commit
    accepted = int((later > 1).sum())
    published = watch.places["newest label (as published)"]
    assert len(published) == int((later > 0).sum())
    # a window of a single position has no draft that could be accepted
    assert accepted <= published.count(1) <= accepted + len(texts)
    assert len({len(places) for places in watch.places.values()}) == 1
    assert first_draft.report(watch.places, 2, "").count("\n| ") == 2 + len(watch.places)
