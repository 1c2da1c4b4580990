"""What draws pictures and clips again: for programs, and for the metadata of sheets and films."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import coupled_decoding as cd
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures
    from coupled_decoding.pipelines.video import VideoPipeline, Videos

OF_ONE = ("prompt", "seed")
"""What tells one picture or clip from the others of its sheet, which has lists of them."""


def circumstances(
    pipe: PicturePipeline | VideoPipeline, seeds: Sequence[int], *, sampling: cd.Sampling, **own: Any
) -> dict[str, Any]:
    """What reproduces pictures or clips, the method aside; ``own`` is what only one of the two has."""
    import coupled_decoding as cd

    return {
        **own,
        "seeds": list(seeds),
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


def shared_metadata(outs: Sequence[Pictures | Videos], **lists: Sequence[Any]) -> dict[str, str]:
    """The metadata of a sheet or a film: what all its pictures or clips have in common, and the rest as JSON lists.

    Args:
        outs: what each method drew; of several methods, ``methods`` lists what tells one from the others.
        lists: what each picture or clip has of its own, such as its seed.
    """
    own = [out.metadata[0] for out in outs]
    common = _common([metadata for out in outs for metadata in out.metadata])
    apart = [{key: value for key, value in one.items() if key not in common and key not in OF_ONE} for one in own]
    methods = {"methods": apart} if len(outs) > 1 else {}
    return {**common, **{key: json.dumps(value, ensure_ascii=False) for key, value in {**methods, **lists}.items()}}


def _common(every: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
