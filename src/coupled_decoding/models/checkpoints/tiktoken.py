"""Vocabularies in tiktoken's format, as tokenizers of the ``tokenizers`` library."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers


def read_tiktoken(path: Path, pattern: str, special: Sequence[str]) -> Tokenizer:
    """Byte-level BPE of a file with a line ``BASE64 RANK`` for each token.

    Text is cut by ``pattern``; within a piece, the neighbours whose union has the lowest rank are joined first. Special
    tokens take the ids after the last rank, in their order. ValueError if the file is damaged.
    """
    try:
        lines = (line.split() for line in path.read_bytes().splitlines() if line)
        ranks = {b64decode(token, validate=True): int(rank) for token, rank in lines}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: expected lines of a token in base64 and its rank ({error})") from error
    if sorted(ranks.values()) != list(range(len(ranks))) or len(ranks) < 256:
        raise ValueError(f"{path} is damaged: its ranks are not 0 to {len(ranks) - 1}, bytes included")
    letters = _letters()
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    # any two neighbours may join into a token, not only the two it was trained from; lower ranks go first
    merges = [
        (names[token[:cut]], names[token[cut:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    vocab = {names[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))  # a piece that is a token is not cut further
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def _letters() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 256 + hidden.index(byte)) for byte in range(256)]
