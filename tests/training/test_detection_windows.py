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


def test_windows_are_seen_as_scans_give_them_whole_skimmed_and_zoomed_scale_by_scale() -> None:
    rng = np.random.default_rng(0)
    full, skim = np.ones((200, 3, 1), dtype=np.float32), np.zeros((200, 3, 1), dtype=np.float32)
    part = FeaturePart(full, skim, np.tile(np.array([0.0, 0.5, 0.0], dtype=np.float32), (200, 1)))
    shares = []
    for _ in range(400):
        rows_PKD, presence_PK = partly_zoomed(rng, part)
        zoomed_PK = rows_PKD[..., 0] == 1
        np.testing.assert_array_equal(presence_PK, np.where(zoomed_PK, 1.0, part.skim_presence_PK))
        shares.append(zoomed_PK.mean(axis=0))
    shares_NK = np.array(shares)
    assert (shares_NK == 1.0).all(axis=1).mean() == pytest.approx(0.4, abs=0.08)
    assert (shares_NK == 0.0).all(axis=1).mean() == pytest.approx(0.6 * 0.3, abs=0.08)
    zoomed_NK = shares_NK[((shares_NK > 0) & (shares_NK < 1)).any(axis=1)]
    assert np.abs(zoomed_NK[:, 0] - zoomed_NK[:, 2]).max() > 0.3, "each scale by itself"
    assert 0.1 < zoomed_NK.mean() < 0.5
