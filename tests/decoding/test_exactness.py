"""The heart: what every method decodes follows the model's joint law, and wrong versions of the method do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from coupled_decoding import AR, SCD, SJD, Method, Sampling, SeedExact
from coupled_decoding.decoding import methods, step
from coupled_decoding.decoding.noise import Purpose, uniforms
from coupled_decoding.decoding.rules import (
    branches,
    coupling,
    following,
    guesses,
    memory,
    prediction,
    verification,
    window,
)
from coupled_decoding.decoding.rules.chances import Chances
from coupled_decoding.decoding.rules.coupling import COUPLINGS
from coupled_decoding.decoding.rules.draw import accepts, inverse_cdf, race, residual_draw
from coupled_decoding.decoding.rules.guesses import GUESSES, Entering
from coupled_decoding.decoding.rules.window import Window
from tests.decoding.helpers import SCENARIOS, THRESHOLD, assert_agrees, counts_and_laws, p_value

DRAWS = 200_000

SAMPLINGS = {
    "none": Sampling(),
    "top_k": Sampling(top_k=2),
    "top_p": Sampling(top_p=0.7),
    "cool": Sampling(temperature=0.7),
    "all": Sampling(temperature=0.7, top_k=3, top_p=0.9),
}

# Together these cover each method with every first guess, with windows 2, 3 and 5, with and without top-k, and in every
# scenario; and each first guess with windows 2, 3 and 5, and with and without top-k.
CONFIGURATIONS: list[tuple[Method, str, str]] = [
    (AR(), "free", "none"),
    (AR(), "legal", "all"),
    (SJD(2, "uniform"), "free", "top_k"),
    (SJD(3, "random"), "grid", "none"),
    (SJD(5, "repeat"), "legal", "cool"),
    (SJD(3, "above"), "grid", "top_k"),
    (SCD(3, "uniform", "maximal"), "legal", "top_k"),
    (SCD(5, "random", "maximal"), "free", "none"),
    (SCD(2, "repeat", "maximal"), "grid", "top_k"),
    (SCD(5, "above", "maximal"), "grid", "none"),
    (SCD(5, "uniform", "gumbel"), "grid", "none"),
    (SCD(2, "random", "gumbel"), "legal", "top_k"),
    (SCD(3, "repeat", "gumbel"), "free", "none"),
    (SCD(2, "above", "gumbel"), "legal", "top_p"),
    (SeedExact(3, "uniform"), "free", "none"),
    (SeedExact(5, "random"), "grid", "top_k"),
    (SeedExact(2, "repeat"), "legal", "none"),
    (SeedExact(5, "above"), "legal", "all"),
    (SCD(3, "uniform", "gumbel"), "given", "none"),
    (SJD(3, "previous-frame"), "clip", "top_k"),
    (SCD(5, "previous-frame", "maximal"), "clip", "none"),
    (SCD(2, "previous-frame", "gumbel"), "clip", "top_k"),
    (SeedExact(5, "previous-frame"), "clip", "none"),
    (SJD(5, "previous-frame-distribution"), "clip", "none"),
    (SCD(3, "previous-frame-distribution", "maximal"), "clip", "top_k"),
    (SCD(5, "previous-frame-distribution", "maximal"), "clip", "none"),
    (SCD(2, "previous-frame-distribution", "gumbel"), "clip", "top_p"),
    (SCD(5, "previous-frame-distribution", "gumbel"), "clip", "none"),
    (SeedExact(3, "previous-frame-distribution"), "clip", "top_k"),
    (SCD(5, "uniform", "maximal", predict=True), "free", "top_k"),
    (SCD(3, "random", "maximal", predict=True), "given", "none"),
    (SCD(5, "repeat", "gumbel", predict=True), "grid", "none"),
    (SCD(5, "previous-frame-distribution", "gumbel", predict=True), "clip", "top_k"),
    (SeedExact(5, "above", predict=True), "legal", "none"),
    (SCD(3, "uniform", "gumbel", branches=3), "free", "none"),
    (SCD(5, "uniform", "gumbel", predict=True, branches=8), "grid", "none"),
    (SCD(5, "repeat", "gumbel", branches=20), "legal", "all"),
    (SCD(3, "uniform", "gumbel", predict=True, branches=2), "many codes", "none"),
    (SCD(5, "previous-frame-distribution", "gumbel", branches=5), "clip", "none"),
    (SeedExact(3, "uniform", branches=3), "legal", "none"),
    (SeedExact(2, "previous-frame-distribution", predict=True, branches=1), "clip", "none"),
]


def name_of(configuration: tuple[Method, str, str]) -> str:
    method, scenario, sampling = configuration
    own = asdict(method)
    branches = f"-branches-{own['branches']}" if own.get("branches") else ""
    beyond = ("-predict" if own.get("predict") else "") + branches
    return f"{method.name}-{method.window}-{own.get('first_guess')}{beyond}-{scenario}-{sampling}"


def test_the_configurations_cover_what_they_should() -> None:
    """Whoever drops a configuration must see what is no longer tested."""
    covered = set()
    for method, scenario, sampling in CONFIGURATIONS:
        cut = SAMPLINGS[sampling].top_k is not None
        own = asdict(method)
        predict = f"predict {own.get('predict', False)}"
        traits = [method.name, own.get("first_guess"), method.window, predict, scenario, cut]
        covered |= {(one, other) for one in traits for other in traits}
    for method in ("SJD", "SCD-maximal", "SCD-gumbel", "SeedExact"):
        for other in (*GUESSES, 2, 3, 5, True, False, "free", "grid", "legal", "clip"):
            assert (method, other) in covered, (method, other)
    for method, other in product(("SCD-maximal", "SCD-gumbel", "SeedExact"), ("predict True", "predict False")):
        assert (method, other) in covered, (method, other)
    for guess, other in product(GUESSES, (2, 3, 5, True, False)):
        assert (guess, other) in covered, (guess, other)


@pytest.mark.parametrize("configuration", list(enumerate(CONFIGURATIONS)), ids=lambda pair: name_of(pair[1]))
def test_decoding_follows_the_joint_law(configuration: tuple[int, tuple[Method, str, str]]) -> None:
    """200,000 decodes in batches of unequal rows agree with the law of every kind of row, by chi-square.

    Batches mix prompts, lengths and layouts, so rows end at different times; no impossible sequence may come even once.
    """
    number, (method, scenario, sampling) = configuration
    # every other configuration in the precision that real models have
    dtype = torch.float32 if number % 2 else torch.float64
    seed = 10**7 * (number + 1)  # no two configurations share random numbers
    for counts, law in counts_and_laws(SCENARIOS[scenario], method, SAMPLINGS[sampling], DRAWS, seed, dtype):
        assert abs(float(law.sum()) - 1) < 1e-6
        assert_agrees(counts, law)


def test_distributions_without_their_tails_are_honest_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one or two codes of each distribution kept, what is drawn from these is labelled by these."""
    for kept in (1, 2):
        monkeypatch.setattr(memory, "KEPT", kept)
        method = SCD(5, "previous-frame-distribution", "gumbel")
        for counts, law in counts_and_laws(SCENARIOS["clip"], method, Sampling(), DRAWS, 10**9 + kept * 10**7):
            assert_agrees(counts, law)


# -- wrong versions, which the comparison must catch -------------------------------------------------------------------


def keep_old_labels(window: Window, target: Tensor) -> tuple[Tensor, Tensor]:
    """Maximal coupling that leaves a kept token the label it had (the released code's mistake)."""
    drawn, _ = coupling.maximal(window, target)
    kept = accepts(target, window.labels, window.drafts, window.rejection_uniforms[0])
    return drawn, torch.where(kept.unsqueeze(-1), window.labels, target)


def same_acceptance_at_every_visit(seeds: Tensor, index: Tensor, visit: Tensor, purpose: Tensor) -> Tensor:
    """Uniforms whose address forgets the visit where drafts are accepted."""
    return uniforms(seeds, index, torch.where(purpose == Purpose.ACCEPTANCE, 0, visit), purpose)


def residual_from_position_noise(window: Window, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Rejection sampling whose residual is drawn with the noise that drew the drafts."""
    accepted, token = verification.rejection_sampling(window, target, drawn)
    rows = torch.arange(len(accepted))
    residual = (target - window.labels).clamp(min=0)[rows, accepted]
    redrawn = torch.where(residual.sum(-1) > 0, race(residual, window.noise[rows, accepted]), token)
    return accepted, torch.where(accepted == window.size - 1, token, redrawn)


def residual_with_epsilon(target: Tensor, label: Tensor, draft: Tensor, uniforms: Tensor) -> Tensor:
    """A residual that is never quite zero anywhere (released code adds 1e-10 to some 64,000 entries)."""
    drawn, _ = inverse_cdf((target - label).clamp(min=0) + 1e-4, uniforms)
    return drawn


def label_with_the_tail(entering: Entering) -> tuple[Tensor, Tensor]:
    """A draw from the likeliest half of a remembered distribution, labelled with all of it."""
    _, label = guesses.previous_frame_distribution(entering)
    likeliest = label * (label >= label.max(-1, keepdim=True).values)
    return race(likeliest, entering.noise), label


def another_label(
    window: Window, memory: memory.Memory, committed: Tensor, accepted: Tensor, token: Tensor,
    chances: Chances,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A predicted draft that is labelled with another distribution than drew it."""
    row, offset, drafts, _ = prediction.predicted(window, memory, committed, accepted, token, chances)
    return row, offset, drafts, torch.nn.functional.normalize(window.averages[row, offset].square(), p=1, dim=-1)


def unnormalised(weights: Tensor) -> Tensor:
    """Candidates drawn without replacement, but labelled as if what came before had not been taken away."""
    return weights


def break_candidates(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(following, "_normalised", unnormalised)


def grow_by_the_next_draft(
    window: Window, count: int, *, from_drafts: bool, chances: Chances
) -> branches.Branches:
    """Branches only where the draft behind the fork is code 0: a draft that is not verified decides."""
    grown = branches.grow(window, count, from_drafts=from_drafts, chances=chances)
    behind = (grown.fork + 1).clamp(max=window.drafts.shape[1] - 1)
    return replace(grown, exists=grown.exists & (window.drafts.gather(1, behind) == 0))


def break_tree(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(methods, "grow", grow_by_the_next_draft)


def break_labels(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(COUPLINGS, "maximal", keep_old_labels)


def break_acceptance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "uniforms", same_acceptance_at_every_visit)


def break_residual_noise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(methods, "rejection_sampling", residual_from_position_noise)


def break_remembered_labels(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(GUESSES, "previous-frame-distribution", label_with_the_tail)


def break_predicted_labels(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "predicted", another_label)


def break_residual_support(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verification, "residual_draw", residual_with_epsilon)


Break = Callable[[pytest.MonkeyPatch], None]

WRONG_VERSIONS: dict[str, tuple[Break, Method, str, str]] = {
    "old label for kept tokens": (break_labels, SCD(5, "uniform", "maximal"), "short", "none"),
    "acceptance reused across visits": (break_acceptance, SCD(3, "uniform", "maximal"), "short", "none"),
    "residual from position noise": (break_residual_noise, SCD(3, "random", "gumbel"), "many codes", "none"),
    "label of more than what is kept": (
        break_remembered_labels, SCD(3, "previous-frame-distribution", "gumbel"), "clip", "none",
    ),
    "label that did not predict": (
        break_predicted_labels, SCD(3, "uniform", "gumbel", predict=True), "short", "none",
    ),
    "candidates with labels of their own": (
        break_candidates, SCD(3, "uniform", "gumbel", branches=3), "many codes", "none",
    ),
    "tree shaped by drafts": (break_tree, SCD(3, "uniform", "gumbel", branches=3), "short", "none"),
    "epsilon in the residual": (break_residual_support, SJD(3, "uniform"), "short", "top_k"),
}


@pytest.mark.parametrize("wrong", WRONG_VERSIONS)
def test_wrong_versions_are_caught(wrong: str) -> None:
    """The comparison fails for each known mistake, and only for it: the right version passes with as many draws."""
    break_it, method, scenario, sampling = WRONG_VERSIONS[wrong]

    def least_p_value() -> float:
        results = counts_and_laws(SCENARIOS[scenario], method, SAMPLINGS[sampling], 30_000, seed=10**6)
        return min(p_value(counts, law) for counts, law in results)

    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        assert least_p_value() < THRESHOLD
    assert least_p_value() > THRESHOLD


def test_the_epsilon_is_caught_by_impossible_sequences() -> None:
    """Under top-k the mistake shows as sequences that have probability zero."""
    with pytest.MonkeyPatch.context() as patch:
        break_residual_support(patch)
        results = counts_and_laws(SCENARIOS["short"], SJD(3), Sampling(top_k=2), 20_000, seed=10**6)
    assert any(int(counts[law == 0].sum()) > 0 for counts, law in results)


def test_the_breakages_are_made_from_the_right_version() -> None:
    """Guards the wrong versions themselves: they replace the functions that the decoder calls."""
    assert methods.SCD().rules().verify is verification.rejection_sampling
    assert verification.residual_draw is residual_draw
    assert window.uniforms is uniforms
    assert step.predicted is prediction.predicted
