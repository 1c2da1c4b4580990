"""Held-out clips as the benchmarks read them.

    python -m training.doom.held_out                                         # 24 clips to data/clips
    python -m training.doom.held_out --clips 154 --out build/doom/held_out   # all, for benchmarks.video_quality

The first frames of held-out episodes, from the scenarios in turn; none of those by which checkpoints were chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from coupled_decoding.atomic import folder_written_whole
from data.held_out import CLIPS, FRAMES, write_clip
from training.doom.data import CHOSEN_BY, SCENARIOS
from training.doom.tokenizer import load_frames


def in_turn(episodes: Sequence[dict], count: int) -> list[int]:
    """Numbers of held-out episodes, one of each scenario after the other for as long as each has some."""
    unseen = [i for i, episode in enumerate(episodes) if episode["held_out"]][CHOSEN_BY:]
    if count > len(unseen):
        raise ValueError(f"{count} clips: {len(unseen)} held-out episodes are left; give fewer")
    groups = [[i for i in unseen if episodes[i]["scenario"] == scenario] for scenario in SCENARIOS]
    return [i for turn in zip_longest(*groups) for i in turn if i is not None][:count]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--out", type=Path, default=CLIPS, help="a folder, which is replaced")
    args = parser.parse_args(arguments)
    frames, episodes = load_frames()
    with folder_written_whole(args.out, keep=False) as partial:
        for number, i in enumerate(tqdm(in_turn(episodes, args.clips))):
            name = f"{number:03}-{episodes[i]['scenario']}-{episodes[i]['seed']}.webp"
            write_clip(partial / name, [Image.fromarray(frame) for frame in frames[i, :FRAMES]])
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{args.out}: {args.clips} clips, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
