"""Score curves for a page: as many points as one can see, however long the video.

Shapes: P positions, L classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class CurveSummary:
    """Keeps the scores of a growing video; when there are too many positions, neighbours become one, at their highest.

    Args:
        labels: names of the L classes.
        most_positions: positions that are kept, at least 2.

    Raises:
        ValueError: `most_positions` is too small.
    """

    def __init__(self, labels: Sequence[str], *, most_positions: int = 600) -> None:
        if most_positions < 2:
            raise ValueError(f"most_positions ({most_positions}) must be at least 2")
        self._labels, self._most = labels, most_positions
        self._starts_P: Floats = np.zeros(0)
        self._scores_PL: Floats = np.zeros((0, len(labels)))
        self._pending: list[tuple[float, Floats]] = []
        self._merged = 1  # positions of the video that make one of ours
        self.end_seconds = 0.0

    def add(self, edges_seconds: Floats, probabilities_PL: Floats) -> None:
        """Go on with the curve.

        Args:
            edges_seconds: where positions begin and the last one ends (P + 1,).
            probabilities_PL: of each class in each position.
        """
        self._pending += zip(edges_seconds[:-1].tolist(), probabilities_PL, strict=True)
        self.end_seconds = float(edges_seconds[-1])
        whole = len(self._pending) // self._merged * self._merged
        self._append(self._pending[:whole])
        self._pending = self._pending[whole:]
        while len(self._starts_P) > self._most:
            self._halve()

    def record(self, *, most_classes: int = 12) -> dict[str, Any]:
        """The curves of the classes that reach highest, as JSON can hold them.

        Args:
            most_classes: how many of them.
        """
        starts_P, scores_PL = self._starts_P, self._scores_PL
        if self._pending:
            rest_L = np.max([scores for _, scores in self._pending], axis=0)
            starts_P, scores_PL = np.append(starts_P, self._pending[0][0]), np.vstack([scores_PL, rest_L])
        order = np.argsort(-scores_PL.max(axis=0, initial=0.0), kind="stable")[:most_classes].tolist()
        edges_seconds = np.append(starts_P, max(self.end_seconds, float(starts_P[-1]) if len(starts_P) else 0.0))
        return {
            "edges_seconds": np.round(edges_seconds, 3).tolist(),
            "series": [
                {"label": self._labels[index], "scores": np.round(scores_PL[:, index], 3).tolist()} for index in order
            ],
        }

    def _append(self, positions: list[tuple[float, Floats]]) -> None:
        if not positions:
            return
        starts_P = np.array([start for start, _ in positions[:: self._merged]])
        scores_PL = np.stack([scores for _, scores in positions])
        scores_PL = scores_PL.reshape(-1, self._merged, scores_PL.shape[1]).max(axis=1)
        self._starts_P = np.append(self._starts_P, starts_P)
        self._scores_PL = np.vstack([self._scores_PL, scores_PL])

    def _halve(self) -> None:
        if len(self._starts_P) % 2:  # the odd one out waits for its partner
            last = [(float(self._starts_P[-1]), self._scores_PL[-1])]
            self._pending = last * self._merged + self._pending
            self._starts_P, self._scores_PL = self._starts_P[:-1], self._scores_PL[:-1]
        self._starts_P = self._starts_P[::2]
        self._scores_PL = np.maximum(self._scores_PL[::2], self._scores_PL[1::2])
        self._merged *= 2
