import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.actors.motions import ACTIONS, TIME_PAIRS, ease, once, strokes
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
def test_a_way_back_is_much_faster_than_the_way_there(seed: int, num_frames: int) -> None:
    for timing in (once, strokes):
        progress = timing(np.random.default_rng(seed), num_frames)
        assert progress[0] == pytest.approx(0, abs=1e-6)
        assert progress[-1] == pytest.approx(1, abs=1e-6)
        assert progress.min() > -1e-9
        assert progress.max() < 1 + 1e-9
        change = np.diff(progress)
        assert (change > 1e-4).sum() > 2 * (change < -1e-4).sum()


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
