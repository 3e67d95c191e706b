import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.actors.motions import ACTIONS, TIME_PAIRS, ease, once
from sparsedense.actors.skeleton import CHANNEL_INDEX, Body, joint_positions

SEEDS = st.integers(0, 2**32 - 1)
FRAMES = st.integers(100, 200)


def test_there_are_sixteen_classes_and_six_pairs() -> None:
    assert len(ACTIONS) >= 16
    assert len(TIME_PAIRS) >= 6
    paired = [name for pair in TIME_PAIRS for name in pair]
    assert len(set(paired)) == len(paired)


@pytest.mark.parametrize(("forward", "backward"), TIME_PAIRS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, num_frames=FRAMES)
def test_pairs_are_exact_reversals(forward: str, backward: str, seed: int, num_frames: int) -> None:
    first = ACTIONS[forward].poses(np.random.default_rng(seed), num_frames)
    second = ACTIONS[backward].poses(np.random.default_rng(seed), num_frames)
    np.testing.assert_array_equal(second, first[::-1])
    # Reversal at the level of joints: the same places in the opposite order.
    np.testing.assert_array_equal(joint_positions(Body(), second), joint_positions(Body(), first)[::-1])
    assert not np.allclose(first, second)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, num_frames=FRAMES, name=st.sampled_from(sorted(ACTIONS)))
def test_every_performance_is_finite_and_moves(seed: int, num_frames: int, name: str) -> None:
    track = ACTIONS[name].track(np.random.default_rng(seed), num_frames)
    assert track.shape == (num_frames, len(CHANNEL_INDEX))
    assert np.isfinite(track).all()
    moving = np.abs(np.diff(track, axis=0)).max(axis=1) > 1e-3
    assert moving.sum() > 0.2 * num_frames


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, num_frames=FRAMES)
def test_what_happens_once_goes_from_its_start_to_its_end_without_a_way_back(seed: int, num_frames: int) -> None:
    progress = once(np.random.default_rng(seed), num_frames)
    assert progress[0] == pytest.approx(0, abs=1e-6)
    assert progress[-1] == pytest.approx(1, abs=1e-6)
    assert (np.diff(progress) >= 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_circling_arms_go_one_way_and_fall_faster_than_they_are_lifted(seed: int) -> None:
    track = ACTIONS["circle_arms_forward"].track(np.random.default_rng(seed), 200)
    angle = track[:, CHANNEL_INDEX["left_arm_raise"]]
    assert (np.diff(angle) <= 1e-9).all()
    height_change = np.diff(-np.cos(angle))
    assert (height_change > 1e-4).sum() > 1.5 * (height_change < -1e-4).sum()


def test_ease_is_monotonic_and_symmetric() -> None:
    x = np.linspace(-0.2, 1.2, 200)
    assert (np.diff(ease(x)) >= 0).all()
    np.testing.assert_allclose(ease(x) + ease(1 - x), 1)


def test_sides_say_nothing() -> None:
    """Over many performances left and right arms move equally often."""
    moved = {"left": 0.0, "right": 0.0}
    for seed in range(300):
        track = ACTIONS["raise_arms"].track(np.random.default_rng(seed), 100)
        for side in moved:
            moved[side] += float(np.ptp(track[:, CHANNEL_INDEX[f"{side}_arm_raise"]]) > 0.5)
    assert abs(moved["left"] - moved["right"]) < 60


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_frames \(1\)"):
        ACTIONS["wave"].poses(np.random.default_rng(0), 1)
