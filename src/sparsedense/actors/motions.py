"""The actions, each as joint angles over time.

A class is told by what moves and in which order, not by a pose: arms of all classes visit the same places, and actions
of the legs happen with the arms hanging or held anywhere. Six pairs of classes differ only in the direction of time:
the second of a pair is the first one played backwards, frame by frame. Left and right say nothing, so flipping a video
keeps its class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsedense.actors.poses import Pose, arm, legs, move, put, random_arm, random_stance, random_trunk
from sparsedense.actors.skeleton import CHANNEL_INDEX, NUM_ANGLES, SIDES, Floats, rest_pose

Rng = np.random.Generator


def ease(x: Floats) -> Floats:
    """From 0 to 1 with no speed at both ends: the quintic of a minimum-jerk movement (Flash and Hogan, 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


def once(rng: Rng, num_frames: int, shortest: float = 0.55, longest: float = 0.9) -> Floats:
    """Progress `(T,)` of an action that happens once in a random part of the video, with holds before and after."""
    length = rng.uniform(shortest, longest)
    start = rng.uniform(0.03, 0.97 - length)
    return ease((np.linspace(0, 1, num_frames) - start) / length)


def cycles(rng: Rng, num_frames: int, shortest_period: float, longest_period: float) -> Floats:
    """Phase `(T,)`, in turns, of an action that goes round and round.

    Periods are in frames. It begins and ends at rest after a whole number of turns.
    """
    period = rng.uniform(shortest_period, longest_period)
    begin, end = rng.uniform(0, 0.15, 2) * num_frames
    ramp = 8.0
    frame = np.arange(num_frames)
    speed = ease((frame - begin) / ramp) * ease((num_frames - end - frame) / ramp)
    turns = np.cumsum(speed) / period
    return np.asarray(turns * max(1, round(turns[-1])) / turns[-1])


def _arm_stroke(rng: Rng, num_frames: int, ends: Callable[[str], tuple[Pose, Pose]]) -> Floats:
    """Both arms go from the first to the second of two poses."""
    track = rest_pose(num_frames)
    put(track, random_stance(rng))
    progress = once(rng, num_frames)
    for side in SIDES:
        move(track, list(ends(side)), progress)
    return track


def _raise_arms(rng: Rng, num_frames: int) -> Floats:
    azimuth = rng.uniform(50, 95)
    low, high = rng.uniform(-5, 20), rng.uniform(125, 175)
    elbow = rng.uniform(4, 35)
    return _arm_stroke(rng, num_frames, lambda s: (arm(s, low, azimuth, elbow), arm(s, high, azimuth, elbow)))


def _push(rng: Rng, num_frames: int) -> Floats:
    """The body leans into it."""
    height, azimuth = rng.uniform(75, 100), rng.uniform(-5, 15)
    near, bend = rng.uniform(15, 35), rng.uniform(115, 138)
    back, lean = rng.uniform(-8, 0), rng.uniform(14, 22)
    track = rest_pose(num_frames)
    put(track, random_stance(rng))
    progress = once(rng, num_frames)
    for side in SIDES:
        move(track, [arm(side, near, azimuth, bend), arm(side, height, azimuth, 6)], progress)
    move(track, [{"pitch": back, "spine": back}, {"pitch": lean, "spine": lean / 2}], progress)
    return track


def _open_arms(rng: Rng, num_frames: int) -> Floats:
    low, high, elbow = rng.uniform(35, 55), rng.uniform(85, 110), rng.uniform(4, 30)
    front, wide = rng.uniform(-25, -10), rng.uniform(95, 120)
    return _arm_stroke(rng, num_frames, lambda s: (arm(s, low, front, elbow), arm(s, high, wide, elbow)))


def _circle_arms(rng: Rng, num_frames: int) -> Floats:
    track = rest_pose(num_frames)
    put(track, random_stance(rng))
    phase = cycles(rng, num_frames, 60, 100) + rng.random()
    azimuth, elbow = rng.uniform(2, 25), rng.uniform(4, 25)
    # Arms are lifted slowly and fall fast: the angle runs ahead while they fall.
    turn = 2 * np.pi * phase
    turn = turn + 0.85 * np.cos(turn)
    for side in SIDES:
        put(track, arm(side, 0, azimuth, elbow))
        track[:, CHANNEL_INDEX[f"{side}_arm_raise"]] = -turn
    return track


def _idle_upper_body(rng: Rng, num_frames: int) -> Floats:
    track = rest_pose(num_frames)
    put(track, random_trunk(rng))
    poses = {side: random_arm(rng, side) for side in SIDES}
    if rng.random() < 0.5:  # both arms alike, as people often do
        poses["right"] = {name.replace("left", "right"): value for name, value in poses["left"].items()}
    for pose in poses.values():
        put(track, pose)
    return track


def _sit_down(rng: Rng, num_frames: int) -> Floats:
    track = _idle_upper_body(rng, num_frames)
    first = str(rng.choice(["standing", "wide", "stride"]))
    bend = rng.uniform(15, 35)
    path = [
        {**legs(rng, first), "pitch": 0.0, "spine": rng.normal(5, 5)},
        {**legs(rng, "half_crouch"), "pitch": 8.0, "spine": bend},
        {**legs(rng, "crouch"), "pitch": 5.0, "spine": bend},
        {**legs(rng, "sitting"), "pitch": rng.uniform(-18, 5), "spine": rng.uniform(0, 20)},
    ]
    move(track, path, once(rng, num_frames, 0.4, 0.8))
    return track


def _squat(rng: Rng, num_frames: int) -> Floats:
    track = _idle_upper_body(rng, num_frames)
    top = legs(rng, str(rng.choice(["standing", "wide"])))
    low = legs(rng, "crouch")
    path = [{**top, "pitch": 0.0, "spine": 5.0}, {**low, "pitch": 6.0, "spine": rng.uniform(10, 35)}]
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * cycles(rng, num_frames, 40, 70))
    move(track, path, depth)
    return track


def _walk_forward(rng: Rng, num_frames: int) -> Floats:
    track = _idle_upper_body(rng, num_frames)
    turns = cycles(rng, num_frames, 36, 60)
    phase = 2 * np.pi * (turns + rng.random())
    swing, lift_knee = np.deg2rad(rng.uniform(24, 34)), np.deg2rad(rng.uniform(45, 70))
    arm_swing = np.deg2rad(rng.uniform(25, 45))
    for side, own in zip(SIDES, (phase, phase + np.pi), strict=True):
        track[:, CHANNEL_INDEX[f"{side}_hip"]] = swing * np.sin(own) + np.deg2rad(4)
        track[:, CHANNEL_INDEX[f"{side}_knee"]] = np.deg2rad(6) + lift_knee * np.maximum(0, np.cos(own + 0.5)) ** 1.5
        track[:, CHANNEL_INDEX[f"{side}_hip_spread"]] = np.deg2rad(2)
        if arm_swing:
            put(track, arm(side, 0, 5, rng.uniform(8, 40)))
            track[:, CHANNEL_INDEX[f"{side}_arm_raise"]] = -arm_swing * np.sin(own)
    track[:, CHANNEL_INDEX["planted"]] = 0.0
    # Each turn is two steps of twice the reach of the leg (0.5 body heights long).
    track[:, CHANNEL_INDEX["travel"]] = 0.9 * 4 * 0.5 * np.sin(swing) * turns
    return track


def _wave(rng: Rng, num_frames: int) -> Floats:
    track = rest_pose(num_frames)
    put(track, random_stance(rng))
    phase = 2 * np.pi * cycles(rng, num_frames, 14, 26)
    height, azimuth = rng.uniform(75, 140), rng.uniform(45, 95)
    middle, reach = rng.uniform(40, 65), rng.uniform(28, 42)
    for side in SIDES:
        put(track, arm(side, height, azimuth, 0))
        track[:, CHANNEL_INDEX[f"{side}_elbow"]] = np.deg2rad(middle + reach * np.sin(phase))
    return track


def _jumping_jacks(rng: Rng, num_frames: int) -> Floats:
    track = rest_pose(num_frames)
    put(track, random_trunk(rng))
    phase = 2 * np.pi * cycles(rng, num_frames, 22, 42)
    apart = 0.5 - 0.5 * np.cos(phase)
    high, spread, elbow = rng.uniform(110, 170), rng.uniform(16, 28), rng.uniform(4, 30)
    for side in SIDES:
        move(track, [arm(side, 8, 85, elbow), arm(side, high, 85, elbow)], apart)
        move(track, [{f"{side}_hip_spread": 2.0}, {f"{side}_hip_spread": spread}], apart)
    track[:, CHANNEL_INDEX["lift"]] = rng.uniform(0.02, 0.06) * np.sin(phase) ** 2
    return track


def _kick(rng: Rng, num_frames: int) -> Floats:
    track = _idle_upper_body(rng, num_frames)
    put(track, legs(rng, str(rng.choice(["standing", "wide"]))))
    turns = cycles(rng, num_frames, 34, 60)
    height = rng.uniform(75, 105)
    side = int(rng.integers(2))
    alternate = rng.random() < 0.5
    part = turns % 1.0
    for number, name in enumerate(SIDES):
        mine = (np.floor(turns).astype(int) + number) % 2 == 0 if alternate else np.full(num_frames, number == side)
        hip, knee = CHANNEL_INDEX[f"{name}_hip"], CHANNEL_INDEX[f"{name}_knee"]
        chamber, snap = np.sin(np.pi * part) ** 2, np.exp(-(((part - 0.5) / 0.13) ** 2))
        track[:, hip] += mine * np.deg2rad(height) * chamber
        track[:, knee] += mine * np.deg2rad(95) * chamber * (1 - snap)
    return track


def sway(rng: Rng, num_frames: int) -> Floats:
    """What a living body does at rest: slow small changes `(T, C)` of all angles, in radians."""
    time = np.arange(num_frames)[:, None]
    period = rng.uniform(40, 160, (2, NUM_ANGLES))
    phase = rng.uniform(0, 2 * np.pi, (2, NUM_ANGLES))
    size = np.deg2rad(rng.uniform(0.5, 3.0, (2, NUM_ANGLES)))
    out = np.zeros((num_frames, len(CHANNEL_INDEX)))
    out[:, :NUM_ANGLES] = sum(size[k] * np.sin(2 * np.pi * time / period[k] + phase[k]) for k in range(2))
    return out


@dataclass(frozen=True, slots=True)
class Action:
    """One class of the data set.

    Args:
        motion: draws a pose track `(T, C)` from a generator and a number of frames.
        reversed_in_time: play the motion backwards.
    """

    motion: Callable[[Rng, int], Floats]
    reversed_in_time: bool = False

    def track(self, rng: Rng, num_frames: int) -> Floats:
        """Draw one performance `(T, C)` without sway: frames in which nothing happens are equal."""
        if num_frames < 2:
            raise ValueError(f"num_frames ({num_frames}) must be at least 2")
        return self.motion(rng, num_frames)[:: -1 if self.reversed_in_time else 1]

    def poses(self, rng: Rng, num_frames: int) -> Floats:
        """Draw one performance as a pose track `(T, C)`; equal generators give the exact reversals of a pair."""
        track = self.track(rng, num_frames)
        return track + sway(rng, num_frames)[:: -1 if self.reversed_in_time else 1]


#: All classes. A new one is a function above and a line here.
ACTIONS: dict[str, Action] = {
    "sit_down": Action(_sit_down),
    "stand_up": Action(_sit_down, reversed_in_time=True),
    "raise_arms": Action(_raise_arms),
    "lower_arms": Action(_raise_arms, reversed_in_time=True),
    "push": Action(_push),
    "pull": Action(_push, reversed_in_time=True),
    "open_arms": Action(_open_arms),
    "close_arms": Action(_open_arms, reversed_in_time=True),
    "circle_arms_forward": Action(_circle_arms),
    "circle_arms_backward": Action(_circle_arms, reversed_in_time=True),
    "walk_forward": Action(_walk_forward),
    "walk_backward": Action(_walk_forward, reversed_in_time=True),
    "wave": Action(_wave),
    "squat": Action(_squat),
    "kick": Action(_kick),
    "jumping_jacks": Action(_jumping_jacks),
}

#: Pairs of classes that differ only in the direction of time.
TIME_PAIRS: tuple[tuple[str, str], ...] = tuple(
    (first, second)
    for first, a in ACTIONS.items()
    for second, b in ACTIONS.items()
    if a.motion is b.motion and not a.reversed_in_time and b.reversed_in_time
)
