"""What is said of finished decodes: the numbers, the table, the metadata of sheets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures


def circumstances(
    pipe: PicturePipeline, out: Pictures, sampling: cd.Sampling, guidance: float | None
) -> dict[str, Any]:
    """What reproduces the pictures, the method aside."""
    import coupled_decoding as cd

    return {
        "prompts": out.prompts,
        "seeds": out.seeds,
        "model": pipe.name,
        "dtype": out.metadata[0]["dtype"],
        "sampling": dataclasses.asdict(sampling),
        "guidance_scale": pipe.guidance_scale if guidance is None else guidance,
        "versions": {
            "coupled-decoding": version("coupled-decoding"),
            "noise": cd.NOISE_VERSION,
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
    }


def measures(method: cd.Method, out: Pictures) -> dict[str, Any]:
    """The method and what it took. Plain autoregressive sampling takes one forward a token."""
    nfe = out.trace.nfe.tolist()
    length = out.tokens.shape[1]
    return {
        "method": {"name": method.name, **dataclasses.asdict(method)},
        "tokens_per_picture": length,
        "nfe": nfe,
        "nfe_mean": sum(nfe) / len(nfe),
        "tokens_per_forward": length * len(nfe) / sum(nfe),
        "speedup_in_forwards": length * len(nfe) / sum(nfe),
        "seconds": out.trace.seconds_model + out.trace.seconds_outside,
        "seconds_model": out.trace.seconds_model,
        "seconds_outside": out.trace.seconds_outside,
    }


def summary(measured: dict[str, Any]) -> str:
    """One line about one method."""
    name, window = measured["method"]["name"], measured["method"]["window"]
    return (f"{name}, window {window}: NFE {measured['nfe_mean']:.1f} for {measured['tokens_per_picture']} tokens, "
            f"{measured['speedup_in_forwards']:.2f}x fewer forwards than AR, {measured['seconds']:.1f} s")


def column_note(measured: dict[str, Any]) -> str:
    """What stands under a method's name on a comparison."""
    fewer = f", {measured['speedup_in_forwards']:.2f}x fewer" if measured["method"]["window"] > 1 else ""
    return f"NFE {measured['nfe_mean']:.1f}{fewer}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line a method."""
    lines = [("method", "NFE", "tokens/forward", "AR/NFE", "seconds", "AR/seconds")]
    for row in rows:
        lines.append((
            row["method"]["name"], f"{row['nfe_mean']:.1f}", f"{row['tokens_per_forward']:.2f}",
            f"{row['speedup_in_forwards']:.2f}x", f"{row['seconds']:.2f}", f"{row['speedup_in_seconds']:.2f}x",
        ))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in lines
    )


def sameness(same: int, pictures: int) -> str:
    """Whether SeedExact kept its promise, as it stands in exact arithmetic."""
    if same == pictures:
        return "AR and SeedExact drew the same pictures, token for token."
    return (f"AR and SeedExact drew the same picture in {same} of {pictures} cases: where two tokens are nearly tied, "
            "rounding decides.")


def sheet_metadata(outs: Sequence[Pictures]) -> dict[str, str]:
    """What all pictures of a sheet have in common, and the prompts and seeds of its pictures as JSON lists."""
    every = [metadata for out in outs for metadata in out.metadata]
    common = {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
    lists = {"prompts": outs[0].prompts, "seeds": outs[0].seeds}
    return {**common, **{key: json.dumps(value, ensure_ascii=False) for key, value in lists.items()}}
