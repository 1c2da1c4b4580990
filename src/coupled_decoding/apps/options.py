"""What commands are asked for: the options that they share, and the method and sampling that the options mean."""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coupled_decoding.apps.errors import BadInput, refusing
from coupled_decoding.decoding.named import DEFAULT, FIRST_GUESSES, METHODS

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline

WINDOW = 64
"""Tokens per forward where no window is asked for."""
AUTO: Literal["auto"] = "auto"
"""The window that tunes itself."""
CONTEXT_FRAMES, NEW_FRAMES = 9, 24
"""Frames that a clip continues, and that are drawn after them, where no number is asked for."""
COMPARED = ("ar", "sjd", "scd-maximal", "scd-gumbel", "seed-exact")
"""What is put side by side; the first is what the others are compared with."""
DTYPES = ("float64", "float32", "bfloat16", "float16")
"""The precisions that a model can compute in."""
LARGEST, MOST_PICTURES, MOST_BRANCHES = 2**31 - 1, 10**6, 2**12
"""Of whole numbers in general, of pictures or clips of one prompt or context, and of branch tokens in a forward."""


def at_least(least: int, most: float = math.inf) -> Callable[[Any], Any]:
    """A check that a number, if given, is finite and within bounds."""

    def check(value: float | None) -> float | None:
        if value is not None and not least <= value < math.inf:
            raise typer.BadParameter(f"{value} is given: expected a number of at least {least}")
        if value is not None and value > most:
            raise typer.BadParameter(f"{value} is given: expected a number of at most {most}")
        return value

    return check


def each(check: Callable[[Any], Any]) -> Callable[[list[Any] | None], list[Any] | None]:
    """A check of every value of an option that may be given several times."""
    return lambda values: values and [check(value) for value in values]


def one_of(names: Sequence[str]) -> Callable[[Any], Any]:
    """A check that a name, if given, is among these."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, names))}")
        return value

    return check


def listed(names: Sequence[str]) -> str:
    """Names as help shows them."""
    return f"[{'|'.join(names)}]"


def _window(value: str | None) -> str | None:
    """A check that a window, if given, is a number that is not below one, or ``auto``."""
    if value is not None and value != AUTO:
        if not (value.lstrip("-").isdecimal() and value.isascii()) or len(value) > 100:
            raise typer.BadParameter(f"{value!r} is given: expected a whole number of at least 1, or {AUTO}")
        at_least(1, LARGEST)(int(value))
    return value


def _share(value: float | None) -> float | None:
    """A check that a number, if given, is above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value} is given: expected a number above 0 and at most 1")
    return value


PROMPT = typer.Argument(metavar="PROMPT", help="What to draw, each prompt in quotes.", show_default=False)
Prompts = Annotated[list[str], PROMPT]
Model = Annotated[str, typer.Option(help="A shipped model's name, a local folder, or a hub id.")]
METHOD = typer.Option(
    metavar=listed(tuple(METHODS)), callback=one_of(tuple(METHODS)), show_default=DEFAULT,
    help="How to decode; ar takes one forward per token.")
Method = Annotated[str | None, METHOD]
Window = Annotated[str | None, typer.Option(
    metavar=f"N|{AUTO}", callback=_window, show_default=str(WINDOW),
    help="Tokens that one forward reads, at least 1; auto finds what is fastest here, for seed-exact.")]
FirstGuess = Annotated[str | None, typer.Option(
    metavar=listed(FIRST_GUESSES), callback=one_of(FIRST_GUESSES), show_default="uniform",
    help="What a position starts from when it enters the window.")]
Predict = Annotated[bool, typer.Option(
    "--predict", help="Redraw the first draft after each commit from what predicts it best; for scd-maximal, "
                      "scd-gumbel and seed-exact.")]
NumBranches = Annotated[int, typer.Option(
    "--branches", callback=at_least(0, MOST_BRANCHES),
    help="Tokens of other candidates that a forward reads beside the window; for scd-gumbel and seed-exact.")]
Seed = Annotated[int | None, typer.Option(
    callback=at_least(0), show_default="drawn, and printed",
    help="Seed of the first picture or clip; the next ones count up from it.")]
Guidance = Annotated[float | None, typer.Option(
    callback=at_least(0), show_default="the model's", help="Scale of classifier-free guidance; 1 is none.")]
Temperature = Annotated[float | None, typer.Option(
    callback=at_least(0), show_default="the model's", help="Divides the logits; 0 takes the likeliest token.")]
TopK = Annotated[int | None, typer.Option(
    callback=at_least(1, LARGEST), show_default="the model's", help="Draw from the K likeliest tokens only.")]
TopP = Annotated[float | None, typer.Option(
    callback=_share, show_default="the model's",
    help="Draw from the likeliest tokens that hold this much of the probability, at most 1.")]
Pictures = Annotated[int, typer.Option("-n", callback=at_least(1, MOST_PICTURES), help="Pictures of each prompt.")]
Clips = Annotated[int, typer.Option(
    "-n", callback=at_least(1, MOST_PICTURES), help="Clips that continue the context.")]
NumFrames = Annotated[int, typer.Option(
    callback=at_least(1, LARGEST), help="Frames to draw after the context.")]
ContextFrames = Annotated[int | None, typer.Option(
    callback=at_least(1, LARGEST), show_default=f"{CONTEXT_FRAMES}, or what there is",
    help="Frames of the context.")]
Start = Annotated[int, typer.Option(
    callback=at_least(0, LARGEST), help="First of these frames, counted from 0.")]
Size = Annotated[str | None, typer.Option(
    metavar="WIDTHxHEIGHT", show_default="the model's",
    help="Pixels of a picture, where the model makes several sizes.")]
Dtype = Annotated[str | None, typer.Option(
    metavar=listed(DTYPES), callback=one_of(DTYPES), show_default="float32",
    help="Precision of the arithmetic; below float32 what a seed gives may vary.")]
Device = Annotated[str | None, typer.Option(
    show_default="cpu", help="Where to compute: cpu, cuda, cuda:1; auto spreads the model over all devices.")]
AllowTorchscript = Annotated[bool, typer.Option(
    "--allow-torchscript", help="Run the programs that some models' frames need; they run with your rights.")]
Compile = Annotated[bool, typer.Option(
    "--compile", help="Let torch.compile make forwards faster; the first ones take a minute longer. Pays for many.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]


def size_of(size: str | None) -> tuple[int, int] | None:
    """Width and height of ``768x512``."""
    if size is None:
        return None
    width, cross, height = size.lower().partition("x")
    sides = [int(side) for side in (width, height) if side.isdecimal() and side.isascii() and len(side) < 10]
    if not cross or len(sides) != 2 or not all(sides):
        raise BadInput(f"--size {size}: expected a width and a height in pixels, such as 768x512")
    return sides[0], sides[1]


def seed_of(seed: int | None) -> int:
    """The seed asked for, or one drawn from the system, short enough to be typed again."""
    return secrets.randbelow(2**32) if seed is None else seed


@dataclass(frozen=True)
class Drafting:
    """How drafts are to be made, as far as the options say."""

    window: str | None = None
    first_guess: str | None = None
    predict: bool = False
    branches: int = 0

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked for, by the names of methods' options."""
        window = int(self.window) if self.window not in (None, AUTO) else self.window
        options = {"window": window, "first_guess": self.first_guess}
        given = {name: value for name, value in options.items() if value is not None}
        return {**given, **({"predict": True} if self.predict else {}),
                **({"branches": self.branches} if self.branches else {})}


def check_guess_of_pictures(first_guesses: Sequence[str | None]) -> None:
    """Refuse a first guess that only clips have."""
    for guess in first_guesses:
        if guess is not None and guess.startswith("previous"):
            raise BadInput(f"--first-guess {guess} says nothing about pictures, which have no previous frame")


def method_of(name: str | None, drafting: Drafting) -> cd.Method:
    """The method that the options mean; an option that means nothing to it is refused. Imports torch."""
    from coupled_decoding.decoding.named import method_named

    with refusing(ValueError):
        return method_named(name or DEFAULT, **drafting.asked)


def every_method(drafting: Drafting) -> list[cd.Method]:
    """The methods that a comparison puts side by side, each with those options that mean something to it."""
    from coupled_decoding.decoding.named import method_named, options_of

    asked = drafting.asked
    methods = []
    for name in COMPARED:
        options = {option: asked[option] for option in options_of(name) if option in asked}
        if options.get("window") == AUTO and name != "seed-exact":
            del options["window"]
        with refusing(ValueError):
            methods.append(method_named(name, **options))
    return methods


@dataclass(frozen=True)
class Drawing:
    """How tokens are drawn, as far as the options say; the rest is the model's own."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None

    def of(self, pipe: PicturePipeline) -> dict[str, Any]:
        """For a pipeline of pictures."""
        scale = pipe.guidance_scale if self.guidance is None else self.guidance
        return {"sampling": self.sampling(pipe.sampling), "guidance_scale": scale}

    def sampling(self, default: cd.Sampling) -> cd.Sampling:
        """The model's own sampling with what was asked for in its place."""
        asked: dict[str, Any] = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        with refusing(ValueError):
            return dataclasses.replace(default, **{name: value for name, value in asked.items() if value is not None})
