"""The text encoder of T5 (arXiv 1910.10683), whose features some families read instead of tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_pretrained, naming, read_folder, require_files
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.prompts import checked_prompt, shorten

END = "</s>"


class T5:
    """The encoder in a folder of its own: ``config.json``, ``tokenizer.json`` and weights.

    The decoder, where the weights hold it, is not loaded.
    """

    def __init__(self, folder: Path, placement: Placement) -> None:
        require_files(folder, ["config.json", "tokenizer.json"])
        with naming(folder / "config.json") as content:
            config = T5Config(**content)
        self.text = Text(folder / "tokenizer.json")
        self.end = self.text.id_of(END)
        tensors = {name: tensor for name, tensor in read_folder(folder).items()
                   if name.startswith(("shared.", "encoder."))}
        self.encoder = load_pretrained(T5EncoderModel, folder, placement, config=config, tensors=tensors)
        self.width: int = config.d_model

    @torch.no_grad()
    def features(self, prompt: str, most: int) -> Tensor:
        """Features ``[n, width]`` of a prompt and its end. ValueError where it has more than ``most`` tokens."""
        ids = [*self.text.ids(checked_prompt(prompt)), self.end]
        if len(ids) > most:
            raise ValueError(f"the prompt {shorten(prompt)!r} has {len(ids)} tokens: the model reads {most}; make it "
                             "shorter")
        return self.encoder(input_ids=torch.tensor([ids], device=self.encoder.device)).last_hidden_state[0]
