import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.actors.motions import ACTIONS
from sparsedense.actors.skeleton import (
    BONES,
    CHANNEL_INDEX,
    JOINT_INDEX,
    Body,
    draw_body,
    joint_positions,
    rest_pose,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, action=st.sampled_from(sorted(ACTIONS)))
def test_bones_never_stretch(seed: int, action: str) -> None:
    rng = np.random.default_rng(seed)
    joints = joint_positions(draw_body(rng), ACTIONS[action].poses(rng, 100))
    for a, b in BONES:
        length = np.linalg.norm(joints[:, JOINT_INDEX[a]] - joints[:, JOINT_INDEX[b]], axis=-1)
        np.testing.assert_allclose(length, length[0], atol=1e-9, err_msg=f"{a}-{b}")


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, action=st.sampled_from(sorted(ACTIONS)))
def test_nobody_sinks_into_the_floor(seed: int, action: str) -> None:
    rng = np.random.default_rng(seed)
    joints = joint_positions(draw_body(rng), ACTIONS[action].poses(rng, 100))
    assert joints[..., 1].min() > 0


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_swapping_the_sides_mirrors_the_person(seed: int) -> None:
    poses = np.random.default_rng(seed).uniform(-1, 1, (3, len(CHANNEL_INDEX)))
    mirrored = poses.copy()
    for name, column in CHANNEL_INDEX.items():
        if name.startswith("left_"):
            other = CHANNEL_INDEX[name.replace("left", "right")]
            mirrored[:, [column, other]] = poses[:, [other, column]]
    mirrored[:, [CHANNEL_INDEX[n] for n in ("roll", "side_bend", "look")]] *= -1
    original, image = joint_positions(Body(), poses), joint_positions(Body(), mirrored)
    for name, row in JOINT_INDEX.items():
        twin = name.replace("left", "RIGHT").replace("right", "left").lower()
        np.testing.assert_allclose(image[:, JOINT_INDEX[twin]], original[:, row] * [-1, 1, 1], atol=1e-9)


def test_upright_person_is_one_body_height_and_faces_forward() -> None:
    joints = joint_positions(Body(), rest_pose(1))[0]
    top = joints[JOINT_INDEX["head"], 1] + Body().head
    assert top == pytest.approx(1.0, abs=0.03)
    assert joints[JOINT_INDEX["nose"], 2] > joints[JOINT_INDEX["head"], 2]
    assert joints[JOINT_INDEX["left_hand"], 0] > 0 > joints[JOINT_INDEX["right_hand"], 0]


@pytest.mark.parametrize(
    ("channel", "joint", "axis", "sign"),
    [
        ("left_arm_raise", "left_hand", 2, 1),
        ("left_hip", "left_knee", 2, 1),
        ("left_hip_spread", "left_knee", 0, 1),
        ("right_hip_spread", "right_knee", 0, -1),
        ("spine", "head", 2, 1),
        ("pitch", "head", 2, 1),
        ("left_elbow", "left_hand", 2, 1),
    ],
)
def test_channels_move_the_way_their_names_say(channel: str, joint: str, axis: int, sign: int) -> None:
    poses = rest_pose(2)
    poses[1, CHANNEL_INDEX[channel]] = np.deg2rad(40)
    poses[:, CHANNEL_INDEX["planted"]] = 0
    joints = joint_positions(Body(), poses)[:, JOINT_INDEX[joint], axis]
    assert sign * (joints[1] - joints[0]) > 0.05


def test_knee_bends_backwards() -> None:
    poses = rest_pose(1)
    poses[:, CHANNEL_INDEX["left_knee"]] = np.deg2rad(60)
    joints = joint_positions(Body(), poses)[0]
    assert joints[JOINT_INDEX["left_ankle"], 2] < joints[JOINT_INDEX["left_knee"], 2]


def test_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(5, 4\)"):
        joint_positions(Body(), np.zeros((5, 4)))
