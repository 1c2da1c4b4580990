"""``scd compare``: the same prompts and seeds with every method, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.errors import BadInput
from coupled_decoding.apps.loading import Where, load_pictures
from coupled_decoding.apps.measured import Measured, documents, heading, same_tokens, sameness, table
from coupled_decoding.apps.output import check_output, free_name, print_json, save, say_drawn
from coupled_decoding.apps.progress import draw_with_each
from coupled_decoding.apps.prompts import Prompt, check_readable, typed_prompts
from coupled_decoding.apps.records import circumstances, shared_metadata

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures

OUTPUT = Path("compare.png")


def compare(
    prompts: options.Prompts,
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", show_default=f"{OUTPUT}, or the next free name", help="PNG file for the comparison.")] = None,
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
    took, and writes one picture with one column per method and one row per picture. All of them draw from the model's
    own distribution; SeedExact gives the very pictures of AR. Options that mean nothing to a method are left out of it.

    \b
    The methods on two prompts, into compare.png:
      scd compare "a red heart" "a slice of pizza"
    With a narrower window, as suits a CPU, and four pictures of each prompt:
      scd compare "a red heart" -n 4 --window 16 --seed 7 -o narrow.png
    """
    asked, pixels, first_seed = typed_prompts(prompts), options.size_of(size), options.seed_of(seed)
    where, drafting = Where(model, dtype, device, compiled), options.Drafting(window, first_guess, predict, branches)
    file = _file(output, where)
    pipe, methods = _prepare(where, asked, pixels, drafting)
    how = options.Drawing(temperature, top_k, top_p, guidance).of(pipe)
    outs = _draw(pipe, methods, prompts, pictures, size=pixels, seed=first_seed, **how)
    measured = [Measured.of(method, out) for method, out in zip(methods, outs, strict=True)]
    _write(file, measured, outs)
    same, drawn = same_tokens(outs[0], outs[-1]), outs[0]
    if as_json:
        said = circumstances(pipe, drawn.seeds, prompts=drawn.prompts, **how)
        print_json({"file": str(file), **said, "methods": documents(measured),
                    "same_pictures_by_ar_and_seed_exact": same})
    else:
        typer.echo(table(measured))
        typer.echo(sameness(same, len(drawn.seeds)))
        say_drawn(seed, first_seed)
        typer.echo(file)


def _file(output: Path | None, where: Where) -> Path:
    file = free_name(OUTPUT) if output is None else output
    if file.suffix.lower() != ".png":
        raise BadInput(f"{str(file)!r} does not end in .png: the comparison is a PNG file")
    check_output([file], {"a file of the model": where.folder})
    return file


def _prepare(
    where: Where, prompts: Sequence[Prompt], size: tuple[int, int] | None, drafting: options.Drafting
) -> tuple[PicturePipeline, list[cd.Method]]:
    """All that can be refused is refused before the weights are read, or before the first forward."""
    options.check_guess_of_pictures([drafting.first_guess])
    methods = options.every_method(drafting)
    pipe = load_pictures(where, size)
    check_readable(pipe, prompts, size)
    return pipe, methods


def _draw(
    pipe: PicturePipeline, methods: Sequence[cd.Method], prompts: Sequence[str], pictures: int, **how: Any
) -> list[Pictures]:
    length = pipe.model.layout_of(how["size"] or pipe.model.size).length
    draw = partial(pipe, prompts, images_per_prompt=pictures, **how)
    return draw_with_each(methods, draw, len(prompts) * pictures * length)


def _write(file: Path, measured: Sequence[Measured], outs: Sequence[Pictures]) -> None:
    from coupled_decoding.apps.sheets.pictures import Column, comparison

    columns = [Column(*heading(one), out.images, [f"{nfe} forwards" for nfe in one.nfe])
               for one, out in zip(measured, outs, strict=True)]
    prompts, seeds = outs[0].prompts, outs[0].seeds
    rows = [f"{prompt}, seed {seed}" for prompt, seed in zip(prompts, seeds, strict=True)]
    save(comparison(columns, rows), file, shared_metadata(outs, prompts=prompts, seeds=seeds))
