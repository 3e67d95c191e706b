"""An articulated person: joint angles over time to joint positions in space.

Axes, in body heights: y points up from the floor, z where the person faces, x to the person's left.
Shapes: T frames, C pose channels, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ARM_CHANNELS = ("arm_raise", "arm_azimuth", "elbow", "forearm_twist")
_LEG_CHANNELS = ("hip", "hip_spread", "knee")
TRUNK_CHANNELS = ("pitch", "roll", "spine", "side_bend", "nod", "look")
SIDES = ("left", "right")
#: Names of the columns of a pose track. All are angles in radians but the last three: `travel` (how far the person
#: went, body heights), `lift` (height of the lowest point above the floor) and `planted` (1: the feet stay where they
#: are and the pelvis moves over them, as in a squat; 0: the pelvis is led and the feet follow, as in a walk).
CHANNELS: tuple[str, ...] = (
    *TRUNK_CHANNELS,
    *(f"{side}_{name}" for side in SIDES for name in (*_ARM_CHANNELS, *_LEG_CHANNELS)),
    "travel",
    "lift",
    "planted",
)
CHANNEL_INDEX = {name: column for column, name in enumerate(CHANNELS)}
NUM_ANGLES = len(CHANNELS) - 3

JOINTS: tuple[str, ...] = (
    "pelvis",
    "waist",
    "neck",
    "head",
    "crown",
    "nose",
    *(f"{s}_{j}" for s in SIDES for j in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "toe")),
)
JOINT_INDEX = {name: row for row, name in enumerate(JOINTS)}
#: Pairs of joints whose distance never changes.
BONES: tuple[tuple[str, str], ...] = (
    ("pelvis", "waist"),
    ("waist", "neck"),
    ("neck", "head"),
    ("head", "crown"),
    ("head", "nose"),
    *(
        (f"{s}_{a}", f"{s}_{b}")
        for s in SIDES
        for a, b in (
            ("shoulder", "elbow"),
            ("elbow", "wrist"),
            ("wrist", "hand"),
            ("hip", "knee"),
            ("knee", "ankle"),
            ("ankle", "toe"),
        )
    ),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
)
# Flesh around the joints that can touch the floor, in body heights.
_CONTACT_RADIUS = {"pelvis": 0.07, "neck": 0.06, "head": 0.07}
_CONTACT_RADII = np.array(
    [_CONTACT_RADIUS.get(j, 0.035 if j.endswith(("knee", "elbow", "ankle")) else 0.022) for j in JOINTS]
)
# Of two feet at different heights the lower one carries the person; the scale of the soft choice, in body heights.
_SUPPORT_HEIGHT = 0.04


@dataclass(frozen=True, slots=True)
class Body:
    """Proportions of one person, in body heights, and the thickness of the limbs (1 is average)."""

    thigh: float = 0.24
    shin: float = 0.24
    spine: float = 0.29
    upper_arm: float = 0.165
    forearm: float = 0.145
    hand: float = 0.05
    foot: float = 0.10
    shoulder_width: float = 0.21
    hip_width: float = 0.115
    head: float = 0.072
    girth: float = 1.0


def draw_body(rng: np.random.Generator) -> Body:
    """Draw the proportions of a person: long or short limbs, broad or narrow, thin or stout, small or large head."""
    legs, arms = rng.uniform(0.90, 1.08), rng.uniform(0.92, 1.10)
    return Body(
        thigh=0.24 * legs,
        shin=0.24 * legs,
        spine=0.29 * rng.uniform(0.92, 1.08),
        upper_arm=0.165 * arms,
        forearm=0.145 * arms,
        shoulder_width=0.21 * rng.uniform(0.88, 1.15),
        hip_width=0.115 * rng.uniform(0.9, 1.2),
        head=0.072 * rng.uniform(0.92, 1.18),
        girth=rng.uniform(0.85, 1.3),
    )


def rest_pose(num_frames: int) -> Floats:
    """A pose track `(T, C)` of a person who stands upright with hanging arms."""
    track = np.zeros((num_frames, len(CHANNELS)))
    track[:, CHANNEL_INDEX["planted"]] = 1.0
    return track


def _rotation(axis: int, angle: Floats) -> Floats:
    """Rotation matrices `(T, 3, 3)` about a coordinate axis."""
    a, b = [i for i in range(3) if i != axis]
    sign = -1.0 if axis == 1 else 1.0
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., a, a] = matrix[..., b, b] = np.cos(angle)
    matrix[..., a, b] = -sign * np.sin(angle)
    matrix[..., b, a] = sign * np.sin(angle)
    return matrix


def _turn(matrix: Floats, vector: Floats | Sequence[float]) -> Floats:
    """Rotate one vector `(3,)` or one a frame `(T, 3)` by matrices `(T, 3, 3)`."""
    return np.asarray((matrix @ np.asarray(vector)[..., None])[..., 0])


def _arm_directions(angles: dict[str, Floats], side: float) -> tuple[Floats, Floats]:
    """Directions of upper arm and forearm in the frame of the chest.

    `arm_raise` is 0 hanging, 90 degrees level, 180 up; `arm_azimuth` is 0 to the front, 90 to the side. The forearm
    bends by `elbow` towards where the arm would rise, turned about the upper arm by `forearm_twist` (outwards).
    """
    e, a, bend, twist = (angles[name] for name in _ARM_CHANNELS)
    zero = np.zeros_like(e)
    upper = np.stack([side * np.sin(e) * np.sin(a), -np.cos(e), np.sin(e) * np.cos(a)], -1)
    rising = np.stack([side * np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], -1)
    outward = np.stack([side * np.cos(a), zero, -np.sin(a)], -1)
    towards = np.cos(twist)[:, None] * rising + np.sin(twist)[:, None] * outward
    return upper, np.cos(bend)[:, None] * upper + np.sin(bend)[:, None] * towards


def _leg_directions(angles: dict[str, Floats], side: float) -> tuple[Floats, Floats, Floats]:
    """Directions of thigh, shin and foot in the frame of the pelvis; the knee bends backwards."""
    hip, spread, knee = (angles[name] for name in _LEG_CHANNELS)
    frame = _rotation(2, side * spread)
    zero = np.zeros_like(hip)
    thigh = _turn(frame, np.stack([zero, -np.cos(hip), np.sin(hip)], -1))
    shin = _turn(frame, np.stack([zero, -np.cos(hip - knee), np.sin(hip - knee)], -1))
    foot = _turn(frame, np.stack([zero, np.sin(hip - knee), np.cos(hip - knee)], -1))
    return thigh, shin, foot


def joint_positions(body: Body, poses: Floats) -> Floats:
    """Positions of all joints over time.

    Args:
        body: the proportions.
        poses: pose track `(T, C)`, columns as in `CHANNELS`.

    Returns:
        `(T, J, 3)` in body heights, rows as in `JOINTS`; the lowest point touches the floor (y = 0) unless lifted.
    """
    if poses.ndim != 2 or poses.shape[1] != len(CHANNELS):
        raise ValueError(f"poses of shape {poses.shape}: expected (frames, {len(CHANNELS)}), columns as in CHANNELS")
    angle = {name: poses[:, column] for name, column in CHANNEL_INDEX.items()}
    out = np.zeros((len(poses), len(JOINTS), 3))

    def put(name: str, parent: str, offset: Floats) -> None:
        out[:, JOINT_INDEX[name]] = out[:, JOINT_INDEX[parent]] + offset

    pelvis = _rotation(0, angle["pitch"]) @ _rotation(2, angle["roll"])
    half = pelvis @ _rotation(0, angle["spine"] / 2) @ _rotation(2, angle["side_bend"] / 2)
    chest = pelvis @ _rotation(0, angle["spine"]) @ _rotation(2, angle["side_bend"])
    skull = chest @ _rotation(0, angle["nod"]) @ _rotation(1, angle["look"])
    put("waist", "pelvis", _turn(half, [0, 0.45 * body.spine, 0]))
    put("neck", "waist", _turn(chest, [0, 0.55 * body.spine, 0]))
    put("head", "neck", _turn(skull, [0, 0.035 + body.head, 0.012]))
    put("crown", "head", _turn(skull, [0, 0.34 * body.head, -0.34 * body.head]))
    put("nose", "head", _turn(skull, [0, -0.15 * body.head, 0.95 * body.head]))
    for name, sign in zip(SIDES, (1.0, -1.0), strict=True):
        own = {c: angle[f"{name}_{c}"] for c in (*_ARM_CHANNELS, *_LEG_CHANNELS)}
        upper, fore = (_turn(chest, d) for d in _arm_directions(own, sign))
        thigh, shin, foot = (_turn(pelvis, d) for d in _leg_directions(own, sign))
        foot = foot * np.array([1.0, 0.35, 1.0])  # ankles keep the sole near the floor
        foot /= np.maximum(np.linalg.norm(foot, axis=-1, keepdims=True), 1e-9)
        put(f"{name}_shoulder", "neck", _turn(chest, [sign * body.shoulder_width / 2, -0.035, 0]))
        put(f"{name}_elbow", f"{name}_shoulder", body.upper_arm * upper)
        put(f"{name}_wrist", f"{name}_elbow", body.forearm * fore)
        put(f"{name}_hand", f"{name}_wrist", body.hand * fore)
        put(f"{name}_hip", "pelvis", _turn(pelvis, [sign * body.hip_width / 2, 0, 0]))
        put(f"{name}_knee", f"{name}_hip", body.thigh * thigh)
        put(f"{name}_ankle", f"{name}_knee", body.shin * shin)
        put(f"{name}_toe", f"{name}_ankle", body.foot * foot)
    return np.asarray(out + _root_offset(out, angle)[:, None])


def _root_offset(joints: Floats, angle: dict[str, Floats]) -> Floats:
    """Where the pelvis is: the lowest point touches the floor, planted feet stay where they are."""
    ankles = joints[:, [JOINT_INDEX["left_ankle"], JOINT_INDEX["right_ankle"]]]
    height = ankles[..., 1] - ankles[..., 1].min(axis=1, keepdims=True)
    weight = np.exp(-height / _SUPPORT_HEIGHT)
    support = (ankles * (weight / weight.sum(axis=1, keepdims=True))[..., None]).sum(axis=1)
    offset: Floats = -support * angle["planted"][:, None]
    offset[:, 1] = angle["lift"] - (joints[..., 1] - _CONTACT_RADII).min(axis=1)
    offset[:, 2] += angle["travel"]
    return offset
