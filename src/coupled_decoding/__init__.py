"""Fast, lossless decoding of autoregressive visual models: Speculative Coupled Decoding (arXiv 2510.24211).

A public name is imported when it is asked for (PEP 562): who decodes with a session of their own loads no model family
and no transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coupled_decoding.decoding.conformance import ContractError, check_session
    from coupled_decoding.decoding.layout import Layout
    from coupled_decoding.decoding.loop import Decoded, Decoding, decode
    from coupled_decoding.decoding.methods import AR, SCD, SJD, Method, SeedExact
    from coupled_decoding.decoding.noise import NOISE_VERSION
    from coupled_decoding.decoding.peers import GSD, PAC, Jacobi, ZipAR
    from coupled_decoding.decoding.sampling import Sampling
    from coupled_decoding.decoding.session import Session, SessionBase
    from coupled_decoding.decoding.trace import Step, Trace
    from coupled_decoding.pipelines.load import from_pretrained
    from coupled_decoding.pipelines.pictures import PicturePipeline, Pictures
    from coupled_decoding.pipelines.video import VideoPipeline, Videos
    from coupled_decoding.serving.causal_lm import CausalLM
    from coupled_decoding.serving.generate_with import generate_with
    from coupled_decoding.serving.session import TransformersSession

__all__ = [
    "AR", "GSD", "NOISE_VERSION", "PAC", "SCD", "SJD", "CausalLM", "ContractError", "Decoded", "Decoding", "Jacobi",
    "Layout", "Method", "PicturePipeline", "Pictures", "Sampling", "SeedExact", "Session", "SessionBase", "Step",
    "Trace", "TransformersSession", "VideoPipeline", "Videos", "ZipAR", "check_session", "decode", "from_pretrained",
    "generate_with",
]

_HOMES = {
    "decoding.conformance": ("ContractError", "check_session"),
    "decoding.layout": ("Layout",),
    "decoding.loop": ("Decoded", "Decoding", "decode"),
    "decoding.methods": ("AR", "SCD", "SJD", "Method", "SeedExact"),
    "decoding.noise": ("NOISE_VERSION",),
    "decoding.peers": ("GSD", "PAC", "Jacobi", "ZipAR"),
    "decoding.sampling": ("Sampling",),
    "decoding.session": ("Session", "SessionBase"),
    "decoding.trace": ("Step", "Trace"),
    "pipelines.load": ("from_pretrained",),
    "pipelines.pictures": ("PicturePipeline", "Pictures"),
    "pipelines.video": ("VideoPipeline", "Videos"),
    "serving.causal_lm": ("CausalLM",),
    "serving.generate_with": ("generate_with",),
    "serving.session": ("TransformersSession",),
}
"""Where each public name stands."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # type checkers would take any name for one that there is

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
