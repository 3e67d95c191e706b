import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.actors.dataset import make_actors
from sparsedense.actors.motions import ACTIONS
from sparsedense.actors.skeleton import CHANNEL_INDEX, SIDES
from sparsedense.actors.untrimmed import continue_from, draw_timeline

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_segments_are_ordered_apart_and_inside(seed: int) -> None:
    poses, segments = draw_timeline(np.random.default_rng(seed), fps=25.0)
    assert 20 * 25 <= len(poses) <= 60 * 25
    assert segments
    previous_end = 0
    for label, start, end in segments:
        assert label in ACTIONS
        assert previous_end < start < end <= len(poses)
        previous_end = end


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_who_sits_gets_up_before_walking(seed: int) -> None:
    labels = [label for label, _, _ in draw_timeline(np.random.default_rng(seed), fps=25.0)[1]]
    sitting = False
    for label in labels:
        assert sitting == (label == "stand_up") or label not in {
            "stand_up",
            "walk_forward",
            "kick",
            "squat",
            "sit_down",
        }
        sitting = (sitting or label == "sit_down") and label != "stand_up"


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_nothing_jumps(seed: int) -> None:
    poses, _ = draw_timeline(np.random.default_rng(seed), fps=25.0)
    # The fastest way back leads an arm by 3.1 radians in 7 frames; a cut would be up to 6.
    assert np.abs(np.diff(poses, axis=0)).max() < 1.0


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, turns=st.integers(-4, 4))
def test_a_performance_starts_near_the_pose_before_it(seed: int, turns: int) -> None:
    rng = np.random.default_rng(seed)
    track = ACTIONS["circle_arms_forward"].track(rng, 100)
    pose = track[0].copy()
    arms = [CHANNEL_INDEX[f"{side}_arm_raise"] for side in SIDES]
    pose[arms] += 2 * np.pi * turns
    pose[CHANNEL_INDEX["travel"]] = 3.0
    fitted = continue_from(pose, track)
    np.testing.assert_allclose(fitted[0], pose, atol=1e-9)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("untrimmed")
    make_actors(out, train_per_class=0, test_per_class=0, unlabelled=0, untrimmed=2, width=48, height=32, workers=1)
    return out


def test_annotations_fit_the_files(made: Path) -> None:
    content = json.loads((made / "untrimmed" / "annotations.json").read_text(encoding="utf-8"))
    database = content["database"]
    assert set(database) == {path.stem for path in (made / "untrimmed").glob("*.mp4")}
    assert [entry["subset"] for entry in database.values()] == ["training", "validation"]
    for name, entry in database.items():
        with av.open(str(made / "untrimmed" / f"{name}.mp4")) as container:
            num_frames = sum(1 for _ in container.decode(video=0))
        assert entry["duration"] == pytest.approx(num_frames / 25.0, abs=1e-3)
        assert 20 <= entry["duration"] <= 60
        ends = [0.0, *(time for a in entry["annotations"] for time in a["segment"]), entry["duration"]]
        assert ends == sorted(ends)
        assert {a["label"] for a in entry["annotations"]} <= set(ACTIONS)


def test_untrimmed_videos_are_not_in_the_list_of_videos(made: Path) -> None:
    assert (made / "videos.csv").read_text(encoding="utf-8") == "path,label,group,split\n"
