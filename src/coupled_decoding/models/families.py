"""The families that :func:`coupled_decoding.from_pretrained` knows."""

from __future__ import annotations

from coupled_decoding.models.emoji import EmojiModel
from coupled_decoding.models.family import PictureModel
from coupled_decoding.models.janus import JanusModel

FAMILIES: tuple[type[PictureModel], ...] = (EmojiModel, JanusModel)
