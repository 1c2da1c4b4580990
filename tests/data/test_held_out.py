"""The committed clips, and how clips are written and read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from data.held_out import CLIPS, FRAMES, read_clips, write_clip
from training.doom.data import CHOSEN_BY, held_out
from training.doom.held_out import in_turn


def test_committed_clips_are_held_out_and_of_all_scenarios() -> None:
    """Of 33 frames of 64x64 pixels that are not all one; the seed in each name is that of a held-out episode."""
    clips = read_clips()
    names = [path.stem.split("-") for path in sorted(CLIPS.glob("*.webp"))]
    assert len(clips) == len(names) == 24
    assert all(held_out(int(seed)) for _, _, seed in names)
    assert set(Counter(scenario for _, scenario, _ in names).values()) == {4}
    assert all(len(clip) == FRAMES and clip[0].size == (64, 64) for clip in clips)
    assert all(clip[0].tobytes() != clip[-1].tobytes() for clip in clips)


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Without loss, frame by frame."""
    frames = read_clips(most=1)[0][::-1]
    write_clip(tmp_path / "0.webp", frames)
    read = read_clips(tmp_path)[0]
    assert [frame.tobytes() for frame in read] == [frame.tobytes() for frame in frames]


def test_clips_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no clips: python -m training.doom.held_out"):
        read_clips(tmp_path)
    with pytest.raises(ValueError, match="25 clips: .* holds 24"):
        read_clips(most=25)


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2 * FRAMES + 1)).save(tmp_path / "0.webp", lossless=True)
    with pytest.raises(ValueError, match=r"0\.webp is 67 pixels high: expected 33 frames"):
        read_clips(tmp_path)


def test_held_out_episodes_are_taken_from_scenarios_in_turn() -> None:
    """None that was trained on or by which checkpoints were chosen; when a scenario is used up the others continue."""
    names = ("my_way_home", "take_cover", "my_way_home")
    episodes = [{"held_out": i % 2 == 1, "scenario": names[i % 3]} for i in range(2 * CHOSEN_BY + 30)]
    chosen = in_turn(episodes, 15)
    assert min(chosen) >= 2 * CHOSEN_BY
    assert all(episodes[i]["held_out"] for i in chosen)
    assert [episodes[i]["scenario"] for i in chosen][:4] == ["my_way_home", "take_cover"] * 2
    assert len(set(chosen)) == 15
    with pytest.raises(ValueError, match="16 clips: 15 held-out episodes are left"):
        in_turn(episodes, 16)
