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
    from coupled_decoding.pipelines.video import VideoPipeline, Videos


def circumstances(
    pipe: PicturePipeline | VideoPipeline, seeds: list[int], sampling: cd.Sampling, **own: Any
) -> dict[str, Any]:
    """What reproduces pictures or clips, the method aside; ``own`` is what only one of the two has."""
    import coupled_decoding as cd

    return {
        **own,
        "seeds": seeds,
        "model": pipe.name,
        "dtype": str(pipe.model.dtype).removeprefix("torch."),
        "sampling": dataclasses.asdict(sampling),
        "versions": {
            "coupled-decoding": version("coupled-decoding"),
            "noise": cd.NOISE_VERSION,
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
    }


def measures(method: cd.Method, out: Pictures | Videos, drawn: str = "picture") -> dict[str, Any]:
    """The method and what it took; ``drawn`` names what was drawn."""
    return {**forwards(method, out.trace.nfe.tolist(), out.tokens.shape[1], drawn), **seconds(out)}


def forwards(method: cd.Method, nfe: list[int], length: int, drawn: str = "picture") -> dict[str, Any]:
    """The method and the forwards of each picture or clip; plain autoregressive sampling takes one a token."""
    return {
        "method": {"name": method.name, **dataclasses.asdict(method)},
        f"tokens_per_{drawn}": length,
        "nfe": nfe,
        "nfe_mean": sum(nfe) / len(nfe),
        "tokens_per_forward": length * len(nfe) / sum(nfe),
        "speedup_in_forwards": length * len(nfe) / sum(nfe),
    }


def seconds(out: Pictures | Videos) -> dict[str, float]:
    """What one decode took, in the model and outside."""
    return {
        "seconds": out.trace.seconds_model + out.trace.seconds_outside,
        "seconds_model": out.trace.seconds_model,
        "seconds_outside": out.trace.seconds_outside,
    }


def method_name(measured: dict[str, Any]) -> str:
    """The method's name, and what is not as published."""
    method = measured["method"]
    return method["name"] + " +predict" * method["predict"] + f" +{method['branches']}" * (method["branches"] > 0)


def summary(measured: dict[str, Any], drawn: str = "picture") -> str:
    """One line about one method."""
    window, tokens = measured["method"]["window"], measured[f"tokens_per_{drawn}"]
    return (f"{method_name(measured)}, window {window}: NFE {measured['nfe_mean']:.1f} for {tokens} tokens, "
            f"{measured['speedup_in_forwards']:.2f}x fewer forwards than AR, {measured['seconds']:.1f} s")


def column_note(measured: dict[str, Any]) -> str:
    """What stands under a method's name on a comparison."""
    fewer = f", {measured['speedup_in_forwards']:.2f}x fewer" if measured["method"]["window"] != 1 else ""
    return f"NFE {measured['nfe_mean']:.1f}{fewer}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line a method."""
    lines = [("method", "NFE", "tokens/forward", "AR/NFE", "seconds", "AR/seconds")]
    for row in rows:
        lines.append((
            method_name(row), f"{row['nfe_mean']:.1f}", f"{row['tokens_per_forward']:.2f}",
            f"{row['speedup_in_forwards']:.2f}x", f"{row['seconds']:.2f}", f"{row['speedup_in_seconds']:.2f}x",
        ))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in lines
    )


def same_tokens(one: Pictures | Videos, other: Pictures | Videos) -> int:
    """How many pictures or clips two methods drew alike."""
    return sum(a == b for a, b in zip(one.tokens.tolist(), other.tokens.tolist(), strict=True))


def sameness(same: int, total: int, drawn: str = "picture") -> str:
    """Whether SeedExact kept its promise, as it stands in exact arithmetic."""
    if same == total:
        return f"AR and SeedExact drew the same {drawn}s, token for token."
    return (f"AR and SeedExact drew the same {drawn} in {same} of {total} cases: where two tokens are nearly tied, "
            "rounding decides.")


def shared_metadata(outs: Sequence[Pictures | Videos], **lists: Sequence[Any]) -> dict[str, str]:
    """What all pictures of a sheet, or all clips of a film, have in common, and what each has as JSON lists."""
    every = [metadata for out in outs for metadata in out.metadata]
    common = {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
    return {**common, **{key: json.dumps(value, ensure_ascii=False) for key, value in lists.items()}}
