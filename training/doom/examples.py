"""Write the built-in clips of ``scd video``: nine frames of a held-out episode from each scenario, chosen by eye.

    python -m training.doom.examples         # build/doom -> src/coupled_decoding/pretrained/doom/examples

Animated WebP at quality 90: a fifth of what lossless takes, and no difference that can be seen.
"""

from __future__ import annotations

from PIL import Image

from training.doom.export import SHIPPED
from training.doom.tokenizer import load_frames

EXAMPLES = SHIPPED / "examples"
CHOSEN = {"arena": (953, 20), "corridor": (1467, 28), "cover": (1330, 4), "field": (1771, 12), "maze": (2120, 8),
          "rooms": (750, 8)}
"""Seed of the episode and first frame."""
FRAMES = 9
MILLISECONDS = 57  # 17.5 frames a second


def main() -> None:
    frames, episodes = load_frames()
    rows = {episode["seed"]: row for row, episode in enumerate(episodes) if episode["held_out"]}
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for name, (seed, first) in CHOSEN.items():
        images = [Image.fromarray(frame) for frame in frames[rows[seed], first : first + FRAMES]]
        file = EXAMPLES / f"{name}.webp"
        images[0].save(file, save_all=True, append_images=images[1:], duration=MILLISECONDS, loop=0, quality=90)
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB, {episodes[rows[seed]]['scenario']}, episode {seed}")


if __name__ == "__main__":
    main()
