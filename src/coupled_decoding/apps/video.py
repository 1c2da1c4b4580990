"""``scd video``: clips that continue given frames, by one method or by all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.contexts import footage_of, tokens_drawn
from coupled_decoding.apps.errors import BadInput, refusing
from coupled_decoding.apps.loading import Where, load_video
from coupled_decoding.apps.measured import Measured, documents, heading, same_tokens, sameness, summary, table
from coupled_decoding.apps.output import check_output, free_name, print_json, say_drawn, writing
from coupled_decoding.apps.progress import draw_with_each
from coupled_decoding.apps.prompts import typed_prompts
from coupled_decoding.apps.records import circumstances, shared_metadata

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.apps.sheets.films import Reel
    from coupled_decoding.media.footage import Footage
    from coupled_decoding.pipelines.video import VideoPipeline, Videos

OUTPUT = Path("clip.gif")


def video(
    context: Annotated[str, typer.Argument(
        metavar="CONTEXT", show_default=False,
        help="What to continue: a video file, an animation, a folder of pictures, a picture, or a built-in example.",
    )],
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", show_default=f"{OUTPUT}, or the next free name", help="MP4 or GIF file for the clip.")]
    = None,
    num_frames: options.NumFrames = options.NEW_FRAMES,
    context_frames: options.ContextFrames = None,
    start: options.Start = 0,
    clips: options.Clips = 1,
    compare: Annotated[bool, typer.Option("--compare", help="Every method side by side, and a table.")] = False,
    preview: Annotated[Path | None, typer.Option(
        show_default=False, help="PNG file that shows the frames so far, rewritten while they are drawn.")] = None,
    model: options.Model = "doom",
    prompt: Annotated[str | None, typer.Option(
        show_default=False, help="A text, for models that read one beside the frames.")] = None,
    method: options.Method = None,
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
    """Continue a clip.

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
    where = Where(model, dtype, device, compiled, allow_torchscript)
    place, files = _files(context, output, preview, where)
    if prompt is not None:
        typed_prompts([prompt])
    drafting, first_seed = options.Drafting(window, first_guess, predict, branches), options.seed_of(seed)
    methods = _methods(compare, method, drafting)
    pipe = load_video(where)
    sampling = options.Drawing(temperature, top_k, top_p).sampling(pipe.model.sampling)
    asked = Asked(pipe, footage_of(pipe.model, place, start, context_frames), num_frames,
                  [f"seed {first_seed + number}" for number in range(clips)], files)
    outs = _draw(asked, methods, prompts=prompt, sampling=sampling, seed=first_seed)
    measured = [Measured.of(one, out) for one, out in zip(methods, outs, strict=True)]
    _write(asked, measured, outs, {"context": context, "start": str(start)})
    same = same_tokens(outs[0], outs[-1])
    if as_json:
        print_json({
            "file": str(files[0]), "preview": str(preview) if preview else None,
            **circumstances(pipe, outs[0].seeds, sampling=sampling, context=context, start=start, prompt=prompt,
                            context_frames=asked.given, frames=asked.frames,
                            frames_per_second=pipe.model.frames_per_second),
            **({"methods": documents(measured), "same_clips_by_ar_and_seed_exact": same} if compare else
               measured[0].document()),
        })
        return
    if compare:
        typer.echo(f"{table(measured)}\n{sameness(same, clips, 'clip')}")
    for file in files:
        typer.echo(file)
    say_drawn(seed, first_seed)
    if not compare:
        typer.echo(summary(measured[0]))


@dataclass(frozen=True)
class Asked:
    """What is to be drawn, and where it goes."""

    pipe: VideoPipeline
    footage: Footage
    drawn: int
    """Frames to draw after the context."""
    titles: list[str]
    """One per clip."""
    files: list[Path]
    """The film, and the preview if there is one."""

    @property
    def given(self) -> int:
        """Frames of the context."""
        return len(self.footage.frames)

    @property
    def frames(self) -> int:
        """Of a whole clip."""
        return self.given + self.drawn


def _files(context: str, output: Path | None, preview: Path | None, where: Where) -> tuple[Path, list[Path]]:
    """The footage, and the files to write; those that cannot be written, or that are being read, are refused."""
    from coupled_decoding.media.films import check_film
    from coupled_decoding.media.footage import find_footage

    file = free_name(OUTPUT) if output is None else output
    with refusing(ValueError, FileNotFoundError, ModuleNotFoundError):
        check_film(file)
        place = find_footage(context)
    if preview is not None and preview.suffix.lower() != ".png":
        raise BadInput(f"{str(preview)!r} does not end in .png: the preview is a PNG file")
    files = [file, *([preview] if preview else [])]
    what = "a frame of the context" if place.is_dir() else "the context"
    check_output(files, {what: place, "a file of the model": where.folder})
    return place, files


def _methods(compare: bool, method: str | None, drafting: options.Drafting) -> list[cd.Method]:
    if compare and method is not None:
        raise BadInput(f"--method {method} says nothing about --compare, which runs every method: leave one out")
    return options.every_method(drafting) if compare else [options.method_of(method, drafting)]


def _draw(asked: Asked, methods: Sequence[cd.Method], **how: object) -> list[Videos]:
    """Clips by each method; the preview grows meanwhile."""
    from coupled_decoding.apps.sheets.preview import Preview

    model, clips = asked.pipe.model, len(asked.titles)
    tokens = clips * tokens_drawn(model, asked.given, asked.drawn)
    shown = [Preview(file, asked.titles, asked.given) for file in asked.files[1:]]
    with refusing(ValueError, FileNotFoundError):
        draw = partial(asked.pipe, context_tokens=model.encode([asked.footage.frames]), num_frames=asked.frames,
                       clips_per_context=clips, **how)  # type: ignore[arg-type]
    outs = draw_with_each(methods, draw, tokens, shown)
    for one in shown:
        one.write(outs[-1].frames)
    return outs


def _write(asked: Asked, measured: Sequence[Measured], outs: Sequence[Videos], metadata: dict[str, str]) -> None:
    from coupled_decoding.apps.sheets.films import film
    from coupled_decoding.media.films import save_film

    rate, file = asked.pipe.model.frames_per_second, asked.files[0]
    rows = _rows(asked, measured, outs)
    heads = [heading(one) for one in measured] if len(outs) > 1 else []
    with writing(file):
        save_film(film(rows, asked.given, heads), asked.frames, file, rate,
                  {**shared_metadata(outs, seeds=outs[0].seeds), **metadata})


def _rows(
    asked: Asked, measured: Sequence[Measured], outs: Sequence[Videos]
) -> list[tuple[str, list[Reel]]]:
    """Rows of the film, each with a title: one per clip, with one column per method; or clips of one in a square."""
    from coupled_decoding.apps.sheets.films import Reel

    reels = [[(out.frames[number], f"{one.nfe[number]} forwards") for out, one in zip(outs, measured, strict=True)]
             for number in range(len(asked.titles))]
    if len(outs) > 1:
        return [(title, [Reel(*reel) for reel in row]) for title, row in zip(asked.titles, reels, strict=True)]
    alone = [Reel(frames, f"{title}, {said}") for title, [(frames, said)] in zip(asked.titles, reels, strict=True)]
    columns = ceil(sqrt(len(alone)))
    return [("", alone[first : first + columns]) for first in range(0, len(alone), columns)]
