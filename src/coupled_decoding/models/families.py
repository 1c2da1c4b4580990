"""The families that :func:`coupled_decoding.from_pretrained` knows."""

from __future__ import annotations

from coupled_decoding.models.anole import AnoleModel
from coupled_decoding.models.cosmos import CosmosModel
from coupled_decoding.models.doom import DoomModel
from coupled_decoding.models.emoji import EmojiModel
from coupled_decoding.models.emu3 import Emu3Model
from coupled_decoding.models.family import PictureModel
from coupled_decoding.models.glm_image import GlmImageModel
from coupled_decoding.models.janus import JanusModel
from coupled_decoding.models.llamagen import LlamaGenOfClasses, LlamaGenOfText
from coupled_decoding.models.lumina_mgpt import LuminaMGPTModel
from coupled_decoding.models.lumina_mgpt2 import LuminaMGPT2Model
from coupled_decoding.models.video_family import VideoModel

# the first that recognises a folder takes it: of the three on Chameleon, the one that looks closest comes first
FAMILIES: tuple[type[PictureModel] | type[VideoModel], ...] = (
    EmojiModel, DoomModel, JanusModel, LlamaGenOfClasses, LlamaGenOfText, GlmImageModel, LuminaMGPT2Model,
    LuminaMGPTModel, AnoleModel, Emu3Model, CosmosModel,
)
