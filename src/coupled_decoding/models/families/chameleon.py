"""What Lumina-mGPT 1.0 and Anole share: Chameleon (arXiv 2405.09818), one transformer over text and picture codes.

====================  ================================================================================================
vocabulary            65536 ids. A picture code is a token named ``IMGIMG``, the decimal digits of the VQGAN's code as
                      letters A .. J, and ``Z``: ``IMGIMGBAEZ`` is code 104. Their ids are 4 .. 8195; which is which
                      the names say. Marks (picture start, end of turn) are found by name too
language model        transformers' ``ChameleonModel``: queries and keys normalised in each head; 34B with norms behind
                      its blocks (``swin_norm``). Its ``ForConditionalGeneration`` forbids codes, so the head is our own
                      product with the codes' rows
per-head norms        transformers has one for each head; published folders have one for each shard of training, that
                      is, for neighbouring heads (7B: one for all)
pixels                a VQGAN in taming-transformers' names, one code for 16x16 pixels: ``vqgan.ckpt``
====================  ================================================================================================

Sources: github.com/facebookresearch/chameleon as carried in github.com/GAIR-NLP/anole and
github.com/Alpha-VLLM/Lumina-mGPT (``vocab.py``, ``vqgan.py``, ``modeling_chameleon.py``), transformers'
``models/chameleon``. ``vqgan.yaml`` is not needed: all it says can be read off the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ChameleonConfig, ChameleonModel

from coupled_decoding.decoding.layout import as_slice
from coupled_decoding.media.pixels import Size
from coupled_decoding.models.checkpoints.placement import Placement
from coupled_decoding.models.checkpoints.reading import load_pretrained, under
from coupled_decoding.models.checkpoints.text import Text
from coupled_decoding.models.contract import PictureModel
from coupled_decoding.models.networks.vqgan import VQGAN, load_vqgan
from coupled_decoding.serving.backbone import Backbone, as_logits
from coupled_decoding.serving.cache import PositionCache

BOS, END_OF_TURN, BOI, EOI = "<s>", "<reserved08706>", "<racm3:break>", "<eoss>"
PLACES = ("", "tokenizer", "chameleon/tokenizer", "../chameleon/tokenizer")
"""Where Chameleon's tokenizers may be: beside the weights, in Meta's layout, or where Lumina-mGPT's code has them."""
DRAWING = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
"""The VQGAN among the weights of its training, which hold losses too."""


def find(folder: Path, *names: str) -> Path:
    """The first of these files in any of ``PLACES``. FileNotFoundError where there is none."""
    for place in PLACES:
        for name in names:
            if (folder / place / name).is_file():
                return folder / place / name
    raise FileNotFoundError(f"the checkpoint {folder} lacks {' or '.join(names)}: it comes with Meta's Chameleon and "
                            "with Anole, in their folder tokenizer; put it beside the weights")


class ChameleonText(Text):
    """Chameleon's tokenizer, which also says what token stands for a picture code."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        digits = str.maketrans("ABCDEFGHIJ", "0123456789")
        ids = {int(found[1].translate(digits)): token_id for token, token_id in self.tokenizer.get_vocab().items()
               if (found := re.fullmatch(r"IMGIMG([A-J]+)Z", token))}
        if not ids or sorted(ids) != list(range(len(ids))):
            raise ValueError(f"{path} names no picture codes (IMGIMGAZ, IMGIMGBZ, ...): it is no Chameleon's tokenizer")
        self.of_code = torch.tensor([ids[code] for code in range(len(ids))])
        """LongTensor ``[codes]``: the token of each code."""
        self.code_tokens, self._codes = self.of_code.sort()

    def codes_of(self, tokens: Tensor) -> Tensor:
        """Codes of tokens that stand for codes; any shape."""
        return self._codes.to(tokens.device)[torch.searchsorted(self.code_tokens.to(tokens.device), tokens)]


class LanguageModel(ChameleonModel):  # type: ignore[misc]  # transformers has no types
    """Without the VQ encoder."""

    def __init__(self, config: ChameleonConfig) -> None:
        super().__init__(config)
        del self.vqmodel


class ChameleonBackbone(Backbone):
    """A Chameleon that computes the logits of picture codes only; ``head`` holds their rows, ``[C, hidden]``."""

    def __init__(self, decoder: LanguageModel, head: Tensor, codes: Tensor) -> None:
        super().__init__(decoder, decoder.config.vocab_size, output_codes=codes)
        self.head = head

    def trunk(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: PositionCache, conditions: tuple[Tensor, ...]
    ) -> Tensor:
        return self.transformers_trunk(positions, mask, cache, input_ids=tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        return as_logits(nn.functional.linear(hidden.to(self.head.device), self.head))


def language_config(sizes: Mapping[str, Any]) -> ChameleonConfig:
    """The configuration of a language model; what it says of the VQ encoder and the vocabulary is left out."""
    return ChameleonConfig(**{**sizes, "vocabulary_map": {}, "vq_config": None})


def renamed_language(tensors: Mapping[str, Tensor], config: ChameleonConfig) -> dict[str, Tensor]:
    """Weights of :class:`LanguageModel` among those of a checkpoint in transformers' names; norms for every head."""
    heads = {"q_norm": config.num_attention_heads, "k_norm": config.num_key_value_heads or config.num_attention_heads}

    def for_every_head(name: str, tensor: Tensor) -> Tensor:
        count = heads.get(name.split(".")[-2:][0])
        return tensor if count is None or count % len(tensor) else tensor.repeat_interleave(count // len(tensor), 0)

    return {name: for_every_head(name, tensor) for name, tensor in under("model.", tensors).items()
            if not name.startswith("vqmodel.")}


def load_backbone(
    folder: Path, placement: Placement, config: ChameleonConfig, tensors: Mapping[str, Tensor], codes: Tensor
) -> ChameleonBackbone:
    """The language model of weights in transformers' names. ValueError where they do not fit, or know fewer ids."""
    head = tensors.get("lm_head.weight")
    if head is None or head.shape != (config.vocab_size, config.hidden_size) or config.vocab_size <= int(codes[-1]):
        found = "no lm_head.weight" if head is None else f"lm_head.weight of shape {tuple(head.shape)}"
        raise ValueError(f"the weights in {folder} do not fit its configuration and tokenizer: {found}, for "
                         f"{config.vocab_size} ids, {config.hidden_size} channels and codes up to id {int(codes[-1])}")
    decoder = load_pretrained(
        LanguageModel, folder, placement, config=config, tensors=renamed_language(tensors, config)
    )
    rows = head[as_slice(codes)].to(decoder.device, placement.dtype)
    return ChameleonBackbone(decoder, rows, codes.to(decoder.device))


class ChameleonPictures(PictureModel):
    """A family on this base: it says how a prompt reads and what the stream of a picture looks like.

    Args:
        backbone: gives logits of the picture codes.
        vq: pixels to codes and back.
        text: the tokenizer of the same model.
    """

    def __init__(self, backbone: ChameleonBackbone, vq: VQGAN, text: ChameleonText) -> None:
        self.backbone, self.vq, self.text = backbone, vq, text

    def tokens_of(self, pixels: Tensor, size: Size) -> Tensor:
        codes = self.vq.encode(pixels).flatten(1).cpu()
        return self.layout_of(size).stream_of(self.text.of_code[codes])

    def pixels_of(self, tokens: Tensor, size: Size) -> Tensor:
        drawn = self.layout_of(size).drawn_of(tokens)
        width, height = (side // self.vq.config.downsampling for side in size)
        return self.vq.decode(self.text.codes_of(drawn).view(-1, height, width))


def load_pixels(tensors: Mapping[str, Tensor], path: Path, text: ChameleonText, device: torch.device) -> VQGAN:
    """The VQGAN of these weights, which may hold more; ``path`` is named where they do not fit, or not the text."""
    drawing = {name: tensor for name, tensor in tensors.items() if name.startswith(DRAWING)}
    vq = load_vqgan(drawing, path, normalised=False, device=device)
    if vq.config.codes != len(text.of_code):
        raise ValueError(f"{path} has {vq.config.codes} codes, but {text.path} names {len(text.of_code)}: they are of "
                         "different models")
    return vq
