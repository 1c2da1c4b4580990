"""Sizes are refused without weights: these folders hold none."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

CASES = [
    ("emoji.EmojiModel", {"picture_config.json": {"grid": [3, 4]}}, (16, 12), (16, 16),
     "size is 16x16: emoji makes pictures of 16x12"),
    ("emu3.Emu3Model", {"config.json": {"model_type": "emu3", "vq_config": {"channel_multiplier": [1, 2, 2, 4]}}},
     (512, 720), (517, 720), "multiples of 8, and the width is 517; 520x720 is nearest"),
    ("emu3.Emu3Model", {"config.json": {"model_type": "Emu3"},
                        "vision_tokenizer/config.json": {"ch_mult": [1, 2, 2, 2, 4]}},
     (512, 720), (512, 7), "multiples of 16, and the height is 7; 512x16 is nearest"),
    ("glm_image.GlmImageModel", {}, (1152, 768), (1150, 760),
     "multiples of 32, and the width is 1150 and the height is 760; 1152x768 is nearest"),
    ("lumina_mgpt2.LuminaMGPT2Model", {}, (1024, 576), (1024, 570), "the height is 570; 1024x576 is nearest"),
    ("lumina_mgpt.LuminaMGPTModel", {}, (768, 768), (700, 700), "768x768 has this shape"),
    ("llamagen.LlamaGenOfClasses", {"c2i_B_384.pt": {}}, (384, 384), (256, 256),
     "size is 256x256: llamagen-c2i makes pictures of 384x384"),
]


@pytest.mark.parametrize(("place", "files", "good", "bad", "said"), CASES, ids=[case[0] for case in CASES])
def test_before_weights_are_read(
    tmp_path: Path, place: str, files: dict[str, object], good: tuple[int, int], bad: tuple[int, int], said: str
) -> None:
    folder = tmp_path / "Lumina-mGPT-7B-768"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    module, kind = place.split(".")
    model = getattr(import_module(f"coupled_decoding.models.families.{module}"), kind)
    model.check_size(folder, good)
    with pytest.raises(ValueError, match=said):
        model.check_size(folder, bad)
