"""The tokenizer of a checkpoint, without what transformers would add to it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from coupled_decoding.models.checkpoints.reading import read_json, require_files


class Text:
    """Text to token ids by a ``tokenizer.json``. Special tokens are written out in the text or added by a family."""

    def __init__(self, path: Path) -> None:
        require_files(path.parent, [path.name])
        read_json(path)  # the library's own error would not name the file
        self.path = path
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; marks that stand in it are single tokens, none is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def id_of(self, token: str) -> int:
        """Id of a special token. ValueError where the vocabulary lacks it: then it is another model's tokenizer."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"{self.path} has no token {token!r}: it is not this family's tokenizer")
        return int(found)
