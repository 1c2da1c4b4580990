"""Pictures for the documents."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from coupled_decoding.atomic import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """A PNG of 256 colours: a repository keeps every picture for ever."""
    import matplotlib.pyplot as plt  # the extra plot

    if figure.get_layout_engine() is None:
        figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85)
    plt.close(figure)
    small = Image.open(drawn).convert("RGB").quantize(256)
    with written_whole(path, parents=True) as partial:
        small.save(partial, format="PNG", optimize=True)
