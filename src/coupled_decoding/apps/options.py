"""What the commands are asked for: the options they share, and the method and sampling that the options mean."""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coupled_decoding.apps.errors import BadInput, refusing

if TYPE_CHECKING:
    import coupled_decoding as cd

WINDOW = 64
"""Tokens a forward where no window is asked for."""
AUTO: Literal["auto"] = "auto"
"""The window that tunes itself."""
CONTEXT_FRAMES = 9
"""Frames that a clip goes on from where no number is asked for."""


class MethodName(str, Enum):
    """The decoding methods by their names on the command line."""

    scd = "scd"
    sjd = "sjd"
    ar = "ar"
    seed_exact = "seed-exact"


class CouplingName(str, Enum):
    """The couplings of SCD."""

    gumbel = "gumbel"
    maximal = "maximal"


class FirstGuessName(str, Enum):
    """What a position that enters the window starts from."""

    uniform = "uniform"
    random = "random"
    repeat = "repeat"
    above = "above"
    previous_frame = "previous-frame"
    previous_frame_distribution = "previous-frame-distribution"


class DtypeName(str, Enum):
    """The precisions that a model can compute in."""

    float64 = "float64"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def at_least(least: int) -> Callable[[float | None], float | None]:
    """A check that a number, if given, is finite and not below this one."""

    def check(value: float | None) -> float | None:
        if value is not None and not least <= value < math.inf:
            raise typer.BadParameter(f"{value} is given: expected a number of at least {least}")
        return value

    return check


def _window(value: str | None) -> str | None:
    """A check that a window, if given, is a number that is not below one, or ``auto``."""
    if value is not None and value != AUTO:
        if not value.lstrip("-").isdecimal():
            raise typer.BadParameter(f"{value!r} is given: expected a whole number of at least 1, or {AUTO}")
        at_least(1)(int(value))
    return value


def _share(value: float | None) -> float | None:
    """A check that a number, if given, is above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value} is given: expected a number above 0 and at most 1")
    return value


PROMPT = typer.Argument(metavar="PROMPT", help="What to draw, each prompt in quotes.", show_default=False)
Prompts = Annotated[list[str], PROMPT]
Model = Annotated[str, typer.Option(help="A shipped model's name, a local folder, or a hub id.")]
Window = Annotated[str | None, typer.Option(
    metavar=f"N|{AUTO}", callback=_window, show_default=str(WINDOW),
    help="Tokens that one forward reads, at least 1; auto finds what is fastest here, for seed-exact.")]
FirstGuess = Annotated[FirstGuessName | None, typer.Option(
    show_default="uniform", help="What a position starts from when it enters the window.")]
Predict = Annotated[bool, typer.Option(
    "--predict", help="Redraw the first draft behind each commit from what foretells it; for scd and seed-exact.")]
NumBranches = Annotated[int, typer.Option(
    "--branches", callback=at_least(0),
    help="Tokens of other candidates that a forward reads beside the window; for scd and seed-exact.")]
Seed = Annotated[int | None, typer.Option(
    callback=at_least(0), show_default="drawn, and printed",
    help="Seed of the first picture or clip; the next ones count up from it.")]
Guidance = Annotated[float | None, typer.Option(
    callback=at_least(0), show_default="the model's", help="Scale of classifier-free guidance; 1 is none.")]
Temperature = Annotated[float | None, typer.Option(
    callback=at_least(0), show_default="the model's", help="Divides the logits; 0 takes the likeliest token.")]
TopK = Annotated[int | None, typer.Option(
    callback=at_least(1), show_default="the model's", help="Draw from the K likeliest tokens only.")]
TopP = Annotated[float | None, typer.Option(
    callback=_share, show_default="the model's",
    help="Draw from the likeliest tokens that hold this much of the probability, at most 1.")]
Pictures = Annotated[int, typer.Option("-n", callback=at_least(1), help="Pictures of each prompt.")]
Clips = Annotated[int, typer.Option("-n", callback=at_least(1), help="Clips that go on from the context.")]
NumFrames = Annotated[int, typer.Option(callback=at_least(1), help="Frames to draw after the context.")]
ContextFrames = Annotated[int | None, typer.Option(
    callback=at_least(1), show_default=f"{CONTEXT_FRAMES}, or what there is",
    help="Frames to go on from.")]
Start = Annotated[int, typer.Option(callback=at_least(0), help="First of these frames, counted from 0.")]
Size = Annotated[str | None, typer.Option(
    metavar="WIDTHxHEIGHT", show_default="the model's",
    help="Pixels of a picture, where the model makes several sizes.")]
Dtype = Annotated[DtypeName | None, typer.Option(
    show_default="float32", help="Precision of the arithmetic; below float32 what a seed gives may vary.")]
Device = Annotated[str | None, typer.Option(
    show_default="cpu", help="Where to compute: cpu, cuda, cuda:1, mps; auto spreads the model over all devices.")]
AllowTorchscript = Annotated[bool, typer.Option(
    "--allow-torchscript", help="Run the programs that some models' frames need; they run with your rights.")]
Compile = Annotated[bool, typer.Option(
    "--compile", help="Let torch.compile make forwards faster; the first ones take a minute longer. Pays for many.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]


def check_prompts(prompts: list[str]) -> None:
    """Refuse prompts that no model could read."""
    for number, prompt in enumerate(prompts, 1):
        if not prompt.strip():
            raise BadInput(f"prompt {number} is empty: say in a few words what to draw")
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise BadInput(f"prompt {number} is not text in the encoding of this terminal")


def read_prompts(file: Path) -> list[str]:
    """The prompts of a text file, one a line; empty lines aside."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # some editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise BadInput(f"cannot read the prompts in {str(file)!r}: {reason}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise BadInput(f"{str(file)!r} holds no prompts: write one a line")
    return prompts


def size_of(size: str | None) -> tuple[int, int] | None:
    """Width and height of ``768x512``."""
    if size is None:
        return None
    width, cross, height = size.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadInput(f"--size {size}: expected a width and a height in pixels, such as 768x512")
    return int(width), int(height)


def seed_of(seed: int | None) -> int:
    """The seed asked for, or one drawn from the system, short enough to be typed again."""
    return secrets.randbelow(2**32) if seed is None else seed


@dataclass(frozen=True)
class Drafting:
    """How drafts are to be made, as far as the options say."""

    window: str | None
    first_guess: FirstGuessName | None
    predict: bool
    branches: int

    @property
    def size(self) -> int | Literal["auto"] | None:
        """The window, if one is asked for."""
        return self.window if self.window in (None, AUTO) else int(self.window)

    def limited(self, *, predict: bool, branches: bool) -> Drafting:
        """Without what a method does not know; no method that rejection samples knows ``auto``."""
        return dataclasses.replace(
            self, window=None if self.window == AUTO else self.window, predict=self.predict and predict,
            branches=self.branches if branches else 0,
        )


def method_of(name: MethodName, coupling: CouplingName | None, drafting: Drafting) -> cd.Method:
    """The method that the options mean; an option that would change nothing is refused."""
    import coupled_decoding as cd

    first_guess = drafting.first_guess
    if coupling is not None and name is not MethodName.scd:
        raise BadInput(f"--coupling {coupling.value} says nothing about --method {name.value}: it belongs to scd")
    for option, given in (("predict", drafting.predict), ("branches", drafting.branches)):
        if given and name in (MethodName.ar, MethodName.sjd):
            raise BadInput(f"--{option} says nothing about --method {name.value}: it belongs to scd and seed-exact")
    if name is MethodName.ar:
        if drafting.size not in (None, 1):
            raise BadInput(f"--window {drafting.window} says nothing about --method ar, which reads one token a "
                           "forward")
        if first_guess is not None:
            raise BadInput(f"--first-guess {first_guess.value} says nothing about --method ar, which guesses nothing")
        return cd.AR()
    size: Any = drafting.size or WINDOW
    guess = (first_guess or FirstGuessName.uniform).value
    ours: dict[str, Any] = {"predict": drafting.predict, "branches": drafting.branches}
    with refusing(ValueError):
        if name is MethodName.sjd:
            return cd.SJD(window=size, first_guess=guess)
        if name is MethodName.seed_exact:
            return cd.SeedExact(window=size, first_guess=guess, **ours)
        return cd.SCD(window=size, first_guess=guess, coupling=(coupling or CouplingName.gumbel).value, **ours)


def every_method(drafting: Drafting) -> list[cd.Method]:
    """The methods that a comparison puts side by side, plain autoregressive sampling first; SJD is as published."""
    asked = [
        (MethodName.sjd, None, drafting.limited(predict=False, branches=False)),
        (MethodName.scd, CouplingName.maximal, drafting.limited(predict=True, branches=False)),
        (MethodName.scd, CouplingName.gumbel, drafting.limited(predict=True, branches=True)),
        (MethodName.seed_exact, None, drafting),
    ]
    plain = method_of(MethodName.ar, None, Drafting(None, None, predict=False, branches=0))
    return [plain] + [method_of(name, coupling, limited) for name, coupling, limited in asked]


def sampling_of(default: cd.Sampling, temperature: float | None, top_k: int | None, top_p: float | None) -> cd.Sampling:
    """The model's own sampling with what was asked for in its place."""
    with refusing(ValueError):
        return dataclasses.replace(
            default,
            temperature=default.temperature if temperature is None else temperature,
            top_k=default.top_k if top_k is None else top_k,
            top_p=default.top_p if top_p is None else top_p,
        )
