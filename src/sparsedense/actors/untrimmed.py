"""Longer videos in which a person does several things with pauses between, and where each begins and ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsedense.actors.film import Actor, Film, compose
from sparsedense.actors.motions import ACTIONS, Action, ease, sway
from sparsedense.actors.poses import legs, put, random_arm
from sparsedense.actors.scene import SceneSettings
from sparsedense.actors.skeleton import CHANNEL_INDEX, SIDES, Floats, rest_pose

Rng = np.random.Generator
Segment = tuple[str, int, int]  # label, first frame, frame after the last

_SHORTEST_SECONDS, _LONGEST_SECONDS = 20.0, 60.0
_ARMS = [CHANNEL_INDEX[f"{side}_arm_raise"] for side in SIDES]
_TRAVEL = CHANNEL_INDEX["travel"]
# What needs a standing person; the others happen as the person stands or sits.
_STANDING = {"sit_down", "walk_forward", "walk_backward", "squat", "kick", "jumping_jacks"}


def _active(track: Floats) -> slice:
    """From the first to the last frame that differs from the one before."""
    moving = np.flatnonzero(np.abs(np.diff(track, axis=0)).max(axis=1) > 1e-3)
    return slice(int(moving[0]), int(moving[-1]) + 2)


def continue_from(pose: Floats, track: Floats) -> Floats:
    """Fit a performance to the pose `(C,)` before it.

    Channels that the action does not move stay as they are (who waves while sitting goes on sitting), the way starts
    where the person is, and arms do not unwind whole turns.
    """
    track = track.copy()
    still = np.ptp(track, axis=0) == 0.0
    still[CHANNEL_INDEX["planted"]] = False
    track[:, still] = pose[still]
    track[:, _TRAVEL] += pose[_TRAVEL] - track[0, _TRAVEL]
    track[:, _ARMS] += 2 * np.pi * np.round((pose[_ARMS] - track[0, _ARMS]) / (2 * np.pi))
    return track


def draw_timeline(rng: Rng, *, fps: float) -> tuple[Floats, list[Segment]]:
    """Draw what happens in one video.

    Returns:
        The pose track `(T, C)`, and the segments in order; pauses and the ways between two actions belong to none.
    """
    length = round(rng.uniform(_SHORTEST_SECONDS + 1.0, _LONGEST_SECONDS - 1.0) * fps)
    first = rest_pose(1)
    for pose in (legs(rng, "standing"), *(random_arm(rng, side) for side in SIDES)):
        put(first, pose)
    parts, segments, sitting = [first], [], False

    def hold(seconds: float) -> None:
        parts.append(np.repeat(parts[-1][-1:], max(1, round(seconds * fps)), axis=0))

    hold(rng.uniform(1.0, 4.0))
    while True:
        excluded = _STANDING if sitting else {"stand_up"}
        label = str(rng.choice([name for name in ACTIONS if name not in excluded]))
        track = _performance(rng, ACTIONS[label], parts[-1][-1])
        between = _transition(parts[-1][-1], track[0], int(rng.integers(10, 18)))
        start = sum(map(len, parts)) + len(between)
        if start + len(track) + fps > length:
            break
        parts += [between, track]
        segments.append((label, start, start + len(track)))
        sitting = (sitting or label == "sit_down") and label != "stand_up"
        hold(rng.uniform(0.6, 5.0))
    hold((length - sum(map(len, parts))) / fps)
    poses = np.concatenate(parts)[:length]  # the last pause may be too long, but never an action
    return poses + sway(rng, len(poses)), segments


def _performance(rng: Rng, action: Action, pose: Floats) -> Floats:
    track = action.track(rng, int(rng.integers(90, 181)))
    return continue_from(pose, track[_active(track)])


def _transition(start: Floats, end: Floats, num_frames: int) -> Floats:
    """The way from one pose `(C,)` to another, both excluded."""
    progress = ease(np.arange(1, num_frames + 1) / (num_frames + 1))
    return np.asarray(start + progress[:, None] * (end - start))


def film_untrimmed(
    seed: np.random.SeedSequence, actor: Actor, settings: SceneSettings, width: int, height: int, *, fps: float
) -> tuple[Film, list[Segment]]:
    """Draw one untrimmed video of 20 to 60 seconds, and its segments in frames."""
    motion_seed, scene_seed = seed.spawn(2)
    poses, segments = draw_timeline(np.random.default_rng(motion_seed), fps=fps)
    return compose(np.random.default_rng(scene_seed), actor, poses, settings, width, height), segments


def write_annotations(
    path: Path, videos: Sequence[tuple[str, str, float, Sequence[Segment]]], *, fps: float = 25.0
) -> None:
    """Write segments as ActivityNet's JSON (Caba Heilbron et al., CVPR 2015).

    Args:
        path: the file.
        videos: name without extension, subset, duration in seconds and segments in frames.
        fps: frame rate.
    """
    database = {
        name: {
            "subset": subset,
            "duration": round(duration_seconds, 3),
            "url": "",
            "annotations": [
                {"label": label, "segment": [round(first / fps, 3), round(end / fps, 3)]}
                for label, first, end in segments
            ],
        }
        for name, subset, duration_seconds, segments in videos
    }
    content = {"version": "sparsedense actors 1", "taxonomy": [], "database": database}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
