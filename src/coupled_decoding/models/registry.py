"""The families that :func:`coupled_decoding.from_pretrained` knows; one is imported when a folder of it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coupled_decoding.models.checkpoints import recognition

if TYPE_CHECKING:
    from coupled_decoding.models.contract import PictureModel, VideoModel


@dataclass(frozen=True)
class Family:
    """A family that is not imported yet."""

    name: str
    """As its card has it."""
    place: str
    """Module in ``families/``, and class."""
    recognises: Callable[[Path], bool]
    """Whether a folder holds a checkpoint of it, complete or not, judged by what it says of itself."""

    def model_class(self) -> type[PictureModel] | type[VideoModel]:
        """Its class, imported."""
        module, kind = self.place.split(".")
        found: Any = getattr(import_module(f"coupled_decoding.models.families.{module}"), kind)
        return found


# the first that recognises a folder takes it: of the three on Chameleon, the one that looks closest comes first
FAMILIES = (
    Family("emoji", "emoji.EmojiModel", recognition.emoji),
    Family("doom", "doom.DoomModel", recognition.doom),
    Family("janus-pro", "janus.JanusModel", recognition.janus),
    Family("llamagen-c2i", "llamagen.LlamaGenOfClasses", recognition.llamagen("c2i")),
    Family("llamagen-t2i", "llamagen.LlamaGenOfText", recognition.llamagen("t2i")),
    Family("glm-image", "glm_image.GlmImageModel", recognition.glm_image),
    Family("lumina-mgpt-2", "lumina_mgpt2.LuminaMGPT2Model", recognition.lumina_mgpt_2),
    Family("lumina-mgpt", "lumina_mgpt.LuminaMGPTModel", recognition.lumina_mgpt),
    Family("anole", "anole.AnoleModel", recognition.anole),
    Family("emu3", "emu3.Emu3Model", recognition.emu3),
    Family("cosmos-1", "cosmos.CosmosModel", recognition.cosmos),
)


def family_of(folder: Path) -> Family | None:
    """The family of a checkpoint folder; None where none knows it."""
    return next((family for family in FAMILIES if family.recognises(folder)), None)
