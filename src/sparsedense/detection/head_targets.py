"""What a detection head should say at each of its points, given the true segments.

                start                    middle                   end
    segment       |-----------------------|-----------------------|
    points      .   .   .   .   .   .  [  .   .   .  ]  .   .   .   .   .
                                       at most 1.5 strides from the middle

A point is told to find a segment if it lies inside, near the middle (centre sampling; Tian et al., FCOS, ICCV 2019),
and the farther of start and end is about as far as its level is for. Where several segments want a point, it gets the
shortest. A segment that no point is for, because it is shorter than a position, gets the nearest one.

Shapes: N segments, M points, L classes. All times are in positions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.head import Points

Floats = NDArray[np.float64]

_CENTRE_RADIUS = 1.5  # strides
_LEAST_STRIDES, _MOST_STRIDES = 2.0, 4.0  # a level is for distances of this many strides


class HeadTargets(NamedTuple):
    """What points should say.

    Attributes:
        classes_ML: 1 where the point is told to find a segment of the class, else 0.
        distances_M2: from the point back to the start and on to the end; 0 where there is nothing to find.
        positive_M: points with a segment to find.
        ignored_M: points about which nothing is known.
    """

    classes_ML: NDArray[np.float32]
    distances_M2: NDArray[np.float32]
    positive_M: NDArray[np.bool_]
    ignored_M: NDArray[np.bool_]


def head_targets(
    segments_N2: Floats, labels_N: NDArray[np.int64], points: Points, num_classes: int, *, ignored_N2: Floats
) -> HeadTargets:
    """Give each point the segment that it should find.

    Args:
        segments_N2: starts and ends.
        labels_N: classes of the segments.
        points: of all levels, the finest first.
        num_classes: number of classes L.
        ignored_N2: stretches about which nothing is known; a point in one, with no segment to find, counts for nothing.
    """
    num_points = len(points.centres_M)
    classes_ML = np.zeros((num_points, num_classes), dtype=np.float32)
    distances_M2 = np.zeros((num_points, 2), dtype=np.float32)
    positive_M: NDArray[np.bool_] = np.zeros(num_points, dtype=np.bool_)
    if len(segments_N2):
        wants_NM = _wanted(segments_N2, points)
        lengths_N1 = np.diff(segments_N2, axis=1)
        shortest_M = np.where(wants_NM, lengths_N1, np.inf).min(axis=0)
        positive_M = np.asarray(wants_NM.any(axis=0))
        # Of segments of one length, as where two things happen at once, each gives its class; the first the distances.
        takes_NM = wants_NM & (lengths_N1 <= shortest_M + 1e-6)
        for segment, label in zip(takes_NM, labels_N.tolist(), strict=True):
            classes_ML[segment, label] = 1.0
        starts_M, ends_M = segments_N2[takes_NM.argmax(axis=0)].T
        distances = np.stack([points.centres_M - starts_M, ends_M - points.centres_M], axis=1)
        distances_M2[positive_M] = np.maximum(distances[positive_M], 0.0)
    ignored_M = inside_any(points.centres_M, ignored_N2) & ~positive_M
    return HeadTargets(classes_ML, distances_M2, positive_M, ignored_M)


def inside_any(times: Floats, stretches_N2: Floats) -> NDArray[np.bool_]:
    """Which times lie in one of the stretches."""
    return np.asarray(((stretches_N2[:, :1] <= times) & (times < stretches_N2[:, 1:])).any(axis=0))


def _wanted(segments_N2: Floats, points: Points) -> NDArray[np.bool_]:
    """Which segments want which points (N, M)."""
    starts_N1, ends_N1 = segments_N2[:, :1], segments_N2[:, 1:]
    middles_N1 = (starts_N1 + ends_N1) / 2
    centres, strides = points
    to_start_NM, to_end_NM = centres - starts_N1, ends_N1 - centres
    farthest_NM = np.maximum(to_start_NM, to_end_NM)
    least_M = np.where(strides == strides.min(), 0.0, _LEAST_STRIDES * strides)
    most_M = np.where(strides == strides.max(), np.inf, _MOST_STRIDES * strides)
    inside_NM = (to_start_NM > 0) & (to_end_NM > 0) & (np.abs(centres - middles_N1) <= _CENTRE_RADIUS * strides)
    wants_NM = inside_NM & (farthest_NM >= least_M) & (farthest_NM < most_M)
    for lonely in np.flatnonzero(~wants_NM.any(axis=1)).tolist():
        wants_NM[lonely, _nearest(float(middles_N1[lonely, 0]), float(farthest_NM[lonely].min()), points, most_M)] = (
            True
        )
    return np.asarray(wants_NM)


def _nearest(middle: float, farthest: float, points: Points, most_M: Floats) -> int:
    """The point nearest to a middle, of the finest level that tells such a distance."""
    enough = points.strides_M[most_M > farthest]
    of_level = np.flatnonzero(points.strides_M == enough.min())
    return int(of_level[np.abs(points.centres_M[of_level] - middle).argmin()])
