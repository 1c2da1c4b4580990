"""The pixels of Cosmos-1: DV8x16x16, published as two TorchScript programs and run as such.

A TorchScript file is no weights file: running it hands control to the program in it. So it is loaded only where the
user allows it, with ``allow_torchscript=True`` of :func:`coupled_decoding.from_pretrained`; nothing else in this
package runs code of a checkpoint.

``encoder.jit`` takes ``[B, 3, T, H, W]`` in [-1, 1] and returns codes ``[B, t, H / 16, W / 16]`` first, with
``t = 1 + (T - 1) / 8``: the first frame stands by itself, then eight frames a code. ``decoder.jit`` is its inverse.
They run in bfloat16 as published, but on a CPU, where some of their operations need float32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coupled_decoding.models.checkpoints.reading import require_files

FRAMES_A_CODE, PIXELS_A_CODE = 8, 16


class CosmosTokenizer:
    """The programs of one folder; FileNotFoundError or ValueError where they are missing or damaged."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        require_files(folder, ["encoder.jit", "decoder.jit"])
        self.folder, self.device = folder, device
        self.dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        self.encoder, self.decoder = (self._program(folder / name) for name in ("encoder.jit", "decoder.jit"))

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Codes LongTensor ``[B, t, H / 16, W / 16]`` of pixels ``[B, 3, T, H, W]`` in [0, 1]."""
        _, _, frames, height, width = pixels.shape
        expected = (1 + (frames - 1) // FRAMES_A_CODE, height // PIXELS_A_CODE, width // PIXELS_A_CODE)
        clips = (2 * pixels - 1).to(self.dtype).split(1)
        return torch.cat([self._run(self.encoder, clip, expected) for clip in clips]).long()

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Pixels, float32 ``[B, 3, T, H, W]``, not cut to [0, 1], of codes LongTensor ``[B, t, h, w]``."""
        _, latents, height, width = codes.shape
        expected = (3, 1 + (latents - 1) * FRAMES_A_CODE, height * PIXELS_A_CODE, width * PIXELS_A_CODE)
        return torch.cat([self._run(self.decoder, clip, expected) for clip in codes.split(1)]).float() / 2 + 0.5

    def _run(self, program: Any, clip: Tensor, expected: tuple[int, ...]) -> Tensor:
        """One clip at a time: memory is what these programs need most."""
        # optimised, as it would be after its first calls, a program may give other results than before
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            result = program(clip.to(self.device))
        result = result[0] if isinstance(result, tuple) else result
        if tuple(result.shape[1:]) != expected:
            raise ValueError(f"the tokenizer in {self.folder} makes {list(result.shape[1:])} of "
                             f"{list(clip.shape[1:])}, not {list(expected)}: it is another than DV8x16x16")
        return result

    def _program(self, path: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there is no other publication of this tokenizer
            try:
                program = torch.jit.load(str(path), map_location=self.device)
            except RuntimeError as error:
                raise ValueError(f"{path} is damaged: it is no TorchScript program") from error
        return program.eval().to(self.dtype)
