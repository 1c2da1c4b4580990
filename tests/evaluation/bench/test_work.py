"""Pictures and clips as benchmarks draw them, and transformers' ``generate`` as a peer that draws from the same law."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import coupled_decoding as cd
from coupled_decoding.evaluation.bench import fingerprint
from coupled_decoding.evaluation.bench.cases import Case
from coupled_decoding.evaluation.bench.running import summarise
from coupled_decoding.evaluation.bench.transformers_generate import Generate, LegalCodes, check_generates, generation
from coupled_decoding.evaluation.bench.work import ClipWork, PictureWork
from coupled_decoding.pipelines.pictures import PicturePipeline

PROMPTS = ["a cat", "a very red heart", "b"]
GREEDY = cd.Sampling(temperature=0)


@pytest.fixture(scope="module")
def pipe(tiny_emoji: Path) -> PicturePipeline:
    return cd.from_pretrained(tiny_emoji, dtype="float64")


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_generate_has_the_distribution_of_the_session(pipe: PicturePipeline, cache: str, guidance: float) -> None:
    """Its likeliest tokens are ours: prompts of three lengths in a batch, guidance, legal codes."""
    session = pipe.model.session(PROMPTS, guidance, pipe.model.size)
    tokens = generation(session, pipe.layout, cache, GREEDY, seed=0)()  # type: ignore[arg-type]
    assert torch.equal(tokens, pipe(PROMPTS, method=cd.AR(), sampling=GREEDY, guidance_scale=guidance).tokens)


def test_generate_draws_by_seed(pipe: PicturePipeline) -> None:
    session = pipe.model.session(PROMPTS, 1.0, pipe.model.size)
    draws = [generation(session, pipe.layout, "dynamic", cd.Sampling(top_k=5), seed)() for seed in (0, 0, 1)]  # type: ignore[arg-type]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_legal_codes_of_a_layout_with_forced_tokens() -> None:
    layout = cd.Layout.grid(1, 2, torch.tensor([3, 5]), row_end=7)
    legal = LegalCodes(layout, 9, prompt=1, device=torch.device("cpu"))
    possible = [legal(torch.zeros(1, 1 + index), torch.zeros(1, 9)).isfinite()[0].nonzero().flatten().tolist()
                for index in range(3)]
    assert possible == [[3, 5], [3, 5], [7]]


def test_models_without_generate_are_named(tiny_doom: Path) -> None:
    pipe = cd.from_pretrained(tiny_doom)
    with pytest.raises(ValueError, match="has no generate"):
        check_generates(pipe.model.session(torch.zeros(1, 16, dtype=torch.long), 2, None))


def test_pictures_do_not_depend_on_the_batch(pipe: PicturePipeline) -> None:
    work = PictureWork(pipe, PROMPTS, seed=3)
    counts = [summarise(work, Case(cd.SCD(4), cd.Sampling(), 1.0, batch)) for batch in (1, 2, 3)]
    assert counts[0] == counts[1] == counts[2]
    nfe = pipe(PROMPTS, method=cd.SCD(4), sampling=cd.Sampling(), seed=3).trace.nfe
    assert counts[0].nfe == pytest.approx(float(nfe.double().mean()))
    assert work.named([1]) == [["a very red heart", 4]]


def test_a_peer_is_drawn_and_warmed_up(pipe: PicturePipeline) -> None:
    work = PictureWork(pipe, PROMPTS[:1])
    work.check_generates()
    for decoder in (Generate("dynamic"), cd.SCD(4)):
        work.warm_up(Case(decoder, cd.Sampling(), 1.0))
    assert work.ready(Case(Generate("dynamic"), cd.Sampling(), 1.0), [0])() is None


def test_only_compiled_cases_run_what_was_compiled(tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside them AR and generate run as they are, though they share the model; tokens are the same."""
    calls = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        return lambda *inputs: (calls.append(1), graph(*inputs))[1]

    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **how: compile_with(module, backend=backend, **how))
    work = PictureWork(cd.from_pretrained(tiny_emoji, dtype="float64"), PROMPTS[:1])
    cases = [Case(decoder, cd.Sampling(), 1.0, compiled=compiled)
             for decoder, compiled in [(cd.SCD(4), True), (cd.SCD(4), False), (Generate("dynamic"), False)]]
    traces, counts = [], []
    for case in cases:
        traces.append(work.ready(case, [0])())
        counts.append(len(calls))
    assert 0 < counts[0] == counts[1] == counts[2]
    assert traces[0] is not None
    assert traces[1] is not None
    assert torch.equal(traces[0].committed, traces[1].committed)


def test_clips_go_on_from_their_context(tiny_doom: Path) -> None:
    pipe = cd.from_pretrained(tiny_doom)
    contexts = [[Image.new("RGB", (16, 16), colour)] * 2 for colour in ("red", "navy")]
    work = ClipWork(pipe, contexts, num_frames=4)
    assert work.length == work.layout.length == 2 * 4
    assert summarise(work, Case(cd.AR(), cd.Sampling())).nfe == 8
    assert work.named([0, 1]) == [[fingerprint.of_frames(clip), 4, seed] for seed, clip in enumerate(contexts)]
    with pytest.raises(ValueError, match="without transformers' generate"):
        work.ready(Case(Generate("dynamic"), cd.Sampling()), [0])
