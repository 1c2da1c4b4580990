"""The families that :func:`coupled_decoding.from_pretrained` knows."""

from __future__ import annotations

from coupled_decoding.models.contract import PictureModel, VideoModel
from coupled_decoding.models.families.anole import AnoleModel
from coupled_decoding.models.families.cosmos import CosmosModel
from coupled_decoding.models.families.doom import DoomModel
from coupled_decoding.models.families.emoji import EmojiModel
from coupled_decoding.models.families.emu3 import Emu3Model
from coupled_decoding.models.families.glm_image import GlmImageModel
from coupled_decoding.models.families.janus import JanusModel
from coupled_decoding.models.families.llamagen import LlamaGenOfClasses, LlamaGenOfText
from coupled_decoding.models.families.lumina_mgpt import LuminaMGPTModel
from coupled_decoding.models.families.lumina_mgpt2 import LuminaMGPT2Model

# the first that recognises a folder takes it: of the three on Chameleon, the one that looks closest comes first
FAMILIES: tuple[type[PictureModel] | type[VideoModel], ...] = (
    EmojiModel, DoomModel, JanusModel, LlamaGenOfClasses, LlamaGenOfText, GlmImageModel, LuminaMGPT2Model,
    LuminaMGPTModel, AnoleModel, Emu3Model, CosmosModel,
)
