"""What a detection head is trained on: windows of videos' features, and what it should say of them.

Shapes: B windows of a batch, P positions of a window, K scales, D features, M points, L classes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.detection.calibration import position_labels
from sparsedense.detection.head import HeadConfig, Points, points
from sparsedense.detection.head_losses import HeadTargetBatch
from sparsedense.detection.head_targets import head_targets, inside_any
from sparsedense.training.detection_features import FeaturePart, VideoFeatures

# Of a segment that the window cuts, more than this must be left to be found; of less, nothing is said.
_LEAST_SHARE = 0.5
_ALL_FULL_SHARE = 0.4  # of the windows; in the others stretches are zoomed, of each scale by itself
_SKIM_ALONE_SHARE = 0.3  # of these others, in which nothing is zoomed
_ZOOMED_RUN_POSITIONS = 6.0  # how long a stretch is zoomed at the finest scale, on average


class WindowBatch(NamedTuple):
    """Windows of several videos."""

    rows_BPKD: Tensor
    presence_BPK: Tensor
    valid_BP: Tensor
    targets: HeadTargetBatch


class _Window(NamedTuple):
    rows_PKD: NDArray[np.float32]
    presence_PK: NDArray[np.float32]
    valid_P: NDArray[np.bool_]
    classes_ML: NDArray[np.float32]
    distances_M2: NDArray[np.float32]
    positive_M: NDArray[np.bool_]
    ignored_M: NDArray[np.bool_]
    position_labels_P: NDArray[np.int64]


class TrainingWindows:
    """Windows at random places of videos, every part of a video as often as every other.

    Args:
        features: of the videos.
        config: of the head.
        window_positions: longest window; rounded up to the coarsest stride.
    """

    def __init__(self, features: Sequence[VideoFeatures], config: HeadConfig, *, window_positions: int) -> None:
        self._features, self._config = features, config
        stride = config.coarsest_stride
        longest = min(window_positions, max(map(len, features)))
        self.positions = -(-longest // stride) * stride
        self._points: Points = points(self.positions, config.num_levels)
        self._labels = [self._position_labels(each) for each in features]

    @property
    def per_epoch(self) -> int:
        """Windows of an epoch."""
        return sum(self._count(each) for each in self._features)

    def epoch(self, rng: np.random.Generator, *, batch_size: int) -> Iterator[WindowBatch]:
        """The windows of an epoch, in random order."""
        turns = np.repeat(np.arange(len(self._features)), [self._count(each) for each in self._features])
        rng.shuffle(turns)
        for begin in range(0, len(turns), batch_size):
            yield _batch([self._window(rng, int(turn)) for turn in turns[begin : begin + batch_size]])

    def _count(self, features: VideoFeatures) -> int:
        return -(-len(features) // self.positions)

    def _window(self, rng: np.random.Generator, index: int) -> _Window:
        features = self._features[index]
        start = int(rng.integers(0, max(0, len(features) - self.positions) + 1))
        end = min(len(features), start + self.positions)
        rows_PKD, presence_PK = partly_zoomed(rng, features.part(start, end))
        segments_N2, labels_N, ignored_N2 = self._segments(features, start, end)
        targets = head_targets(
            segments_N2, labels_N, self._points, len(self._config.class_names), ignored_N2=ignored_N2
        )
        missing = self.positions - (end - start)
        return _Window(
            np.pad(rows_PKD, ((0, missing), (0, 0), (0, 0))),
            np.pad(presence_PK, ((0, missing), (0, 0))),
            np.arange(self.positions) < end - start,
            *targets,
            np.pad(self._labels[index][start:end], (0, missing), constant_values=-1),
        )

    def _segments(
        self, features: VideoFeatures, start: int, end: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Segments of a window, their classes, and stretches about which nothing is said, in its positions."""
        whole_N2 = features.segments_in_positions()
        cut_N2 = np.clip(whole_N2, start, end)
        left_N = np.diff(cut_N2, axis=1)[:, 0] / np.maximum(np.diff(whole_N2, axis=1)[:, 0], 1e-9)
        # A segment of no length, as behind the end of the video, is in no window.
        here_N = (whole_N2[:, 0] < end) & (whole_N2[:, 1] > start)
        is_kept_N = here_N & (left_N >= _LEAST_SHARE)
        places = {name: place for place, name in enumerate(self._config.class_names)}
        labels_N = np.array([places[each.label] for each in features.video.segments], dtype=np.int64)
        ignored_N2 = np.concatenate([cut_N2[here_N & ~is_kept_N], features.ambiguous_in_positions()])
        return cut_N2[is_kept_N] - start, labels_N[is_kept_N], ignored_N2 - start

    def _position_labels(self, features: VideoFeatures) -> NDArray[np.int64]:
        names = self._config.class_names
        centres_seconds = (features.edges_seconds[1:] + features.edges_seconds[:-1]) / 2
        middles_P = np.arange(len(features), dtype=np.float64) + 0.5
        labels_P = position_labels(features.video.segments, centres_seconds, names, len(names))
        labels_P[inside_any(middles_P, features.ambiguous_in_positions())] = -1
        return labels_P


def partly_zoomed(rng: np.random.Generator, part: FeaturePart) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and presence as a scan gives them: all clips, or those of the skim, with stretches of scales zoomed."""
    if rng.random() < _ALL_FULL_SHARE:
        return part.full_PKD, np.ones_like(part.skim_presence_PK)
    length, num_scales = part.skim_presence_PK.shape
    is_skim_alone = rng.random() < _SKIM_ALONE_SHARE
    most = 0.0 if is_skim_alone else float(rng.random())
    shares_K: NDArray[np.float64] = np.asarray(rng.random(num_scales)) * most
    zoomed_PK = np.stack(
        [
            _random_runs(rng, length, share=share, mean_length=_ZOOMED_RUN_POSITIONS * 2.0**scale)
            for scale, share in enumerate(shares_K.tolist())
        ],
        axis=1,
    )
    rows_PKD = np.where(zoomed_PK[..., None], part.full_PKD, part.skim_PKD)
    return rows_PKD, np.where(zoomed_PK, np.float32(1.0), part.skim_presence_PK)


def _random_runs(rng: np.random.Generator, length: int, *, share: float, mean_length: float) -> NDArray[np.bool_]:
    """Which of so many positions are in stretches that make up about this share of them."""
    chosen = np.zeros(length, dtype=np.bool_)
    for _ in range(int(np.ceil(-np.log(max(1 - share, 0.01)) * length / mean_length))):
        start = int(rng.integers(0, length))
        chosen[start : start + int(rng.geometric(1 / mean_length))] = True
    return chosen


def _batch(windows: list[_Window]) -> WindowBatch:
    rows, presence, valid, classes, distances, positive, ignored, labels = (
        torch.from_numpy(np.stack(several)) for several in zip(*windows, strict=True)
    )
    return WindowBatch(rows, presence, valid, HeadTargetBatch(classes, distances, positive, ignored, labels))
