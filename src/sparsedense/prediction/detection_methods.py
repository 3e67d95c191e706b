"""The two ways to make segments of a long video: of the classes of its clips, or by a learned head of their features.

Both scan alike; they differ in what is kept of each clip, in how that tells where the video is worth a closer look, and
in what makes segments of it.

Shapes: K scales, P positions, L classes, D features, A = classes with background.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.detection.calibration import Calibration, idle_class
from sparsedense.detection.head_stream import HeadStream
from sparsedense.detection.scan import ScoreCurve
from sparsedense.detection.segment_stream import SegmentStream
from sparsedense.detection.segments import DetectedSegment, SegmentSettings
from sparsedense.detection.trained_head import TrainedHead

Floats = NDArray[np.float64]

METHODS = ("auto", "window", "head")


class SegmentFinder(Protocol):
    """Finds the segments of one video, which comes in parts."""

    def add(self, curve: ScoreCurve) -> list[DetectedSegment]:
        """Go on; returns the segments that are finished."""

    def finish(self) -> list[DetectedSegment]:
        """The rest, when the video has ended."""


class ScanMethod(Protocol):
    """What a scan keeps of the clips, and at which scales.

    Attributes:
        output: float clips (B, 3, T, S, S) to what is kept of them (B, R, D), in quarters or as a whole.
        stride_frames: of the finest clips.
        num_scales: of clips.
        scale_weights: what each scale counts for where clips are chosen; None where all count alike.
    """

    @property
    def output(self) -> Callable[[Tensor], Tensor]: ...  # noqa: D102 - attributes, above
    @property
    def stride_frames(self) -> float: ...  # noqa: D102
    @property
    def num_scales(self) -> int: ...  # noqa: D102
    @property
    def scale_weights(self) -> tuple[float, ...] | None: ...  # noqa: D102

    def probabilities(self, outputs_KPD: Floats, presence_KP: Floats) -> Floats:
        """Probabilities (P, A) of what happens in each position, background among them."""


class DetectionMethod(ScanMethod, Protocol):
    """A way to make segments.

    Attributes:
        labels: the actions that it finds.
    """

    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102

    def action_probabilities(self, curve: ScoreCurve) -> Floats:
        """Probabilities (P, len(labels)) of the actions in each position."""

    def finder(self, min_score: float | None) -> SegmentFinder:
        """What finds the segments of one video; those with less than `min_score` are left out."""


@dataclass(frozen=True)
class WindowMethod:
    """Segments where the probability of a class is high; see `DetectionMethod`."""

    output: Callable[[Tensor], Tensor]
    class_names: tuple[str, ...]
    calibration: Calibration
    stride_frames: float
    num_scales: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The actions: all classes but the idle one."""
        return tuple(self.class_names[index] for index in foreground_classes(self.class_names))

    @property
    def scale_weights(self) -> tuple[float, ...] | None:
        """Those of the calibration."""
        return self.calibration.scale_weights

    def probabilities(self, outputs_KPD: Floats, presence_KP: Floats) -> Floats:
        """Calibrated probabilities (P, A)."""
        return self.calibration.probabilities(outputs_KPD, presence_KP)

    def action_probabilities(self, curve: ScoreCurve) -> Floats:
        """Calibrated probabilities (P, len(labels)) of the actions."""
        probabilities_PA = self.probabilities(curve.outputs_KPD, curve.presence_KP)
        return probabilities_PA[:, foreground_classes(self.class_names)]

    def finder(self, min_score: float | None) -> SegmentFinder:
        """Groups positions by their probabilities."""
        least = self.calibration.min_score if min_score is None else min_score
        return _CurveFinder(self, SegmentStream(self.labels, replace(SegmentSettings(), min_score=least)))


@dataclass(frozen=True)
class HeadMethod:
    """Segments that a learned head tells; see `DetectionMethod`."""

    output: Callable[[Tensor], Tensor]
    head: TrainedHead

    @property
    def labels(self) -> tuple[str, ...]:
        """The actions that the head was trained on."""
        return self.head.class_names

    @property
    def stride_frames(self) -> float:
        """That of the head's training."""
        return self.head.stride_frames

    @property
    def num_scales(self) -> int:
        """That of the head's training."""
        return self.head.network.config.num_scales

    @property
    def scale_weights(self) -> tuple[float, ...] | None:
        """The head sees all scales."""
        return None

    def probabilities(self, outputs_KPD: Floats, presence_KP: Floats) -> Floats:
        """What the head says of each position by itself (P, A)."""
        return self.head.probabilities(outputs_KPD, presence_KP)

    def action_probabilities(self, curve: ScoreCurve) -> Floats:
        """The same without background."""
        return self.probabilities(curve.outputs_KPD, curve.presence_KP)[:, :-1]

    def finder(self, min_score: float | None) -> SegmentFinder:
        """Runs the head."""
        least = self.head.calibration.min_score if min_score is None else min_score
        return HeadStream(self.head, min_score=least)


@dataclass(frozen=True)
class FeatureMethod:
    """Features alone, to train a head on; see `ScanMethod`. Nothing tells where they are unsure."""

    output: Callable[[Tensor], Tensor]
    stride_frames: float
    num_scales: int
    scale_weights: None = None

    def probabilities(self, outputs_KPD: Floats, presence_KP: Floats) -> Floats:
        """One class, that is always sure; all clips are computed, or those of the skim."""
        return np.ones((outputs_KPD.shape[1], 1))


@dataclass(frozen=True)
class _CurveFinder:
    """Segments of probabilities."""

    method: WindowMethod
    stream: SegmentStream

    def add(self, curve: ScoreCurve) -> list[DetectedSegment]:
        return self.stream.add(curve.edges_seconds, self.method.action_probabilities(curve))

    def finish(self) -> list[DetectedSegment]:
        return self.stream.finish()


def foreground_classes(class_names: Sequence[str]) -> list[int]:
    """Indices of the classes that are actions: all but the idle one."""
    idle = idle_class(class_names)
    return [index for index in range(len(class_names)) if index != idle]
