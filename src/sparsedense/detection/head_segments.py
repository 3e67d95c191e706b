"""Segments from what a detection head says.

Shapes: M points, N segments, L classes, P positions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.segments import DetectedSegment, soft_nms

Floats = NDArray[np.float64]

# Overlap is judged as for the segments of curves.
_NMS_SIGMA = 0.5
_MOST_CANDIDATES = 400  # of a class, in one part of a video; soft-NMS compares all with all


def head_segments(
    probabilities_ML: Floats,
    bounds_M2: Floats,
    edges_seconds: Floats,
    class_names: Sequence[str],
    *,
    min_score: float,
) -> list[DetectedSegment]:
    """The segments that points tell, those of a class that overlap better ones put down by soft-NMS.

    Args:
        probabilities_ML: of each class at each point.
        bounds_M2: start and end that each point tells, in positions; they are cut at the ends of the video.
        edges_seconds: where positions begin and the last one ends (P + 1,), increasing.
        class_names: of the L classes.
        min_score: segments with less are left out.
    """
    bounds_M2 = np.clip(bounds_M2, 0.0, len(edges_seconds) - 1.0)
    seconds_M2 = np.interp(bounds_M2, np.arange(len(edges_seconds)), edges_seconds)
    is_something_M = seconds_M2[:, 1] > seconds_M2[:, 0]
    found: list[DetectedSegment] = []
    for column, label in enumerate(class_names):
        scores_M = np.where(is_something_M, probabilities_ML[:, column], 0.0)
        order = np.argsort(-scores_M, kind="stable")[:_MOST_CANDIDATES]
        candidates = order[scores_M[order] >= max(min_score, 1e-9)]
        segments_N2 = seconds_M2[candidates]
        chosen, decayed = soft_nms(segments_N2, scores_M[candidates], sigma=_NMS_SIGMA, min_score=min_score)
        found += [
            DetectedSegment(float(start), float(end), label, float(score))
            for (start, end), score in zip(segments_N2[chosen], decayed, strict=True)
        ]
    return found
