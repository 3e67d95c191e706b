from dataclasses import replace
from typing import Any

import pytest

from sparsedense.data.clip_config import ClipConfig

CLIPS = ClipConfig(length=8, size=16, min_dense_stride_frames=1.0, evaluation_stride_frames=None)


def test_the_length_filter_is_at_least_a_clip() -> None:
    assert ClipConfig().min_frames == 109
    assert CLIPS.min_frames == 32
    assert ClipConfig(length=8, min_dense_stride_frames=0.01).min_frames == 8


def test_the_least_clips() -> None:
    assert replace(CLIPS, length=2, size=1, min_dense_stride_frames=0.0).min_frames == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 0}, r"clips\.length \(0\) must be at least 2 frames"),
        ({"length": 1}, r"clips\.length \(1\)"),
        ({"size": 0}, r"clips\.size \(0\) must be at least 1 pixel"),
        ({"dense_clips": 0}, "dense_clips"),
        ({"dense_copies": 0}, "dense_copies"),
        ({"skip_ratio": 0.0}, "skip_ratio"),
        ({"other_skip_ratios": (2.0, float("inf"))}, "other_skip_ratios"),
        ({"min_dense_stride_frames": -1.0}, r"clips\.min_dense_stride_frames \(-1\.0\) must be finite and at least 0"),
        ({"evaluation_stride_frames": 0.0}, r"clips\.evaluation_stride_frames \(0\.0\) must be finite and above 0"),
    ],
)
def test_impossible_clips_are_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CLIPS, **changes)


def test_the_largest_ratio_decides_the_length_filter() -> None:
    several = replace(CLIPS, other_skip_ratios=(8.0, 2.0))
    assert several.skip_ratios == (2.0, 4.0, 8.0)
    assert several.min_frames == 64
