"""The command ``scd``: pictures from prompts, and the decoding methods side by side."""

from __future__ import annotations

import json
import time
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from coupled_decoding.apps import families, options
from coupled_decoding.apps.bench import bench
from coupled_decoding.apps.comparing import draw_with_each, measures_of_each
from coupled_decoding.apps.drawing import drawn
from coupled_decoding.apps.errors import BadInput, Verbs, refusing
from coupled_decoding.apps.folders import check_not_folders, file_name, prepared_folder
from coupled_decoding.apps.loading import load_pictures
from coupled_decoding.apps.reports import (
    circumstances,
    column_note,
    forwards,
    method_name,
    same_tokens,
    sameness,
    seconds,
    shared_metadata,
    summary,
    table,
)
from coupled_decoding.apps.results import print_json, save, say_drawn
from coupled_decoding.apps.sheets import Column, comparison, contact_sheet
from coupled_decoding.apps.video import video

# what computes (torch, the models) is imported inside the commands: help and refusals come at once

app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """The console script."""
    app(prog_name="scd")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"scd {version('coupled-decoding')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def scd(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True,
                                           help="Print the version and exit.")] = False,
) -> None:
    """Pictures and clips by Speculative Coupled Decoding: lossless, in several times fewer forwards of the model.

    \b
    Start with:
      scd generate "a red heart" "a slice of pizza" -o out/
      scd compare "a red heart"
      scd video corridor -o clip.gif
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def generate(
    prompts: Annotated[list[str] | None, options.PROMPT] = None,
    prompts_file: Annotated[Path | None, typer.Option(
        "--prompts", metavar="FILE", show_default=False, help="Text file of more prompts, one a line.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures; made if it is not there.")]
    = Path("out"),
    model: options.Model = "emoji",
    method: Annotated[options.MethodName, typer.Option(help="How to decode; ar is one token a forward.")]
    = options.MethodName.scd,
    coupling: Annotated[options.CouplingName | None, typer.Option(
        show_default="gumbel", help="How scd couples a draft with the draft before it.")] = None,
    first_guess: options.FirstGuess = None,
    window: options.Window = None,
    predict: options.Predict = False,
    branches: options.NumBranches = 0,
    seed: options.Seed = None,
    guidance: options.Guidance = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    pictures: options.Pictures = 1,
    batch: Annotated[int | None, typer.Option(
        callback=options.at_least(1), show_default="all together",
        help="Pictures drawn at a time; each is written as soon as it is done, and there is no contact sheet.")] = None,
    size: options.Size = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    compiled: options.Compile = False,
    as_json: options.Json = False,
) -> None:
    """Draw pictures of prompts.

    Writes a PNG file a picture, named by its prompt and seed, and contact-sheet.png if there are several, but not with
    --batch. Each file carries its prompt, seed and method as metadata: the same ones give the same picture again.

    \b
    Two pictures, into the folder out:
      scd generate "a red heart" "a slice of pizza" -o out/
    Four of one prompt, seeds 7 to 10, keeping closer to the prompt:
      scd generate "a red heart" -n 4 --seed 7 --guidance 3 -o out/
    The very pictures that plain autoregressive sampling gives, in fewer forwards:
      scd generate "a red heart" --method seed-exact --predict --branches 32 --window 32 --seed 7 -o out/
    Many, eight at a time, from a file with a prompt a line:
      scd generate --prompts prompts.txt --batch 8 -o out/
    For a program:
      scd generate "a red heart" -o out/ --json | jq .files
    """
    asked = [*(prompts or []), *(options.read_prompts(prompts_file) if prompts_file else [])]
    if not asked:
        raise BadInput("no prompt is given: say in quotes what to draw, or give a text file of prompts with --prompts")
    options.check_prompts(asked)
    pixels = options.size_of(size)
    first_seed = options.seed_of(seed)
    rows = [prompt for prompt in asked for _ in range(pictures)]
    seeds = [first_seed + row for row in range(len(rows))]
    files = [output / file_name(prompt, row_seed) for prompt, row_seed in zip(rows, seeds, strict=True)]
    sheet = output / "contact-sheet.png" if len(files) > 1 and batch is None else None
    written = [*files, sheet] if sheet else files
    check_not_folders(written)
    chosen = options.method_of(method, coupling, options.Drafting(window, first_guess, predict, branches))
    with prepared_folder(output):
        pipe = load_pictures(model, dtype, device, compiled)
        sampling = options.sampling_of(pipe.sampling, temperature, top_k, top_p)
        scale = pipe.guidance_scale if guidance is None else guidance
        nfe, began = [0] * len(rows), time.perf_counter()
        drawing = drawn(pipe, rows, batch, method=chosen, sampling=sampling, guidance_scale=scale, seed=first_seed,
                        size=pixels)
        with closing(drawing):  # also its bar, where a file cannot be written
            for numbers, out in drawing:
                pieces = zip(numbers, out.images, out.metadata, out.trace.nfe.tolist(), strict=True)
                for number, image, metadata, took in pieces:
                    save(image, files[number], metadata)
                    nfe[number] = took
        # pictures drawn a few at a time share forwards, so what is in the model and what is outside is nobody's
        spent = seconds(out) if batch is None else {"seconds": time.perf_counter() - began}
        if sheet:
            save(contact_sheet(out.images, rows, seeds, pictures), sheet,
                 shared_metadata([out], prompts=rows, seeds=seeds))

    measured = {**forwards(chosen, nfe, out.tokens.shape[1]), **spent}
    if as_json:
        print_json({"files": [str(file) for file in files], "contact_sheet": str(sheet) if sheet else None,
                    **circumstances(pipe, seeds, sampling, prompts=rows, guidance_scale=scale), **measured})
        return
    for file in written:
        typer.echo(file)
    say_drawn(seed, first_seed)
    typer.echo(summary(measured))


@app.command()
def compare(
    prompts: options.Prompts,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file for the comparison.")] = Path("compare.png"),
    model: options.Model = "emoji",
    first_guess: options.FirstGuess = None,
    window: options.Window = None,
    predict: options.Predict = False,
    branches: options.NumBranches = 0,
    seed: options.Seed = None,
    guidance: options.Guidance = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    pictures: options.Pictures = 1,
    size: options.Size = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    compiled: options.Compile = False,
    as_json: options.Json = False,
) -> None:
    """Draw the same prompts and seeds with every method, side by side.

    Prints a table of how many forwards of the model (NFE) and seconds AR, SJD, SCD-maximal, SCD-gumbel and SeedExact
    took, and writes one picture with a column a method and a row a picture. All of them draw from the model's own
    distribution; SeedExact gives the very pictures of AR.

    \b
    The methods on two prompts, into compare.png:
      scd compare "a red heart" "a slice of pizza"
    With a narrower window, as suits a CPU, and four pictures of each prompt:
      scd compare "a red heart" -n 4 --window 16 --seed 7 -o narrow.png
    """
    options.check_prompts(prompts)
    if output.suffix.lower() != ".png":
        raise BadInput(f"{str(output)!r} does not end in .png: the comparison is a PNG file")
    check_not_folders([output])
    pixels = options.size_of(size)
    first_seed = options.seed_of(seed)
    methods = options.every_method(options.Drafting(window, first_guess, predict, branches))
    with prepared_folder(output.parent):
        pipe = load_pictures(model, dtype, device, compiled)
        sampling = options.sampling_of(pipe.sampling, temperature, top_k, top_p)
        scale = pipe.guidance_scale if guidance is None else guidance
        draw = partial(pipe, prompts, sampling=sampling, guidance_scale=scale, seed=first_seed,
                       images_per_prompt=pictures, size=pixels)
        with refusing(ValueError, FileNotFoundError):
            length = pipe.model.layout_of(pixels or pipe.model.size).length
            outs = draw_with_each(methods, draw, len(prompts) * pictures * length)
        measured = measures_of_each(methods, outs)
        columns = [
            Column(method_name(one), column_note(one), out.images, [f"{nfe} forwards" for nfe in one["nfe"]])
            for one, out in zip(measured, outs, strict=True)
        ]
        rows = [f"{prompt}, seed {row_seed}" for prompt, row_seed in zip(outs[0].prompts, outs[0].seeds, strict=True)]
        save(comparison(columns, rows), output,
             shared_metadata(outs, prompts=outs[0].prompts, seeds=outs[0].seeds))

    same = same_tokens(outs[0], outs[-1])
    if as_json:
        print_json({"file": str(output),
                    **circumstances(pipe, outs[0].seeds, sampling, prompts=outs[0].prompts, guidance_scale=scale),
                    "methods": measured, "same_pictures_by_ar_and_seed_exact": same})
        return
    typer.echo(table(measured))
    typer.echo(sameness(same, len(rows)))
    say_drawn(seed, first_seed)
    typer.echo(output)


app.command()(video)
app.command()(bench)


@app.command()
def models(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/families.md.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the families of models that --model takes.

    Where each is published, which files a folder must hold, its own defaults, and what was verified of our reading of
    it. A folder says itself which family it is of.

    \b
    A local folder of Janus-Pro, in bfloat16 on a GPU:
      scd generate "a red heart" --model Janus-Pro-1B/ --dtype bfloat16 --device cuda
    """
    found = families.cards()
    if as_json:
        typer.echo(json.dumps(families.as_documents(found), indent=2))
    else:
        typer.echo(families.as_markdown(found) if as_markdown else families.as_text(found))
