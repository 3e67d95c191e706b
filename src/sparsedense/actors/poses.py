"""Where arms, legs and trunk may be, and how a pose track is led through such poses."""

from __future__ import annotations

import numpy as np

from sparsedense.actors.skeleton import CHANNEL_INDEX, SIDES, Floats

Pose = dict[str, float]  # channel -> value, angles in degrees
Rng = np.random.Generator

#: Where an arm may be: (raise, azimuth, elbow, forearm twist) in degrees.
ARM_POSES: dict[str, tuple[float, float, float, float]] = {
    "hanging": (8, 60, 12, 0),
    "on_hip": (42, 100, 95, 170),
    "forward": (88, 5, 8, 0),
    "sideways": (88, 88, 8, 0),
    "up": (165, 60, 8, 0),
    "up_front": (130, 8, 8, 0),
    "up_side": (125, 88, 8, 0),
    "at_chest": (35, 10, 125, 0),
    "bent_up": (85, 85, 80, 0),
    "behind": (-50, 8, 10, 0),
}

#: How a person may stand, crouch or sit: (hip, spread, knee) in degrees of the left and the right leg.
LEG_POSES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "standing": ((2, 3, 4), (2, 3, 4)),
    "wide": ((2, 18, 4), (2, 18, 4)),
    "stride": ((18, 3, 8), (-16, 3, 10)),
    "half_crouch": ((45, 8, 75), (45, 8, 75)),
    "crouch": ((95, 12, 130), (95, 12, 130)),
    "sitting": ((112, 8, 112), (112, 8, 112)),
}
_STANCES = ("standing", "wide", "stride")
_ARMS_HANG = 0.85  # part of the idle arms
_STANCE_PROBABILITIES = (0.65, 0.20, 0.15)


def arm(side: str, raise_: float, azimuth: float, elbow: float = 8, twist: float = 0) -> Pose:
    """A pose of one arm, in degrees."""
    names = ("arm_raise", "arm_azimuth", "elbow", "forearm_twist")
    return {f"{side}_{n}": v for n, v in zip(names, (raise_, azimuth, elbow, twist), strict=True)}


def random_arm(rng: Rng, side: str) -> Pose:
    """Hanging, mostly, or any of `ARM_POSES`, a little off."""
    pose = ARM_POSES["hanging" if rng.random() < _ARMS_HANG else str(rng.choice(list(ARM_POSES)))]
    return arm(side, *(value + rng.normal(0, 7) for value in pose))


def legs(rng: Rng, name: str) -> Pose:
    """One of `LEG_POSES`, a little off and with the sides swapped half of the time."""
    pair = LEG_POSES[name][:: int(rng.choice([1, -1]))]
    channels = ("hip", "hip_spread", "knee")
    spread = rng.normal(0, 3)
    return {
        f"{side}_{channel}": value + (spread if channel == "hip_spread" else rng.normal(0, 2))
        for side, values in zip(SIDES, pair, strict=True)
        for channel, value in zip(channels, values, strict=True)
    }


def random_stance(rng: Rng) -> Pose:
    """Legs and trunk of somebody whose legs do nothing but stand."""
    return {**legs(rng, str(rng.choice(_STANCES, p=_STANCE_PROBABILITIES))), **random_trunk(rng)}


def random_trunk(rng: Rng) -> Pose:
    """A slight lean, bend and look."""
    return {
        "pitch": rng.normal(0, 3),
        "spine": rng.normal(5, 6),
        "side_bend": rng.normal(0, 3),
        "nod": rng.normal(0, 8),
        "look": rng.normal(0, 15),
    }


def put(track: Floats, pose: Pose) -> None:
    """Set the channels of a pose in all frames of a track."""
    for name, degrees in pose.items():
        track[:, CHANNEL_INDEX[name]] = np.deg2rad(degrees)


def move(track: Floats, path: list[Pose], progress: Floats) -> None:
    """Lead the channels through a path of poses; progress 0 is the first, 1 the last, poses are evenly spaced."""
    knots = np.linspace(0, 1, len(path))
    for name in path[0]:
        values = np.deg2rad([pose[name] for pose in path])
        track[:, CHANNEL_INDEX[name]] = np.interp(progress, knots, values)
