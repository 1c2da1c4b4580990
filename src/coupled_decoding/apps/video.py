"""``scd video``: clips that go on from given frames, by one method or by all of them side by side."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.comparing import draw_with_each, measures_of_each
from coupled_decoding.apps.errors import BadInput, refusing
from coupled_decoding.apps.films import Reel, film
from coupled_decoding.apps.folders import check_not_folders, prepared_folder
from coupled_decoding.apps.footage import footage_of, tokens_drawn
from coupled_decoding.apps.loading import load_video
from coupled_decoding.apps.preview import Preview
from coupled_decoding.apps.progress import DecodingBar
from coupled_decoding.apps.reports import (
    circumstances,
    column_note,
    measures,
    method_name,
    same_tokens,
    sameness,
    shared_metadata,
    summary,
    table,
)
from coupled_decoding.apps.results import print_json, say_drawn, writing

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.video import Videos

Rows = list[tuple[str, list[Reel]]]
"""Of a film: each with its title."""


def video(
    context: Annotated[str, typer.Argument(
        metavar="CONTEXT", show_default=False,
        help="What to go on from: a video file, an animation, a folder of pictures, a picture, or a built-in example.",
    )],
    output: Annotated[Path, typer.Option("--output", "-o", help="MP4 or GIF file for the clip.")] = Path("clip.gif"),
    num_frames: options.NumFrames = 24,
    context_frames: options.ContextFrames = None,
    start: options.Start = 0,
    clips: options.Clips = 1,
    compare: Annotated[bool, typer.Option("--compare", help="Every method side by side, and a table.")] = False,
    preview: Annotated[Path | None, typer.Option(
        show_default=False, help="PNG file that shows the frames so far, rewritten while they are drawn.")] = None,
    model: options.Model = "doom",
    prompt: Annotated[str | None, typer.Option(
        show_default=False, help="A text, for models that read one beside the frames.")] = None,
    method: Annotated[options.MethodName | None, typer.Option(
        show_default="scd", help="How to decode; ar is one token a forward.")] = None,
    coupling: Annotated[options.CouplingName | None, typer.Option(
        show_default="gumbel", help="How scd couples a draft with the draft before it.")] = None,
    first_guess: options.FirstGuess = None,
    window: options.Window = None,
    predict: options.Predict = False,
    branches: options.NumBranches = 0,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    compiled: options.Compile = False,
    allow_torchscript: options.AllowTorchscript = False,
    as_json: options.Json = False,
) -> None:
    """Go on with a clip.

    Writes an MP4 file (with the extra coupled-decoding[video]) or a GIF file. The frames that were given have an orange
    edge, those that were drawn a blue one. The file's comment says what draws the same again.

    \b
    Built-in examples: arena, corridor, cover, field, maze, rooms.
      scd video corridor --seed 7 -o clip.gif
    Your own footage, from its 30th frame on, with a picture of the frames so far:
      scd video holiday.mp4 --start 30 --preview so-far.png -o clip.mp4
    All methods side by side, and how many forwards each took:
      scd video maze --compare --seed 7 -o methods.gif
    """
    from coupled_decoding.media.films import check_film, save_film
    from coupled_decoding.media.footage import find_footage

    with refusing(ValueError, FileNotFoundError, ModuleNotFoundError):
        check_film(output)
        place = find_footage(context)
    written = [output] if preview is None else [output, preview]
    _check_files(written, preview, place)
    if prompt is not None:
        options.check_prompts([prompt])
    first_seed = options.seed_of(seed)
    methods = _methods(compare, method, coupling, options.Drafting(window, first_guess, predict, branches))
    with ExitStack() as folders:
        for file in written:
            folders.enter_context(prepared_folder(file.parent))
        pipe = load_video(model, dtype, device, compiled, allow_torchscript)
        sampling = options.sampling_of(pipe.model.sampling, temperature, top_k, top_p)
        footage = footage_of(pipe.model, place, start, context_frames)
        given, whole = len(footage.frames), len(footage.frames) + num_frames
        tokens = clips * tokens_drawn(pipe.model, given, num_frames)
        titles = [f"seed {first_seed + number}" for number in range(clips)]
        show = [] if preview is None else [Preview(preview, titles, given)]
        with refusing(ValueError, FileNotFoundError):
            draw = partial(pipe, context_tokens=pipe.model.encode([footage.frames]), num_frames=whole, prompts=prompt,
                           sampling=sampling, seed=first_seed, clips_per_context=clips)
            if compare:
                outs = draw_with_each(methods, draw, tokens, show)
            else:
                with DecodingBar(methods[0].name, tokens, show) as bar:
                    outs = [draw(method=methods[0], on_step=bar)]
        for one in show:
            one.write(outs[-1].frames)
        measured = measures_of_each(methods, outs, "clip") if compare else [measures(methods[0], outs[0], "clip")]
        rows, heads = _side_by_side(outs, measured, titles) if compare else (_in_a_square(outs[0], titles), [])
        metadata = {**shared_metadata(outs, seeds=outs[0].seeds), "context": context, "start": str(start)}
        with writing(output):
            save_film(film(rows, given, heads), whole, output, pipe.model.frames_per_second, metadata)

    same = same_tokens(outs[0], outs[-1])
    if as_json:
        print_json({
            "file": str(output), "preview": str(preview) if preview else None,
            **circumstances(pipe, outs[0].seeds, sampling, context=context, start=start, context_frames=given,
                            frames=whole, frames_per_second=pipe.model.frames_per_second, prompt=prompt),
            **({"methods": measured, "same_clips_by_ar_and_seed_exact": same} if compare else measured[0]),
        })
        return
    if compare:
        typer.echo(table(measured))
        typer.echo(sameness(same, clips, "clip"))
    for file in written:
        typer.echo(file)
    say_drawn(seed, first_seed)
    if not compare:
        typer.echo(summary(measured[0], "clip"))


def _check_files(written: list[Path], preview: Path | None, place: Path) -> None:
    """Refuse files that cannot be written, or that are being read."""
    if preview is not None and preview.suffix.lower() != ".png":
        raise BadInput(f"{str(preview)!r} does not end in .png: the preview is a PNG file")
    check_not_folders(written)
    for file in written:
        if file.exists() and file.samefile(place):
            raise BadInput(f"{str(file)!r} is the context, and would be written over: give another file")


def _methods(
    compare: bool, method: options.MethodName | None, coupling: options.CouplingName | None,
    drafting: options.Drafting,
) -> list[cd.Method]:
    if not compare:
        return [options.method_of(method or options.MethodName.scd, coupling, drafting)]
    for name, choice in (("method", method), ("coupling", coupling)):
        if choice is not None:
            raise BadInput(f"--{name} {choice.value} says nothing about --compare, which runs every method")
    return options.every_method(drafting)


def _in_a_square(out: Videos, titles: list[str]) -> Rows:
    """Clips of one method, in about as many rows as columns."""
    reels = [Reel(frames, f"{title}, {nfe} forwards")
             for frames, title, nfe in zip(out.frames, titles, out.trace.nfe.tolist(), strict=True)]
    columns = ceil(sqrt(len(reels)))
    return [("", reels[first : first + columns]) for first in range(0, len(reels), columns)]


def _side_by_side(
    outs: list[Videos], measured: list[dict[str, Any]], titles: list[str]
) -> tuple[Rows, list[tuple[str, str]]]:
    """A column a method, a row a clip; and what stands above the columns."""
    rows = [(title, [Reel(out.frames[row], f"{one['nfe'][row]} forwards")
                     for out, one in zip(outs, measured, strict=True)]) for row, title in enumerate(titles)]
    return rows, [(method_name(one), column_note(one)) for one in measured]
