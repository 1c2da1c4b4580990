"""Fast, lossless decoding of autoregressive visual models: Speculative Coupled Decoding (arXiv 2510.24211)."""

from coupled_decoding.decoding.conformance import check_session
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.decoding.loop import Decoded, decode
from coupled_decoding.decoding.methods import AR, SCD, SJD, Method, SeedExact
from coupled_decoding.decoding.noise import NOISE_VERSION
from coupled_decoding.decoding.sampling import Sampling
from coupled_decoding.decoding.session import BranchingSession, Session
from coupled_decoding.decoding.trace import Step, Trace
from coupled_decoding.pipelines.load import from_pretrained
from coupled_decoding.serving.generate_with import generate_with

__all__ = [
    "AR", "NOISE_VERSION", "SCD", "SJD", "BranchingSession", "Decoded", "Layout", "Method", "Sampling", "SeedExact",
    "Session", "Step", "Trace", "check_session", "decode", "from_pretrained", "generate_with",
]
