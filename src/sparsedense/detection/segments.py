"""Segments from a score curve per class over time: grouping at several levels and scales, then soft-NMS.

        probability
    1        ######
            ########        at level 0.7 one segment, at level 0.3 a longer one; each is scored by how much higher the
    0   ###############     curve is inside than beside it, and of those that overlap the best one keeps its score

Grouping at several levels follows TAG (Zhao et al., ICCV 2017), the score by inside and outside AutoLoc (Shou et al.,
ECCV 2018). Shapes: P positions in time, L classes, N segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MARGIN_SHARE = 0.25  # of a segment's length, on each side of it, that its score compares it with


@dataclass(frozen=True, slots=True)
class DetectedSegment:
    """One action that was found in a video, in seconds from its start; the score is in 0..1."""

    start_seconds: float
    end_seconds: float
    label: str
    score: float


@dataclass(frozen=True)
class SegmentSettings:
    """How segments are made of a curve.

    Attributes:
        levels: probabilities at which the curve is cut into segments.
        smoothing_positions: odd numbers of positions that the curve is averaged over before it is cut; 1 leaves it.
        min_seconds: shorter segments are left out.
        nms_sigma: of soft-NMS; the smaller, the harder overlapping segments of a class are put down.
        min_score: segments with less are left out.

    Raises:
        ValueError: a value that cannot be.
    """

    levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    smoothing_positions: tuple[int, ...] = (1, 3, 5)
    min_seconds: float = 0.3
    nms_sigma: float = 0.5
    min_score: float = 0.1

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"levels ({self.levels}) must be between 0 and 1, and at least one")
        if not self.smoothing_positions or any(width < 1 or width % 2 == 0 for width in self.smoothing_positions):
            raise ValueError(f"smoothing_positions ({self.smoothing_positions}) must be odd, 1 or more")
        if self.min_seconds < 0 or self.nms_sigma <= 0 or not 0 <= self.min_score <= 1:
            raise ValueError(
                f"min_seconds ({self.min_seconds}) must not be negative, nms_sigma ({self.nms_sigma}) above 0 and "
                f"min_score ({self.min_score}) in 0..1"
            )


def find_segments(
    probabilities_PL: NDArray[np.floating], edges_seconds: Floats, labels: Sequence[str], settings: SegmentSettings
) -> list[DetectedSegment]:
    """Segments of all classes, in order of their starts.

    Args:
        probabilities_PL: of each class (background is none of them) in each position.
        edges_seconds: where positions begin and the last one ends (P + 1,), increasing.
        labels: names of the classes.
        settings: how.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    num_positions, num_classes = probabilities_PL.shape
    if len(edges_seconds) != num_positions + 1 or len(labels) != num_classes:
        raise ValueError(
            f"probabilities of shape {probabilities_PL.shape} need {num_positions + 1} edges and {num_classes} labels, "
            f"got {len(edges_seconds)} and {len(labels)}"
        )
    found: list[DetectedSegment] = []
    for column, label in enumerate(labels):
        curve_P = np.asarray(probabilities_PL[:, column], dtype=np.float64)
        if num_positions == 0 or curve_P.max() <= min(settings.levels):
            continue
        segments_N2 = candidate_segments(curve_P, edges_seconds, settings)
        scores_N = segment_scores(segments_N2, curve_P, edges_seconds)
        chosen, decayed = soft_nms(segments_N2, scores_N, sigma=settings.nms_sigma, min_score=settings.min_score)
        found += [
            DetectedSegment(float(start), float(end), label, float(score))
            for (start, end), score in zip(segments_N2[chosen], decayed, strict=True)
        ]
    return sorted(found, key=lambda segment: (segment.start_seconds, -segment.score, segment.label))


def candidate_segments(curve_P: Floats, edges_seconds: Floats, settings: SegmentSettings) -> Floats:
    """Stretches (N, 2) in seconds in which the curve of one class is above a level, at every level and smoothing.

    Where it crosses the level between the middles of two positions, the time is interpolated.
    """
    found = [
        runs_above(smoothed(curve_P, width), edges_seconds, level)
        for width in settings.smoothing_positions
        for level in settings.levels
    ]
    segments_N2 = np.unique(np.concatenate(found).round(6), axis=0)
    # A millionth of a second, so that a segment as long as the minimum is not lost to rounding.
    return np.asarray(segments_N2[segments_N2[:, 1] - segments_N2[:, 0] >= settings.min_seconds - 1e-6])


def smoothed(curve_P: Floats, width: int) -> Floats:
    """The mean over `width` positions about each; at the ends, over those that are there."""
    if width == 1 or len(curve_P) == 0:
        return curve_P
    half = width // 2
    sums = np.concatenate([[0.0], np.cumsum(curve_P)])
    first = np.maximum(np.arange(len(curve_P)) - half, 0)
    last = np.minimum(np.arange(len(curve_P)) + half + 1, len(curve_P))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def runs_above(curve_P: Floats, edges_seconds: Floats, level: float) -> Floats:
    """Stretches (N, 2) in seconds in which a curve is above a level."""
    above = np.concatenate([[False], curve_P > level, [False]])
    change = np.flatnonzero(above[1:] != above[:-1])
    first, end = change[::2], change[1::2]  # positions first .. end - 1 are above
    centres = (edges_seconds[1:] + edges_seconds[:-1]) / 2
    starts = np.full(len(first), edges_seconds[0])
    ends = np.full(len(end), edges_seconds[-1])
    inner, outer = first > 0, end < len(curve_P)
    starts[inner] = _crossing(centres, curve_P, first[inner] - 1, level)
    ends[outer] = _crossing(centres, curve_P, end[outer] - 1, level)
    return np.stack([starts, ends], axis=1)


def _crossing(centres: Floats, curve_P: Floats, before: NDArray[np.int64], level: float) -> Floats:
    """When the curve crosses the level between the positions `before` and those after them."""
    low, high = curve_P[before], curve_P[before + 1]
    share = (level - low) / (high - low)
    return np.asarray(centres[before] + share * (centres[before + 1] - centres[before]))


def segment_scores(segments_N2: Floats, curve_P: Floats, edges_seconds: Floats) -> Floats:
    """How sure the curve is of segments (N,): mean inside x (1 - mean beside), in 0..1.

    Beside is a quarter of the length on each side, as far as there is video.
    """
    starts, ends = segments_N2.T
    margin = _MARGIN_SHARE * (ends - starts)
    outer_starts = np.maximum(starts - margin, edges_seconds[0])
    outer_ends = np.minimum(ends + margin, edges_seconds[-1])
    integral = np.concatenate([[0.0], np.cumsum(curve_P * np.diff(edges_seconds))])

    def area(begin: Floats, stop: Floats) -> Floats:
        return np.asarray(np.interp(stop, edges_seconds, integral) - np.interp(begin, edges_seconds, integral))

    inside = area(starts, ends)
    beside_seconds = (outer_ends - outer_starts) - (ends - starts)
    beside = (area(outer_starts, outer_ends) - inside) / np.maximum(beside_seconds, 1e-9)
    scores = inside / np.maximum(ends - starts, 1e-9) * (1 - np.where(beside_seconds > 1e-9, beside, 0.0))
    return np.asarray(np.clip(scores, 0.0, 1.0))


def temporal_iou(segment: Floats, others_N2: Floats) -> Floats:
    """Intersection over union (N,) of a segment (2,) with others; 0 where both are empty."""
    intersection = np.minimum(segment[1], others_N2[:, 1]) - np.maximum(segment[0], others_N2[:, 0])
    intersection = np.maximum(intersection, 0.0)
    union = (segment[1] - segment[0]) + (others_N2[:, 1] - others_N2[:, 0]) - intersection
    return np.asarray(np.where(union > 0, intersection / np.where(union > 0, union, 1.0), 0.0))


def soft_nms(
    segments_N2: Floats, scores_N: Floats, *, sigma: float, min_score: float
) -> tuple[NDArray[np.int64], Floats]:
    """Put down the scores of what overlaps something better: Gaussian soft-NMS (Bodla et al., ICCV 2017).

    The best segment is taken, the scores of all others are multiplied by exp(-tIoU^2 / sigma), and so on.

    Args:
        segments_N2: starts and ends.
        scores_N: their scores.
        sigma: the smaller, the harder.
        min_score: it ends when no score is this high.

    Returns:
        indices of the segments taken, in the order of taking; their scores, which fall.
    """
    scores = scores_N.astype(np.float64, copy=True)
    taken: list[int] = []
    decayed: list[float] = []
    while len(scores) and (best := int(scores.argmax())) >= 0 and scores[best] >= min_score and scores[best] > 0:
        taken.append(best)
        decayed.append(float(scores[best]))
        scores = scores * np.exp(-(temporal_iou(segments_N2[best], segments_N2) ** 2) / sigma)
        scores[taken] = 0.0
    return np.array(taken, dtype=np.int64), np.array(decayed)
