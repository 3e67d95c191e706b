"""Where actions begin and end in long videos: frames read once, scanned, and segments made of the scores.

Shapes: K scales, P positions, L classes, B clips of a batch, T frames, S = the clip's size in pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.calibration import Calibration
from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.held_frames import ScanCounts
from sparsedense.detection.scan import DEFAULT_EFFORT, Scan, ScanSettings, Score, ScoreCurve
from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.thumbnails import Thumbnails
from sparsedense.detection.trained_head import TrainedHead
from sparsedense.prediction.detection_methods import (
    METHODS,
    DetectionMethod,
    HeadMethod,
    ScanMethod,
    WindowMethod,
)
from sparsedense.prediction.shared_scan import RememberedScore, shared_pictures
from sparsedense.prediction.sources import VideoSource
from sparsedense.prediction.timed_pictures import TimedPictures
from sparsedense.video.errors import UnreadableVideoError


@dataclass(frozen=True)
class Detection:
    """What happens when in one video; it can be iterated over, which gives the segments.

    Attributes:
        video: the video, as it was given.
        segments: the actions, in order of their starts.
        counts: frames decoded and clips computed.
        thumbnails: a few small pictures over the video.
        damage: where and why decoding ended before the end of the file; the answer is about the frames before.
        error: why the video could not be read; None where it could.
    """

    video: str
    segments: tuple[DetectedSegment, ...] = ()
    counts: ScanCounts = field(default_factory=ScanCounts)
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    damage: str | None = None
    error: str | None = None

    def __iter__(self) -> Iterator[DetectedSegment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)


_NUM_SCALES = 3  # half of the training's stride, the stride itself, and twice it


class DetectionOptions(TypedDict, total=False):
    """The fields of `DetectionSettings` as keywords."""

    effort: float
    method: str
    stride_frames: float | None
    num_scales: int | None
    min_score: float | None
    fps: float | None
    batch_size: int


@dataclass(frozen=True)
class DetectionSettings:
    """How to look for actions in videos.

    Attributes:
        effort: from 0, the sparse skim alone, to 1, every clip.
        method: `head`, the learned head; `window`, where the classes of clips are probable; `auto`, the head where the
            model has one.
        stride_frames: of the finest clips; None takes that of the calibration, or half of the training's; a head has
            its own.
        num_scales: of clips, each of twice the stride of the one before; None takes that of the calibration, or 3; a
            head has its own.
        min_score: segments with less are not reported; None takes that of the calibration.
        fps: frame rate of arrays and of files that do not tell.
        batch_size: clips that go through the network at a time.

    Raises:
        ValueError: `method`, `min_score` or `fps` cannot be; the scan checks the others.
    """

    effort: float = DEFAULT_EFFORT
    method: str = "auto"
    stride_frames: float | None = None
    num_scales: int | None = None
    min_score: float | None = None
    fps: float | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} is not known; use one of {', '.join(METHODS)}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps ({self.fps}) must be above 0")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score ({self.min_score}) must be in 0..1")


@dataclass(frozen=True)
class LongVideoModel:
    """What scanning needs of a model.

    Attributes:
        logits: float clips (B, 3, T, S, S) to logits of their quarters (B, 4, L), or of the whole (B, 1, L).
        features: float clips (B, 3, T, S, S) to features (B, 4 or 1, D), which a head takes.
        device: where it wants its clips.
        class_names: of the L classes; none where it was trained without labels.
        clips: the clips that it was trained on.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        calibration: how logits become probabilities.
        training_stride_frames: stride that it was trained at, in frames; None where that is not known.
        head: the learned head; None where there is none.
        calibration_problem: why the calibration does not fit the model; None where it does.
    """

    logits: Callable[[Tensor], Tensor]
    features: Callable[[Tensor], Tensor]
    device: torch.device
    class_names: tuple[str, ...]
    clips: ClipConfig
    short_side: int
    calibration: Calibration
    training_stride_frames: float | None
    head: TrainedHead | None = None
    calibration_problem: str | None = None

    def method(self, settings: DetectionSettings) -> DetectionMethod:
        """How segments are made.

        Raises:
            ValueError: the model has no head, or no classes, where they are asked for; the head was trained with
                another stride or number of scales; the calibration is not of this model; the stride is not known.
        """
        if settings.method == "head" or (settings.method == "auto" and self.head is not None):
            return self._head_method(settings)
        if not self.class_names:
            raise ValueError("the model has no classes for the method `window`: it was pretrained without labels")
        if self.calibration_problem is not None:
            raise ValueError(f"{self.calibration_problem}; run `sparsedense calibrate` again")
        return WindowMethod(
            self.logits, self.class_names, self.calibration, self.stride_frames(settings), self.num_scales(settings)
        )

    def _head_method(self, settings: DetectionSettings) -> HeadMethod:
        if self.head is None:
            raise ValueError("the model has no detection head; train one with `sparsedense finetune --task detection`")
        method = HeadMethod(self.features, self.head)
        asked = (settings.stride_frames or method.stride_frames, settings.num_scales or method.num_scales)
        if asked != (method.stride_frames, method.num_scales):
            raise ValueError(
                f"the detection head was trained at stride_frames {method.stride_frames:g} with {method.num_scales} "
                f"scales, not at {asked[0]:g} with {asked[1]}; leave both out, or use the method `window`"
            )
        return method

    def stride_frames(self, settings: DetectionSettings) -> float:
        """Stride of the finest clips; half of the training's if none was told, so that the skim has clips as trained.

        Raises:
            ValueError: neither the settings nor the model tell one.
        """
        half_of_training = None if self.training_stride_frames is None else self.training_stride_frames / 2
        stride = settings.stride_frames or self.calibration.stride_frames or half_of_training
        if stride is None:
            raise ValueError(
                "the model file does not tell the stride of its clips in frames; give stride_frames (--stride-frames)"
            )
        return max(1.0, stride)

    def num_scales(self, settings: DetectionSettings) -> int:
        """How many scales of clips."""
        calibrated = self.calibration.scale_weights
        if settings.num_scales is not None:
            return settings.num_scales
        return _NUM_SCALES if calibrated is None else len(calibrated)

    @torch.inference_mode()
    def score(self, output: Callable[[Tensor], Tensor], clips_BTHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network says of clips (B, R, D)."""
        clips_BCTHW = torch.from_numpy(clips_BTHWC).permute(0, 4, 1, 2, 3).to(self.device)
        rows: NDArray[np.float32] = output(to_float(clips_BCTHW).contiguous()).float().cpu().numpy()
        return rows


class LongVideo:
    """One video while it is scanned: its curves, and afterwards what was done.

    Args:
        source: what to read.
        model: what gives the scores.
        settings: how.
        method: what is made of the clips; that of the settings if not given.

    Raises:
        ValueError: the model cannot do that.
    """

    def __init__(
        self,
        source: VideoSource,
        model: LongVideoModel,
        settings: DetectionSettings,
        method: ScanMethod | None = None,
    ) -> None:
        self._model, self._settings = model, settings
        self._method: ScanMethod = method or model.method(settings)
        self.counts = ScanCounts()
        self._pictures = TimedPictures(source, short_side=model.short_side, size=model.clips.size, fps=settings.fps)

    @property
    def thumbnails(self) -> Thumbnails:
        """A few small pictures over what was read."""
        return self._pictures.thumbnails

    @property
    def damage(self) -> str | None:
        """Where and why decoding ended before the end of the file."""
        return self._pictures.damage

    def curves(self) -> Iterator[ScoreCurve]:
        """What the network says over the video, part by part.

        Raises:
            UnreadableVideoError: no frame can be had.
            ValueError: the frame rate or the stride is not known.
        """
        for (curve,) in self.curves_at((self._settings.effort,)):
            yield curve

    def curves_at(self, efforts: Sequence[float]) -> Iterator[tuple[ScoreCurve, ...]]:
        """The same at several efforts, the greatest first, in one reading; the counts are those of the greatest.

        Raises:
            UnreadableVideoError, ValueError: as in `curves`.
        """
        settings = ScanSettings(
            ClipGrid(self._model.clips.length, self._method.num_scales),
            self._method.stride_frames,
            efforts[0],
            self._settings.batch_size,
            self._method.scale_weights,
        )
        score: Score = partial(self._model.score, self._method.output)
        with closing(iter(self._pictures)) as pictures:
            if len(efforts) == 1:
                scan = Scan(pictures, score, settings, self._method.probabilities)
                self.counts = scan.counts
                # Closed first: its thread may still be reading the pictures.
                with closing(iter(scan)) as curves:
                    for curve in curves:
                        yield (curve,)
                return
            remembered, alone = RememberedScore(score), replace(settings, read_ahead=False)
            scans = [
                Scan(shared, remembered, replace(alone, effort=effort), self._method.probabilities)
                for shared, effort in zip(shared_pictures(pictures, len(efforts)), efforts, strict=True)
            ]
            self.counts = scans[0].counts
            yield from zip(*scans, strict=True)


def detect_in(
    source: VideoSource,
    model: LongVideoModel,
    settings: DetectionSettings,
    *,
    watch: Callable[[NDArray[np.float64], NDArray[np.float64]], None] | None = None,
) -> Detection:
    """The segments of one video; one that cannot be read gives a detection with an `error`.

    Args:
        source: what to read.
        model: what gives the scores.
        settings: how.
        watch: called with each part of the curves: edges in seconds (P + 1,), probabilities (P, actions).

    Raises:
        ValueError: the stride is not known, a setting cannot be, or the model cannot do that.
    """
    method = model.method(settings)
    finder = method.finder(settings.min_score)
    video = LongVideo(source, model, settings, method)
    segments: list[DetectedSegment] = []
    try:
        for curve in video.curves():
            segments += finder.add(curve)
            if watch:
                watch(curve.edges_seconds, method.action_probabilities(curve))
    except UnreadableVideoError as error:
        return Detection(source.name, error=error.reason)
    segments += finder.finish()
    ordered = sorted(segments, key=lambda each: (each.start_seconds, -each.score, each.label))
    return Detection(source.name, tuple(ordered), video.counts, video.thumbnails, video.damage)
