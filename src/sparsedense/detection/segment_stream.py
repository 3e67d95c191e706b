"""Segments of a curve that comes in parts, without keeping it: memory does not grow with the length of the video."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.segments import DetectedSegment, SegmentSettings, find_segments, smoothed

Floats = NDArray[np.float64]

_TOUCHING_SECONDS = 1e-5
_QUIET_POSITIONS = 5  # so that a cut is not right beside an action


class SegmentStream:
    """Finds segments in a growing curve.

    When the part that is kept is full, it is cut where the least happens in its second half. An action that lasts
    longer is found in pieces, which are joined where they touch the cut.

    Args:
        labels: names of the classes.
        settings: how segments are made.
        most_positions: positions that are kept.

    Raises:
        ValueError: `most_positions` is below 2.
    """

    def __init__(self, labels: Sequence[str], settings: SegmentSettings, *, most_positions: int = 4096) -> None:
        if most_positions < 2:
            raise ValueError(f"most_positions ({most_positions}) must be at least 2")
        self._labels, self._settings, self._most = tuple(labels), settings, most_positions
        self._edges_seconds: Floats = np.zeros(0)
        self._probabilities_PL: Floats = np.zeros((0, len(labels)))
        self._touching: list[DetectedSegment] = []  # of the piece before, those that end at the cut

    def add(self, edges_seconds: Floats, probabilities_PL: Floats) -> list[DetectedSegment]:
        """Go on with the curve.

        Args:
            edges_seconds: where positions begin and the last one ends (P + 1,); begins where the last part ended.
            probabilities_PL: of each class in each position.

        Returns:
            segments that are finished.
        """
        self._edges_seconds = np.concatenate([self._edges_seconds[:-1], edges_seconds])
        self._probabilities_PL = np.concatenate([self._probabilities_PL, probabilities_PL])
        finished: list[DetectedSegment] = []
        while len(self._probabilities_PL) > self._most:
            finished += self._take(_quiet_position(self._probabilities_PL[: self._most].max(axis=1, initial=0.0)))
        return finished

    def finish(self) -> list[DetectedSegment]:
        """The rest, when the curve has ended."""
        finished = self._take(len(self._probabilities_PL)) if len(self._probabilities_PL) else []
        finished += self._touching
        self._touching = []
        return finished

    def _take(self, num_positions: int) -> list[DetectedSegment]:
        """Find the segments of the first positions, and forget these."""
        edges = self._edges_seconds[: num_positions + 1]
        found = find_segments(self._probabilities_PL[:num_positions], edges, self._labels, self._settings)
        self._edges_seconds = self._edges_seconds[num_positions:]
        self._probabilities_PL = self._probabilities_PL[num_positions:]
        found = self._joined(found, float(edges[0]))
        self._touching = [each for each in found if each.end_seconds > edges[-1] - _TOUCHING_SECONDS]
        return [each for each in found if each.end_seconds <= edges[-1] - _TOUCHING_SECONDS]

    def _joined(self, found: list[DetectedSegment], cut_seconds: float) -> list[DetectedSegment]:
        """The segments of a piece, those that begin at the cut joined with the best of their class that ends there."""
        joined: list[DetectedSegment] = []
        earlier = sorted(self._touching, key=lambda each: -each.score)
        for each in sorted(found, key=lambda each: -each.score):
            begun = next((one for one in earlier if one.label == each.label), None)
            if begun is None or each.start_seconds > cut_seconds + _TOUCHING_SECONDS:
                joined.append(each)
                continue
            earlier.remove(begun)
            joined.append(_join(begun, each))
        self._touching = []
        return [*earlier, *joined]


def _quiet_position(foreground_P: Floats) -> int:
    """Where to cut a curve: in the middle of what is quietest in its second half."""
    half = len(foreground_P) // 2
    quiet = smoothed(foreground_P, _QUIET_POSITIONS)[half:]
    places = np.flatnonzero(quiet <= quiet.min() + 1e-9)
    return half + int(places[len(places) // 2])


def _join(first: DetectedSegment, second: DetectedSegment) -> DetectedSegment:
    lengths = [each.end_seconds - each.start_seconds for each in (first, second)]
    score = float(np.average([first.score, second.score], weights=lengths))
    return replace(first, end_seconds=second.end_seconds, score=score)
