"""A detection head over a video that comes in parts, without keeping it: memory does not grow with its length.

    |   margin   |          core          |   margin   |
                  segments whose middle lies here are given out

The margins are as wide as what an answer may depend on and the longest segments that may overlap it, so that the parts
together tell what the whole would.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.detection.head import padded, points
from sparsedense.detection.head_segments import head_segments
from sparsedense.detection.scan import ScoreCurve
from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.trained_head import TrainedHead

_CORE_POSITIONS = 2048


class HeadStream:
    """Finds segments in features that go on and on.

    Args:
        head: what finds them.
        min_score: segments with less, of the calibrated scores, are left out.
        core_positions: positions that are decided on at a time; rounded up to the coarsest stride.
    """

    def __init__(self, head: TrainedHead, *, min_score: float, core_positions: int = _CORE_POSITIONS) -> None:
        config = head.network.config
        self._head, self._min_score = head, min_score
        stride = config.coarsest_stride
        self._core = -(-core_positions // stride) * stride
        # A segment reaches so far from its middle's point, and so do those that overlap it.
        self._margin = -(-(config.reach_positions + 4 * config.most_positions) // stride) * stride
        self._rows_PKD = np.zeros((0, config.num_scales, config.feature_dim), dtype=np.float32)
        self._presence_PK = np.zeros((0, config.num_scales), dtype=np.float32)
        self._edges_seconds: NDArray[np.float64] = np.zeros(0)
        self._before = 0  # positions in front of the core

    def add(self, curve: ScoreCurve) -> list[DetectedSegment]:
        """Go on; returns the segments that are finished."""
        rows_PKD = np.swapaxes(curve.outputs_KPD, 0, 1).astype(np.float32)
        self._rows_PKD = np.concatenate([self._rows_PKD, rows_PKD])
        presence_PK = np.swapaxes(curve.presence_KP, 0, 1).astype(np.float32)
        self._presence_PK = np.concatenate([self._presence_PK, presence_PK])
        self._edges_seconds = np.concatenate([self._edges_seconds[:-1], curve.edges_seconds])
        found: list[DetectedSegment] = []
        while len(self._rows_PKD) > self._before + self._core + self._margin:
            window = self._before + self._core + self._margin
            found += self._decide(window, self._before, self._before + self._core)
            self._forget(max(0, self._before + self._core - self._margin))
        return found

    def finish(self) -> list[DetectedSegment]:
        """The rest, when the video has ended."""
        if not len(self._rows_PKD):
            return []
        return self._decide(len(self._rows_PKD), self._before, len(self._rows_PKD))

    def _decide(self, window: int, core_start: int, core_end: int) -> list[DetectedSegment]:
        """Segments of the first positions whose middle lies in the core."""
        edges_seconds = self._edges_seconds[: window + 1]
        found = raw_segments(
            self._head,
            self._rows_PKD[:window],
            self._presence_PK[:window],
            edges_seconds,
            min_score=self._head.calibration.own_score(self._min_score),
        )
        from_seconds, to_seconds = edges_seconds[core_start], edges_seconds[core_end]
        is_last = window == core_end
        here = [
            each
            for each in found
            if from_seconds <= (middle := (each.start_seconds + each.end_seconds) / 2) < to_seconds
            or (is_last and middle >= to_seconds)
        ]
        return [each for each in self._head.calibration.applied(here) if each.score >= self._min_score]

    def _forget(self, count: int) -> None:
        self._before = self._before + self._core - count
        self._rows_PKD, self._presence_PK = self._rows_PKD[count:], self._presence_PK[count:]
        self._edges_seconds = self._edges_seconds[count:]


@torch.inference_mode()
def raw_segments(
    head: TrainedHead,
    rows_PKD: NDArray[np.float32],
    presence_PK: NDArray[np.float32],
    edges_seconds: NDArray[np.float64],
    *,
    min_score: float,
) -> list[DetectedSegment]:
    """Segments of a stretch of video with the head's own scores.

    Args:
        head: what finds them.
        rows_PKD: features of the clips of each scale in each position.
        presence_PK: how far each scale is known there.
        edges_seconds: where positions begin and the last one ends (P + 1,).
        min_score: segments with less are left out.
    """
    stride, device = head.network.config.coarsest_stride, head.network.device
    arrays = (rows_PKD, presence_PK, np.ones(len(rows_PKD), dtype=np.float32))
    rows, presence, valid = (torch.from_numpy(padded(each, stride))[None].to(device) for each in arrays)
    output = head.network(rows, presence, valid > 0)
    probabilities_ML = (output.class_logits_BML.sigmoid() * output.valid_BM[..., None])[0].double().cpu().numpy()
    distances_M2 = output.distances_BM2[0].double().cpu().numpy()
    centres_M = points(valid.shape[1], head.network.config.num_levels).centres_M
    bounds_M2 = np.stack([centres_M - distances_M2[:, 0], centres_M + distances_M2[:, 1]], axis=1)
    return head_segments(probabilities_ML, bounds_M2, edges_seconds, head.class_names, min_score=min_score)
