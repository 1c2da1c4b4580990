"""Captions of the pictures and the tokenizer that reads them.

One vocabulary serves both kinds of token: ids below ``CODES`` are picture codes, then come the three marks, then text.
A sequence is ``<bos> caption <boi> code ... code``; without a caption (``<bos> <boi>``) it is unconditional.
"""

from __future__ import annotations

import random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from coupled_decoding.models.networks.vq import VQConfig
from training.emoji.colours import recoloured
from training.emoji.data import STYLES

CODES = VQConfig().codes
BOS, BOI, PAD = "<bos>", "<boi>", "<pad>"
VOCAB_SIZE = 2048
MAX_PROMPT = 32  # tokens of a prompt, both marks included


def all_captions(descriptions: list[dict]) -> list[str]:
    """Every wording of these pictures, once with the style and once without."""
    words = [(wording, STYLES[d["style"]]) for d in descriptions for wording in [d["name"], *d["aliases"]]]
    return [wording for wording, _ in words] + [f"a the {wording}, {style} style" for wording, style in words]


def train_text_tokenizer(descriptions: list[dict]) -> Tokenizer:
    """Byte-level BPE (every prompt is readable) over the captions of the training split."""
    tokenizer = Tokenizer(models.BPE())
    plain_apostrophe = normalizers.Replace("’", "'")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), plain_apostrophe, normalizers.Lowercase(), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = [*(f"<code_{i}>" for i in range(CODES)), BOS, BOI, PAD]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(all_captions(descriptions), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {BOI}", special_tokens=[(t, tokenizer.token_to_id(t)) for t in (BOS, BOI)],
    )
    return tokenizer


def prompt_ids(text: Tokenizer, caption: str) -> list[int]:
    """Token ids of a caption between its marks; of none, the marks alone."""
    return text.encode(caption).ids


def styled(wording: str, description: dict) -> str:
    return f"{wording}, {STYLES[description['style']]} style"


def draw_caption(description: dict, rng: random.Random, colour: str | None = None) -> str:
    """One wording: the CLDR name or an alias, perhaps an article before it, perhaps the style after it.

    Where a colour is given, the wording says it: "a blue apple" for "apple", "blue heart" for "red heart".
    """
    wordings = [description["name"], *description["aliases"]]
    if colour is not None:
        wordings = [w for one in wordings if (w := recoloured(one, colour)) is not None] or [f"{colour} thing"]
    wording = wordings[0] if len(wordings) == 1 or rng.random() < 0.7 else rng.choice(wordings[1:])
    wording = rng.choice(["", "", "a ", "the "]) + wording
    return styled(wording, description) if rng.random() < 0.6 else wording
