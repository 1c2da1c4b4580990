"""Clips of a first-person game, rendered by VizDoom with the Freedoom assets: 64x64 pixels, 17.5 frames a second.

An agent that really moves: it walks and turns with persistence (its speeds are slow random walks), turns away from
where it is stuck, and stands still now and then. Each episode has its own seed, from which the game and the agent are
drawn; the split between training and held-out clips is by episode.

    python -m training.doom.data             # writes build/doom/frames.npy and episodes.json, 2.3 GB
"""

from __future__ import annotations

import argparse
import hashlib
import json
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

BUILD = Path("build/doom")
VERSION = "1.3.2"
SIZE = 64
TICS = 2  # of 35 a second between two frames
FRAMES = 65  # of an episode
WARM_UP = 12  # tics before the first frame: doors open, the agent gets going
SCENARIOS = (
    "my_way_home", "health_gathering", "health_gathering_supreme", "deadly_corridor", "take_cover", "deathmatch",
)
HELD_OUT_PERCENT = 6
CHOSEN_BY = 48
"""Held-out episodes, the first ones, on which the trainings look at their losses; the others are for figures."""


def held_out(seed: int) -> bool:
    return hashlib.sha256(str(seed).encode()).digest()[0] % 100 < HELD_OUT_PERCENT


def open_game(scenario: str) -> Any:
    import vizdoom  # an extra of training only

    if vizdoom.__version__ != VERSION:
        raise ValueError(f"vizdoom is {vizdoom.__version__}: the clips are those of {VERSION}, install that")
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X240)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_window_visible(False)
    for hidden in (game.set_render_hud, game.set_render_weapon, game.set_render_crosshair, game.set_render_messages):
        hidden(False)
    game.set_available_buttons([
        vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD_BACKWARD_DELTA,
        vizdoom.Button.MOVE_LEFT_RIGHT_DELTA,
    ])
    game.set_available_game_variables([vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y])
    game.set_episode_timeout(0)
    game.set_doom_skill(1)
    game.init()
    return game


def scaled(screen: np.ndarray) -> np.ndarray:
    """``[240, 320, 3]`` to ``[64, 64, 3]``: the middle square, averaged.

    Nearly four pixels a side go into one: far textures become their mean, not a flicker that nobody can foresee.
    """
    return np.asarray(Image.fromarray(screen).crop((40, 0, 280, 240)).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


class Agent:
    """Speeds that drift: degrees a tic to the right, and units a tic forward and to the right."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.turn, self.walk, self.side = rng.normal(0, 1.0), rng.uniform(3, 12), 0.0
        self.turning_away, self.direction, self.pause = 0, 1.0, 0

    def act(self, moved: float) -> list[float]:
        """What to do for the next tics, given how far the last ones moved it."""
        rng = self.rng
        if self.turning_away == 0 and self.pause == 0 and self.walk > 2 and moved < 0.3:  # stuck
            self.turning_away, self.direction = int(rng.integers(8, 24)), rng.choice([-1.0, 1.0])
        if self.pause == 0 and rng.random() < 0.01:
            self.pause = int(rng.integers(5, 20))
        self.turn = 0.94 * self.turn + rng.normal(0, 0.35)
        self.side = 0.95 * self.side + rng.normal(0, 0.3)
        self.walk += 0.05 * (8 - self.walk) + rng.normal(0, 0.5)
        if self.turning_away:
            self.turning_away -= 1
            return [2.5 * self.direction, 1.0, 0.0]
        if self.pause:
            self.pause -= 1
            return [0.0, 0.0, 0.0]
        return [float(self.turn), float(self.walk), float(self.side)]


def record(game: Any, seed: int) -> np.ndarray | None:
    """One episode, uint8 ``[FRAMES, 64, 64, 3]``; None where the game ended before."""
    rng = np.random.default_rng(seed)
    game.set_seed(int(seed))
    game.new_episode()
    game.send_game_command("god")
    agent, place = Agent(rng), None
    frames: list[np.ndarray] = []
    game.make_action([float(rng.uniform(0, 360)), 0.0, 0.0], WARM_UP)
    while len(frames) < FRAMES:
        if game.is_episode_finished():
            return None
        state = game.get_state()
        frames.append(scaled(state.screen_buffer))
        here = np.asarray(state.game_variables)
        moved = 10.0 if place is None else float(np.abs(here - place).sum())
        place = here
        game.make_action(agent.act(moved), TICS)
    return np.stack(frames)


def record_all(job: tuple[str, list[int]]) -> list[tuple[int, str, np.ndarray]]:
    scenario, seeds = job
    game = open_game(scenario)
    episodes = [(seed, scenario, record(game, seed)) for seed in seeds]
    game.close()
    return [(seed, name, frames) for seed, name, frames in episodes if frames is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=3000)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    # an engine serves some twenty episodes; which one it is does not matter, since each episode sets its seed
    jobs = [(name, list(range(args.episodes))[i :: len(SCENARIOS)][k : k + 20])
            for i, name in enumerate(SCENARIOS) for k in range(0, -(-args.episodes // len(SCENARIOS)), 20)]
    episodes = []
    with get_context("spawn").Pool(args.processes) as pool:
        for done in tqdm(pool.imap_unordered(record_all, jobs), total=len(jobs)):
            episodes += done
    episodes.sort(key=lambda episode: episode[0])
    np.save(BUILD / "frames.npy", np.stack([frames for _, _, frames in episodes]))
    (BUILD / "episodes.json").write_text(json.dumps(
        [{"seed": seed, "scenario": name, "held_out": held_out(seed)} for seed, name, _ in episodes]
    ))
    print(f"{len(episodes)} episodes of {FRAMES} frames, {sum(held_out(seed) for seed, _, _ in episodes)} held out")


if __name__ == "__main__":
    main()
