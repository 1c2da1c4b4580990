"""``scd bench``: what every method takes on a model, in forwards and in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.contexts import footage_of, tokens_drawn
from coupled_decoding.apps.errors import BadInput, note, refusing
from coupled_decoding.apps.loading import Where, load_any
from coupled_decoding.apps.options import COMPARED, at_least, each
from coupled_decoding.apps.output import check_output, writing
from coupled_decoding.apps.progress import bar
from coupled_decoding.apps.prompts import Prompt, check_readable, read_prompts
from coupled_decoding.decoding.named import FIRST_GUESSES

if TYPE_CHECKING:
    from coupled_decoding.evaluation.bench.cases import Grid
    from coupled_decoding.evaluation.bench.results import Measured
    from coupled_decoding.evaluation.bench.work import Work
    from coupled_decoding.pipelines.pictures import PicturePipeline
    from coupled_decoding.pipelines.video import VideoPipeline

PROMPTS = ("a red heart", "a slice of pizza", "a smiling face with sunglasses", "a blue car")
"""Drawn where no file is given."""
WINDOWS = (16, 64)
GUESSES = ("uniform",)
RUNS, RESULTS, TABLE, REPORT = "runs.json", "results.json", "results.csv", "report.md"


def bench(
    output: Annotated[Path, typer.Option(
        "--output", "-o", help="Folder for the results; one that holds some is continued.")] = Path("bench"),
    model: options.Model = "emoji",
    prompts: Annotated[Path | None, typer.Option(
        metavar="FILE", show_default="a few that are built in", help="Text file of prompts, one per line.")] = None,
    context: Annotated[list[str] | None, typer.Option(
        metavar="CONTEXT", show_default="all built-in examples",
        help="For a video model: footage to continue, as scd video takes it.")] = None,
    context_frames: options.ContextFrames = None,
    num_frames: Annotated[int | None, typer.Option(
        callback=at_least(1, options.LARGEST), show_default=str(options.NEW_FRAMES),
        help="For a video model: frames to draw after the context.")]
    = None,
    method: Annotated[list[str] | None, typer.Option(
        metavar="METHOD[:OPTION=VALUE,...]", show_default=", ".join(COMPARED),
        help="How to decode, with options of its own that are not crossed, such as seed-exact:window=32,predict.")]
    = None,
    window: Annotated[list[int] | None, typer.Option(
        callback=each(at_least(1, options.LARGEST)), show_default=" and ".join(map(str, WINDOWS)),
        help="Tokens that one forward reads.")] = None,
    first_guess: Annotated[list[str] | None, typer.Option(
        metavar=options.listed(FIRST_GUESSES), callback=each(options.one_of(FIRST_GUESSES)), show_default="uniform",
        help="What a position starts from when it enters the window.")] = None,
    predict: Annotated[list[bool] | None, typer.Option(
        "--predict/--no-predict", show_default="no-predict",
        help="Redraw the first draft after each commit or not, where methods can.")] = None,
    branches: Annotated[list[int] | None, typer.Option(
        callback=each(at_least(0, options.MOST_BRANCHES)), show_default="0",
        help="Tokens of other candidates beside the window, where methods can.")] = None,
    guidance: Annotated[list[float] | None, typer.Option(
        callback=each(at_least(0)), show_default="the model's", help="Scale of classifier-free guidance.")]
    = None,
    temperature: Annotated[list[float] | None, typer.Option(
        callback=each(at_least(0)), show_default="the model's", help="Divides the logits.")] = None,
    batch: Annotated[list[int] | None, typer.Option(
        callback=each(at_least(1, options.LARGEST)), show_default="1", help="Pictures or clips drawn together.")]
    = None,
    generate: Annotated[bool, typer.Option(
        "--generate", help="Measure transformers' own generate too, with a dynamic and a static cache.")] = False,
    repeat: Annotated[int, typer.Option(
        callback=at_least(0), help="Rounds in which seconds are taken; 0 counts forwards only.")] = 3,
    seed: Annotated[int, typer.Option(
        callback=at_least(0), help="Of the first picture or clip; the next ones count up from it.")] = 0,
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
    runs.json with what was measured as it came: the same command continues where it was cut off. With further cases in
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
    texts = None if prompts is None else read_prompts(prompts)
    methods = _methods(method)
    where = Where(model, dtype, device, allow_torchscript=allow_torchscript)
    _check_files(output, prompts, context, where)
    pipe = load_any(where)
    work = _work(pipe, texts, context, context_frames, num_frames, guidance, generate, seed)
    grid = _grid(pipe, methods, guidance, temperature, generate, windows=window or WINDOWS,
                 first_guesses=first_guess or GUESSES, predicts=predict or [False], branches=branches or [0],
                 batches=batch or [1], compiled=compiled or [False])
    how = _how(pipe, where)
    measured = _measure(work, grid, how, repeat, output / RUNS)
    said = {**how, "model": pipe.name, "weights": how["model"], "seed": seed, "repetitions": repeat}
    written = _write(output, work, measured, said)
    typer.echo(_table(work, measured))
    for file in written:
        typer.echo(file)


def _methods(texts: Sequence[str] | None) -> list[Any]:
    from coupled_decoding.evaluation.bench.cases import Asked

    with refusing(ValueError):
        return [Asked.of(text) for text in texts or COMPARED]


def _check_files(folder: Path, prompts: Path | None, contexts: Sequence[str] | None, where: Where) -> None:
    """Refuse a folder that takes no results, or in which something that is read would be written over."""
    from coupled_decoding.evaluation.bench.plots import PLOTS

    files = [folder / name for name in (RUNS, RESULTS, TABLE, REPORT, *PLOTS)]
    given = {f"the context {name!r}": Path(name) for name in contexts or ()}
    check_output(files, {"the file of prompts": prompts, "a file of the model": where.folder, **given})


def _work(
    pipe: PicturePipeline | VideoPipeline, prompts: list[Prompt] | None, contexts: list[str] | None,
    context_frames: int | None, num_frames: int | None, guidance: list[float] | None, generate: bool, seed: int,
) -> Work:
    """What is drawn; options that mean nothing to this kind of model are refused."""
    from coupled_decoding.evaluation.bench.work import ClipWork, PictureWork
    from coupled_decoding.pipelines.pictures import PicturePipeline

    pictures = isinstance(pipe, PicturePipeline)
    of_others: dict[str, object] = {
        "context": contexts, "context-frames": context_frames, "num-frames": num_frames,
    } if pictures else {"prompts": prompts, "guidance": guidance, "generate": generate}
    for option, given in of_others.items():
        if given:
            raise BadInput(f"--{option} says nothing about {pipe.name!r}, "
                           + ("which draws pictures of prompts" if pictures else "which continues clips"))
    if isinstance(pipe, PicturePipeline):
        if prompts:
            check_readable(pipe, prompts, None)
        work = PictureWork(pipe, [prompt.text for prompt in prompts or ()] or PROMPTS, seed)
        if generate:
            with refusing(ValueError):
                work.check_generates()
        return work
    return ClipWork(pipe, *_contexts(pipe, contexts, context_frames, num_frames or options.NEW_FRAMES), seed)


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
    temperature: list[float] | None, generate: bool, **crossed: Any,
) -> Grid:
    """All cases; what is not asked for is the model's own."""
    from coupled_decoding.evaluation.bench.cases import Grid
    from coupled_decoding.evaluation.bench.transformers_generate import Generate
    from coupled_decoding.pipelines.pictures import PicturePipeline

    if isinstance(pipe, PicturePipeline):
        options.check_guess_of_pictures(crossed["first_guesses"])
    default = pipe.model.sampling
    return Grid(
        methods,
        [options.Drawing(one).sampling(default) for one in temperature or [default.temperature]],
        guidances=(guidance or [pipe.guidance_scale]) if isinstance(pipe, PicturePipeline) else [None],
        generates=[Generate("dynamic"), Generate("static")] if generate else [],
        **crossed,
    )


def _how(pipe: PicturePipeline | VideoPipeline, where: Where) -> dict[str, str]:
    """Which weights compute, and how: what results depend on besides their case."""
    from coupled_decoding.evaluation.bench.fingerprint import of_model

    dtype = str(pipe.model.dtype).removeprefix("torch.")
    return {"model": of_model(where.model), "dtype": dtype, "device": where.device or "cpu"}


def _measure(work: Work, grid: Grid, how: Mapping[str, str], repeat: int, runs: Path) -> list[Measured]:
    import coupled_decoding as cd
    from coupled_decoding.evaluation.bench import machine
    from coupled_decoding.evaluation.bench.kept import Kept
    from coupled_decoding.evaluation.bench.running import draws, run

    with refusing(ValueError):
        cases = grid.cases()
        kept = Kept(runs)
        of = {**how, "noise": cd.NOISE_VERSION, **machine.versions()}
        with bar(total=draws(work, cases, repeat), desc=f"{len(cases)} cases", unit="draw") as shown, writing(runs):
            return run(work, cases, kept, of, repeat, shown.update)


def _write(folder: Path, work: Work, measured: Sequence[Measured], asked: Mapping[str, Any]) -> list[Path]:
    """The files of a finished benchmark; runs.json is there already."""
    from coupled_decoding.evaluation.bench import machine, tables
    from coupled_decoding.evaluation.bench.kept import write_text
    from coupled_decoding.evaluation.bench.results import as_csv, as_json

    said = {**asked, **machine.describe()}
    plots = _plot(folder, work, measured)
    items = work.named(range(len(work)))
    texts = {
        RESULTS: as_json({**said, "drawn": work.drawn, "items": items}, measured),
        TABLE: as_csv(measured),
        REPORT: tables.report(work.drawn, {**said, f"{work.drawn}s": len(work)}, measured, plots),
    }
    for name, text in texts.items():
        with writing(folder / name):
            write_text(folder / name, text)
    return [folder / name for name in (REPORT, TABLE, RESULTS, *plots)]


def _plot(folder: Path, work: Work, measured: Sequence[Measured]) -> dict[str, str]:
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

    shown, plots = Shown(measured, work.drawn, places(work.layout)), {}
    for name, (draw, words) in PLOTS.items():
        figure = draw(shown)
        if figure is not None:
            with writing(folder / name):
                save_figure(figure, folder / name)
            plots[name] = words
    return plots


def _table(work: Work, measured: Sequence[Measured]) -> str:
    from coupled_decoding.evaluation.bench.tables import cases_table

    return cases_table(work.drawn, measured)
