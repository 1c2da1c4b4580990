"""``scd bench``: what every method takes on a model, in forwards and in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from coupled_decoding.apps import options
from coupled_decoding.apps.errors import BadInput, refusing
from coupled_decoding.apps.folders import check_not_folders, prepared_folder
from coupled_decoding.apps.footage import footage_of, note, tokens_drawn
from coupled_decoding.apps.loading import load_any
from coupled_decoding.apps.results import writing

if TYPE_CHECKING:
    from coupled_decoding.evaluation.bench.cases import Grid
    from coupled_decoding.evaluation.bench.results import Measured
    from coupled_decoding.evaluation.bench.work import Work
    from coupled_decoding.pipelines.pictures import PicturePipeline
    from coupled_decoding.pipelines.video import VideoPipeline

PROMPTS = ("a red heart", "a slice of pizza", "a smiling face with sunglasses", "a blue car")
"""Drawn where no file is given."""
METHODS = ("ar", "sjd", "scd-maximal", "scd-gumbel", "seed-exact")
WINDOWS = (16, 64)
GUESSES = (options.FirstGuessName.uniform,)
RUNS, RESULTS, TABLE, REPORT = "runs.json", "results.json", "results.csv", "report.md"


def _each(check: Callable[[Any], Any]) -> Callable[[list[Any] | None], list[Any] | None]:
    """A check of every value of an option that may be given several times."""
    return lambda values: values and [check(value) for value in values]


def bench(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; one that holds some goes on.")]
    = Path("bench"),
    model: options.Model = "emoji",
    prompts: Annotated[Path | None, typer.Option(
        metavar="FILE", show_default="a few that are built in", help="Text file of prompts, one a line.")] = None,
    context: Annotated[list[str] | None, typer.Option(
        metavar="CONTEXT", show_default="all built-in examples",
        help="For a video model: footage to go on from, as scd video takes it.")] = None,
    context_frames: options.ContextFrames = None,
    num_frames: Annotated[int | None, typer.Option(
        callback=options.at_least(1), show_default="24", help="For a video model: frames to draw after the context.")]
    = None,
    method: Annotated[list[str] | None, typer.Option(
        metavar="METHOD[:OPTION=VALUE,...]", show_default=", ".join(METHODS),
        help="How to decode, with options of its own that are not crossed, such as seed-exact:window=32,predict.")]
    = None,
    window: Annotated[list[int] | None, typer.Option(
        callback=_each(options.at_least(1)), show_default=" and ".join(map(str, WINDOWS)),
        help="Tokens that one forward reads.")] = None,
    first_guess: Annotated[list[options.FirstGuessName] | None, typer.Option(
        show_default="uniform", help="What a position starts from when it enters the window.")] = None,
    predict: Annotated[list[bool] | None, typer.Option(
        "--predict/--no-predict", show_default="no-predict",
        help="Redraw the first draft behind each commit or not, where methods can.")] = None,
    branches: Annotated[list[int] | None, typer.Option(
        callback=_each(options.at_least(0)), show_default="0",
        help="Tokens of other candidates beside the window, where methods can.")] = None,
    guidance: Annotated[list[float] | None, typer.Option(
        callback=_each(options.at_least(0)), show_default="the model's", help="Scale of classifier-free guidance.")]
    = None,
    temperature: Annotated[list[float] | None, typer.Option(
        callback=_each(options.at_least(0)), show_default="the model's", help="Divides the logits.")] = None,
    batch: Annotated[list[int] | None, typer.Option(
        callback=_each(options.at_least(1)), show_default="1", help="Pictures or clips that are drawn together.")]
    = None,
    generate: Annotated[bool, typer.Option(
        "--generate", help="Measure transformers' own generate too, with a dynamic and a static cache.")] = False,
    repeat: Annotated[int, typer.Option(
        callback=options.at_least(0), help="Rounds in which seconds are taken; 0 counts forwards only.")] = 3,
    seed: Annotated[int, typer.Option(
        callback=options.at_least(0), help="Of the first picture or clip; the next ones count up from it.")] = 0,
    dtype: options.Dtype = None,
    device: options.Device = None,
    compiled: Annotated[list[bool] | None, typer.Option(
        "--compile/--no-compile", show_default="no-compile",
        help="Let torch.compile make forwards faster; transformers' generate stays as it is.")] = None,
    allow_torchscript: options.AllowTorchscript = False,
) -> None:
    """Measure methods side by side.

    Options that may be given several times are crossed: every method, at every window, with every guidance and so on;
    what says nothing about a method is left out of it. Forwards are counted once, and seconds taken in rounds of all
    cases in turn, so that a change of the machine's speed hits all alike; nothing else should run meanwhile.

    Writes report.md with a table and plots (with the extra coupled-decoding[plot]), results.csv, results.json, and
    runs.json with what was measured as it came: the same command goes on where it was cut off. With further cases in
    the same folder forwards that are there are not counted again; seconds are, since only those of one round compare.

    \b
    The methods on the shipped model, into the folder bench:
      scd bench
    Forwards only, which needs no quiet machine, for prompts of your own and two guidance scales:
      scd bench --prompts prompts.txt --guidance 1 --guidance 3 --repeat 0 -o forwards/
    Ours at its best beside plain sampling and transformers' generate:
      scd bench --method ar --method seed-exact:window=32,branches=32,predict --generate -o seconds/
    A video model, from two of the built-in examples:
      scd bench --model doom --context maze --context arena --num-frames 12 -o clips/
    """
    from coupled_decoding.evaluation.bench import fingerprint
    from coupled_decoding.evaluation.bench.cases import Asked

    with refusing(ValueError):
        asked = [Asked.of(text) for text in method or METHODS]
    texts = None if prompts is None else options.read_prompts(prompts)
    files = [output / name for name in (RUNS, RESULTS, TABLE, REPORT)]
    check_not_folders(files)
    with prepared_folder(output):
        pipe = load_any(model, dtype, device, allow_torchscript)
        work = _work(pipe, texts, context, context_frames, num_frames, guidance, generate, seed)
        grid = dataclasses.replace(
            _grid(pipe, asked, guidance, temperature, generate),
            windows=window or WINDOWS, first_guesses=[guess.value for guess in first_guess or GUESSES],
            predicts=predict or [False], branches=branches or [0], batches=batch or [1],
            compiled=compiled or [False],
        )
        _check_guesses(work, grid)
        how = {"dtype": str(pipe.model.dtype).removeprefix("torch."), "device": device or "cpu"}
        figures = _measure(model, how, work, grid, repeat, output / RUNS)
        said = {"model": pipe.name, "weights": fingerprint.of_model(model), **how, "seed": seed, "repetitions": repeat}
        written = _write(output, said, work, figures)
    typer.echo(_table(work, figures))
    for file in written:
        typer.echo(file)


def _work(
    pipe: PicturePipeline | VideoPipeline, prompts: list[str] | None, contexts: list[str] | None,
    context_frames: int | None, num_frames: int | None, guidance: list[float] | None, generate: bool, seed: int,
) -> Work:
    """What is drawn; options that say nothing about this kind of model are refused."""
    from coupled_decoding.evaluation.bench.work import ClipWork, PictureWork
    from coupled_decoding.pipelines.pictures import PicturePipeline

    pictures = isinstance(pipe, PicturePipeline)
    of_others: dict[str, object] = {
        "context": contexts, "context-frames": context_frames, "num-frames": num_frames,
    } if pictures else {"prompts": prompts, "guidance": guidance, "generate": generate}
    for option, given in of_others.items():
        if given:
            raise BadInput(f"--{option} says nothing about {pipe.name!r}, "
                           + ("which draws pictures of prompts" if pictures else "which goes on with clips"))
    if isinstance(pipe, PicturePipeline):
        work = PictureWork(pipe, prompts or PROMPTS, seed)
        if generate:
            with refusing(ValueError):
                work.check_generates()
        return work
    return ClipWork(pipe, *_contexts(pipe, contexts, context_frames, num_frames or 24), seed)


def _contexts(
    pipe: VideoPipeline, names: list[str] | None, context_frames: int | None, num_frames: int
) -> tuple[list[Any], int]:
    """First frames of each clip, and the frames that each is to have in all."""
    from coupled_decoding.media.footage import examples, find_footage

    with refusing(FileNotFoundError):
        places = [find_footage(name) for name in names or examples()]
    contexts = [footage_of(pipe.model, place, 0, context_frames).frames for place in places]
    if len({len(frames) for frames in contexts}) > 1:
        counts = ", ".join(str(len(frames)) for frames in contexts)
        raise BadInput(f"the contexts have {counts} frames: give --context-frames that all of them have")
    tokens_drawn(pipe.model, len(contexts[0]), num_frames)
    return contexts, len(contexts[0]) + num_frames


def _grid(
    pipe: PicturePipeline | VideoPipeline, methods: Sequence[Any], guidance: list[float] | None,
    temperature: list[float] | None, generate: bool,
) -> Grid:
    """As far as the model has a say in it."""
    from coupled_decoding.evaluation.bench.cases import Grid
    from coupled_decoding.evaluation.bench.transformers_generate import Generate
    from coupled_decoding.pipelines.pictures import PicturePipeline

    default = pipe.model.sampling
    return Grid(
        methods,
        [options.sampling_of(default, one, None, None) for one in temperature or [default.temperature]],
        guidances=(guidance or [pipe.guidance_scale]) if isinstance(pipe, PicturePipeline) else [None],
        generates=[Generate("dynamic"), Generate("static")] if generate else [],
    )


def _check_guesses(work: Work, grid: Grid) -> None:
    if work.layout.previous is None and any(guess.startswith("previous") for guess in grid.first_guesses):
        raise BadInput("--first-guess from a previous frame says nothing about pictures, which have none")


def _measure(
    model: str, how: Mapping[str, Any], work: Work, grid: Grid, repeat: int, runs: Path
) -> list[Measured]:
    import coupled_decoding as cd
    from coupled_decoding.evaluation.bench import fingerprint, machine
    from coupled_decoding.evaluation.bench.kept import Kept
    from coupled_decoding.evaluation.bench.running import draws, run

    with refusing(ValueError):
        cases = grid.cases()
        kept = Kept(runs)
        of = {"model": fingerprint.of_model(model), **how, "noise": cd.NOISE_VERSION, **machine.versions()}
        with tqdm(total=draws(work, cases, repeat), desc=f"{len(cases)} cases", unit="draw", disable=None,
                  dynamic_ncols=True) as bar, writing(runs):
            return run(work, cases, kept, of, repeat, bar.update)


def _write(folder: Path, asked: Mapping[str, Any], work: Work, figures: Sequence[Measured]) -> list[Path]:
    """The files of a finished benchmark; runs.json is there already."""
    from coupled_decoding.evaluation.bench import machine, tables
    from coupled_decoding.evaluation.bench.kept import write_text
    from coupled_decoding.evaluation.bench.results import as_csv, as_json

    said = {**asked, **machine.describe()}
    plots = _plot(folder, work, figures)
    items = work.named(range(len(work)))
    texts = {
        RESULTS: as_json({**said, "drawn": work.drawn, "items": items}, figures),
        TABLE: as_csv(figures),
        REPORT: tables.report(work.drawn, {**said, f"{work.drawn}s": len(work)}, figures, plots),
    }
    for name, text in texts.items():
        with writing(folder / name):
            write_text(folder / name, text)
    return [folder / name for name in (REPORT, TABLE, RESULTS, *plots)]


def _plot(folder: Path, work: Work, figures: Sequence[Measured]) -> dict[str, str]:
    """Draw the plots that there is something to see in; file names, and what each shows."""
    from coupled_decoding.evaluation.bench.plots import PLOTS, Shown
    from coupled_decoding.evaluation.bench.work import places
    from coupled_decoding.extras import require_extra

    try:
        require_extra("matplotlib", "plot", "drawing plots")
    except ModuleNotFoundError as error:
        note(f"{error}; there are none in the report")
        return {}
    from coupled_decoding.evaluation.bench.plots import save_figure

    shown, plots = Shown(figures, work.drawn, places(work.layout)), {}
    for name, (draw, words) in PLOTS.items():
        figure = draw(shown)
        if figure is not None:
            with writing(folder / name):
                save_figure(figure, folder / name)
            plots[name] = words
    return plots


def _table(work: Work, figures: Sequence[Measured]) -> str:
    from coupled_decoding.evaluation.bench.tables import cases_table

    return cases_table(work.drawn, figures)
