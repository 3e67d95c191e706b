from pathlib import Path

import numpy as np
import pytest

from sparsedense.data.segments import AnnotatedVideo, SegmentAnnotation
from sparsedense.detection.head import HeadConfig
from sparsedense.training.detection_features import FeaturePart, VideoFeatures
from sparsedense.training.detection_windows import TrainingWindows, partly_zoomed

CONFIG = HeadConfig(("a", "b"), feature_dim=2, num_scales=1, num_levels=2)


def stored(
    folder: Path,
    length: int,
    segments: list[tuple[float, float, str]],
    ambiguous: list[tuple[float, float]] = [],  # noqa: B006
) -> VideoFeatures:
    """A video of one position a second, whose features count its positions; those of the skim are negative."""
    folder.mkdir()
    rows = np.zeros((length, 2, 1, 2), dtype=np.float16)
    rows[:, 0] = np.arange(length)[:, None, None]
    rows[:, 1] = -rows[:, 0]
    rows.tofile(folder / "rows.bin")
    video = AnnotatedVideo(
        video_id=folder.name,
        split="train",
        segments=tuple(SegmentAnnotation(*each) for each in segments),
        ambiguous=tuple(SegmentAnnotation(*each, "unclear") for each in ambiguous),
    )
    presence_PK = np.full((length, 1), 0.5, dtype=np.float32)
    return VideoFeatures(video, folder, np.arange(length + 1.0), presence_PK, (1, 2))


def test_windows_are_padded_and_labelled(tmp_path: Path) -> None:
    features = [
        stored(tmp_path / "one", 7, [(2.0, 5.0, "b")], ambiguous=[(5.0, 6.0)]),
        stored(tmp_path / "nothing", 1, []),
    ]
    windows = TrainingWindows(features, CONFIG, window_positions=100)
    assert (windows.positions, windows.per_epoch) == (8, 2)
    (batch,) = windows.epoch(np.random.default_rng(0), batch_size=4)
    by_length = batch.valid_BP.sum(dim=1).argsort(descending=True)
    assert batch.valid_BP.sum(dim=1)[by_length].tolist() == [7, 1]
    labels = batch.targets.position_labels_BP[by_length]
    assert labels.tolist() == [[2, 2, 1, 1, 1, -1, 2, -1], [2] + [-1] * 7]
    positive = batch.targets.positive_BM[by_length]
    assert positive.any(dim=1).tolist() == [True, False]
    assert batch.targets.classes_BML[by_length][0][positive[0]].tolist() == [[0, 1]] * int(positive[0].sum())
    assert batch.targets.ignored_BM[by_length][0].any()


def test_a_segment_that_is_mostly_cut_away_is_neither_there_nor_not(tmp_path: Path) -> None:
    """Windows of 4 of 16 positions: each says something of the segment only if it holds half of it."""
    windows = TrainingWindows([stored(tmp_path / "one", 16, [(6.0, 10.0, "a")])], CONFIG, window_positions=4)
    rng, kept = np.random.default_rng(0), 0
    for _ in range(30):
        for batch in windows.epoch(rng, batch_size=1):
            start = abs(int(batch.rows_BPKD[0, 0, 0, 0]))
            left = max(0, min(10, start + 4) - max(6, start))
            assert bool(batch.targets.positive_BM.any()) == (left >= 2)
            assert bool(batch.targets.ignored_BM.any()) == (left == 1)
            kept += left >= 2
    assert kept


def test_every_part_of_a_video_comes_as_often(tmp_path: Path) -> None:
    windows = TrainingWindows([stored(tmp_path / "one", 40, [])], CONFIG, window_positions=8)
    assert windows.per_epoch == 5


def test_the_same_seed_gives_the_same_windows(tmp_path: Path) -> None:
    windows = TrainingWindows([stored(tmp_path / "one", 40, [(3.0, 9.0, "a")])], CONFIG, window_positions=8)
    one, other = (list(windows.epoch(np.random.default_rng(3), batch_size=2)) for _ in range(2))
    assert all((a.rows_BPKD == b.rows_BPKD).all() for a, b in zip(one, other, strict=True))


def test_zoomed_stretches_are_whole_and_of_every_share() -> None:
    ones, zeros = np.ones((400, 1, 2), dtype=np.float32), np.zeros((400, 1, 2), dtype=np.float32)
    part = FeaturePart(ones, zeros, np.full((400, 1), 0.5, dtype=np.float32))
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        rows_PKD, presence_PK = partly_zoomed(rng, part)
        zoomed_P = rows_PKD[:, 0, 0] == 1
        assert (presence_PK[:, 0] == np.where(zoomed_P, 1.0, 0.5)).all()
        shares.append(zoomed_P.mean())
    assert np.mean(np.array(shares) == 1.0) == pytest.approx(0.4, abs=0.1)
    assert min(shares) < 0.15
    partial = np.array(shares)[np.array(shares) < 1.0]
    assert np.mean(partial) == pytest.approx(0.5, abs=0.12)
