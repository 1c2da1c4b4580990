"""``scd generate``: pictures of prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coupled_decoding.apps import options
from coupled_decoding.apps.errors import BadInput
from coupled_decoding.apps.loading import Where, load_pictures
from coupled_decoding.apps.measured import Measured, summary
from coupled_decoding.apps.output import check_output, file_name, print_json, save_beside, say_drawn
from coupled_decoding.apps.progress import pictures_as_done
from coupled_decoding.apps.prompts import Prompt, check_readable, read_prompts, typed_prompts
from coupled_decoding.apps.records import circumstances, shared_metadata

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline


def generate(
    prompts: Annotated[list[str] | None, options.PROMPT] = None,
    prompts_file: Annotated[Path | None, typer.Option(
        "--prompts", metavar="FILE", show_default=False, help="Text file of more prompts, one per line.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures; made if it is not there.")]
    = Path("out"),
    model: options.Model = "emoji",
    method: options.Method = None,
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
        callback=options.at_least(1, options.LARGEST), show_default="all together",
        help="Pictures drawn at a time; each is written as soon as it is done, and there is no contact sheet.")] = None,
    size: options.Size = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    compiled: options.Compile = False,
    as_json: options.Json = False,
) -> None:
    """Draw pictures of prompts.

    Writes one PNG file per picture, named after its prompt and seed, and contact-sheet.png if there are several, but
    not with --batch. Each file carries its prompt, seed and method as metadata: the same ones give the same picture
    again. A file that holds another picture is not written over: the new one gets a number.

    \b
    Two pictures, into the folder out:
      scd generate "a red heart" "a slice of pizza" -o out/
    Four of one prompt, seeds 7 to 10, keeping closer to the prompt:
      scd generate "a red heart" -n 4 --seed 7 --guidance 3 -o out/
    The very pictures that plain autoregressive sampling gives, in fewer forwards:
      scd generate "a red heart" --method seed-exact --predict --branches 32 --window 32 --seed 7 -o out/
    Many, eight at a time, from a file with one prompt per line:
      scd generate --prompts prompts.txt --batch 8 -o out/
    For a program:
      scd generate "a red heart" -o out/ --json | jq .files
    """
    asked = _ask(prompts or [], prompts_file, pictures, batch, size, seed, output)
    where, drafting = Where(model, dtype, device, compiled), options.Drafting(window, first_guess, predict, branches)
    check_output(asked.files, {"the file of prompts": prompts_file, "a file of the model": where.folder})
    pipe, chosen = _prepare(where, asked, method, drafting)
    how = options.Drawing(temperature, top_k, top_p, guidance).of(pipe)
    written, measured = _draw_and_write(pipe, asked, chosen, **how)
    if as_json:
        print_json(_document(asked, written, circumstances(pipe, asked.seeds, prompts=asked.rows, **how), measured))
    else:
        for file in written:
            typer.echo(file)
        say_drawn(seed, asked.seeds[0])
        typer.echo(summary(measured))


@dataclass(frozen=True)
class Asked:
    """What is to be drawn, and where it goes; lists have one entry per picture."""

    prompts: Sequence[Prompt]
    """Each once."""
    pictures: int
    """Of each prompt."""
    rows: list[str]
    seeds: list[int]
    size: tuple[int, int] | None
    batch: int | None
    folder: Path

    @property
    def sheet(self) -> Path | None:
        """The contact sheet, if there is one."""
        return self.folder / "contact-sheet.png" if len(self.rows) > 1 and self.batch is None else None

    @property
    def files(self) -> list[Path]:
        """One per picture, and the contact sheet."""
        pairs = zip(self.rows, self.seeds, strict=True)
        return [*(self.folder / file_name(*pair) for pair in pairs), *([self.sheet] if self.sheet else [])]


def _ask(
    typed: Sequence[str], file: Path | None, pictures: int, batch: int | None, size: str | None, seed: int | None,
    folder: Path,
) -> Asked:
    prompts = [*typed_prompts(typed), *(read_prompts(file) if file else [])]
    if not prompts:
        raise BadInput("no prompt is given: say in quotes what to draw, or give a text file of prompts with --prompts")
    rows = [prompt.text for prompt in prompts for _ in range(pictures)]
    first = options.seed_of(seed)
    return Asked(prompts, pictures, rows, list(range(first, first + len(rows))), options.size_of(size), batch, folder)


def _prepare(
    where: Where, asked: Asked, method: str | None, drafting: options.Drafting
) -> tuple[PicturePipeline, cd.Method]:
    """All that can be refused is refused before the weights are read, or before the first forward."""
    options.check_guess_of_pictures([drafting.first_guess])
    chosen = options.method_of(method, drafting)
    pipe = load_pictures(where, asked.size)
    check_readable(pipe, asked.prompts, asked.size)
    return pipe, chosen


def _draw_and_write(
    pipe: PicturePipeline, asked: Asked, method: cd.Method, **how: Any
) -> tuple[list[Path], Measured]:
    """Each picture is written as soon as it is given; then the sheet. Returns the files, and what it took."""
    files, nfe, began = asked.files, [0] * len(asked.rows), time.perf_counter()
    drawing = pictures_as_done(pipe, asked.rows, asked.batch, method=method, seed=asked.seeds, size=asked.size, **how)
    with closing(drawing):  # also its bar, where a file cannot be written
        for numbers, out in drawing:
            for number, image, metadata, took in zip(numbers, out.images, out.metadata, out.trace.nfe.tolist(),
                                                     strict=True):
                files[number] = save_beside(image, files[number], metadata)
                nfe[number] = took
    if asked.sheet:
        from coupled_decoding.apps.sheets.pictures import contact_sheet

        files[-1] = save_beside(contact_sheet(out.images, asked.rows, asked.seeds, asked.pictures), asked.sheet,
                                shared_metadata([out], prompts=asked.rows, seeds=asked.seeds))
    if asked.batch is None:
        return files, Measured.of(method, out)
    # pictures drawn a few at a time share forwards: what is in the model and what is outside belongs to none of them
    return files, Measured(method, out.tokens.shape[1], nfe, time.perf_counter() - began)


def _document(asked: Asked, written: Sequence[Path], said: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """For programs."""
    files = [str(file) for file in written]
    sheet = files.pop() if asked.sheet else None
    return {"files": files, "contact_sheet": sheet, **said, **measured.document()}
