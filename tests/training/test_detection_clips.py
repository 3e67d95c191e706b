from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.segments import AnnotatedVideo, SegmentAnnotation
from sparsedense.prediction.annotated_videos import annotated_splits
from sparsedense.training.detection_clips import ClipSampling, draw_clip, epoch_batches, read_clips
from sparsedense.video.errors import UnreadableVideoError
from tests.training.coloured_videos import write_coloured_videos
from tests.video.sample_videos import write_truncated

NAMES = ("blue", "red", "background")
WHOLE = AugmentConfig(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0))
SAMPLING = ClipSampling(ClipConfig(length=8, size=16), 24, 1.0, 2, NAMES, 4, 12, WHOLE)
RED = SegmentAnnotation(2.0, 5.0, "red")
VIDEO = AnnotatedVideo(video_id="a", split="train", segments=(RED,))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedVideo]:
    folder = write_coloured_videos(tmp_path_factory.mktemp("coloured"))
    return annotated_splits(folder, None, ("train",))["train"]


@given(seed=st.integers(0, 9999), num_frames=st.integers(1, 200), stride=st.floats(1.0, 9.0))
def test_clips_lie_in_the_video_and_labels_where_the_frames_are(seed: int, num_frames: int, stride: float) -> None:
    sampling = replace(SAMPLING, stride_frames=stride)
    frames_T, labels_R = draw_clip(np.random.default_rng(seed), VIDEO, sampling, num_frames, 10.0)
    assert frames_T.shape == (8,)
    assert labels_R.shape == (4,)
    assert 0 <= frames_T.min() <= frames_T.max() < num_frames
    assert (np.diff(frames_T) >= 0).all()
    if frames_T[0] > 0 and frames_T[-1] < num_frames - 1:  # not cut at an end
        steps = np.diff(frames_T)
        assert steps.max() - steps.min() <= 1
        assert stride * 2**-0.25 - 1 <= steps.mean() <= stride * 2**1.25 + 1
        reach = (steps.mean() + 1) / 10.0  # of what the middle of a quarter is told by its two frames
        middles_R = frames_T.reshape(4, 2).mean(axis=1) / 10.0
        for seconds, label in zip(middles_R.tolist(), labels_R.tolist(), strict=True):
            if label == 1:
                assert RED.start_seconds - reach <= seconds <= RED.end_seconds + reach
            else:
                assert not RED.start_seconds + reach <= seconds <= RED.end_seconds - reach


def test_most_clips_are_about_actions_and_all_classes_come() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([draw_clip(rng, VIDEO, SAMPLING, 1000, 10.0).labels_R for _ in range(300)])
    shares = [(labels == label).mean() for label in range(3)]
    assert shares[0] == 0
    assert 0.3 < shares[1] < 0.7
    assert ((labels == 1).any(axis=1) & (labels == 2).any(axis=1)).mean() > 0.05, "clips that an action begins in"


def test_what_is_not_known_is_marked() -> None:
    video = replace(VIDEO, segments=(), ambiguous=(SegmentAnnotation(0.0, 100.0, ""),))
    labels_R = draw_clip(np.random.default_rng(0), video, SAMPLING, 500, 10.0).labels_R
    assert labels_R.tolist() == [-1] * 4


def test_labels_tell_the_colours(videos: list[AnnotatedVideo]) -> None:
    video = next(each for each in videos if each.video_id == "video0")
    judged = right = 0
    for clip_CTHW, labels_R in read_clips(video, SAMPLING, (1,)):
        assert clip_CTHW.shape == (3, 8, 16, 16)
        colours_CR = clip_CTHW.float().mean(dim=(2, 3)).reshape(3, 4, 2)
        for quarter, label in enumerate(labels_R.tolist()):
            first, second = colours_CR[:, quarter, 0], colours_CR[:, quarter, 1]
            if (first - second).abs().max() > 20:
                continue  # an action begins or ends inside
            is_red, is_blue = bool(first[0] > 180), bool(first[2] > 180)
            judged += 1
            right += (is_blue, is_red, not (is_red or is_blue))[label]
    # The middle of a quarter lies between its frames, so that at a boundary they may differ.
    assert judged > 20
    assert right >= judged - 2


def test_an_epoch_has_all_clips_and_the_seed_decides(videos: list[AnnotatedVideo]) -> None:
    def epoch(seed: int) -> list[torch.Tensor]:
        batches = list(epoch_batches(videos, SAMPLING, batch_size=10, seed=(seed,)))
        assert sum(len(batch.clips_BCTHW) for batch in batches) == 12 * len(videos)
        assert all(batch.labels_BR.shape[1] == 4 for batch in batches)
        return [batch.clips_BCTHW for batch in batches]

    first, again, other = epoch(0), epoch(0), epoch(1)
    assert all(torch.equal(one, another) for one, another in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    path = write_truncated(tmp_path / "damaged.mp4", 60, keep=0.6)
    with pytest.raises(UnreadableVideoError, match=r"damaged\.mp4.*take it out of the annotations"):
        read_clips(replace(VIDEO, path=path), SAMPLING, (0,))
