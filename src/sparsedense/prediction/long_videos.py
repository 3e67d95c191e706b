"""Where actions begin and end in long videos: frames read once, scanned, and segments made of the scores.

Shapes: K scales, P positions, L classes, B clips of a batch, T frames, S = the clip's size in pixels.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.calibration import Calibration, idle_class
from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.scan import DEFAULT_EFFORT, Scan, ScanCounts, ScanSettings, ScoreCurve, TimedPicture
from sparsedense.detection.segment_stream import SegmentStream
from sparsedense.detection.segments import DetectedSegment, SegmentSettings
from sparsedense.detection.thumbnails import Thumbnails
from sparsedense.prediction.clips import crop_frame
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.scale import FrameScaler


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
        stride_frames: of the finest clips; None takes that of the calibration, or half of the training's.
        num_scales: of clips, each of twice the stride of the one before; None takes that of the calibration, or 3.
        min_score: segments with less are not reported; None takes that of the calibration.
        fps: frame rate of arrays and of files that do not tell.
        batch_size: clips that go through the network at a time.

    Raises:
        ValueError: `min_score` or `fps` cannot be; the scan checks the others.
    """

    effort: float = DEFAULT_EFFORT
    stride_frames: float | None = None
    num_scales: int | None = None
    min_score: float | None = None
    fps: float | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps ({self.fps}) must be above 0")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score ({self.min_score}) must be in 0..1")


@dataclass(frozen=True)
class LongVideoModel:
    """What scanning needs of a model.

    Attributes:
        logits: float clips (B, 3, T, S, S) to logits (B, L).
        device: where it wants its clips.
        class_names: of the L classes.
        clips: the clips that it was trained on.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        calibration: how logits become probabilities.
        training_stride_frames: stride that it was trained at, in frames; None where that is not known.
    """

    logits: Callable[[Tensor], Tensor]
    device: torch.device
    class_names: tuple[str, ...]
    clips: ClipConfig
    short_side: int
    calibration: Calibration
    training_stride_frames: float | None

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
    def score(self, clips_BTHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (B, L) of clips."""
        clips_BCTHW = torch.from_numpy(clips_BTHWC).permute(0, 4, 1, 2, 3).to(self.device)
        logits: NDArray[np.float32] = self.logits(to_float(clips_BCTHW).contiguous()).float().cpu().numpy()
        return logits


class LongVideo:
    """One video while it is scanned: its curves, and afterwards what was done.

    Args:
        source: what to read.
        model: what gives the scores.
        settings: how.
    """

    def __init__(self, source: VideoSource, model: LongVideoModel, settings: DetectionSettings) -> None:
        self._source, self._model, self._settings = source, model, settings
        self.thumbnails = Thumbnails()
        self.damage: str | None = None
        self.counts = ScanCounts()

    def curves(self) -> Iterator[ScoreCurve]:
        """Scores over the video, part by part.

        Raises:
            UnreadableVideoError: no frame can be had.
            ValueError: the frame rate or the stride is not known.
        """
        grid = ClipGrid(self._model.clips.length, self._model.num_scales(self._settings))
        stride_frames = self._model.stride_frames(self._settings)
        scan_settings = ScanSettings(
            grid,
            stride_frames,
            self._settings.effort,
            self._settings.batch_size,
            self._model.calibration.scale_weights,
        )
        with closing(self._pictures()) as pictures:
            scan = Scan(pictures, self._model.score, scan_settings, self._model.calibration.probabilities)
            self.counts = scan.counts
            yield from scan

    def _pictures(self) -> Generator[TimedPicture, None, None]:
        media = self._source.media
        if media is None:
            raise UnreadableVideoError(self._source.name, self._source.problem or "there is nothing to read")
        if isinstance(media, np.ndarray):
            yield from self._array_pictures(media)
            return
        with VideoDecoder(media) as decoder:
            yield from self._file_pictures(decoder, media)

    def _file_pictures(self, decoder: VideoDecoder, media: Path | str) -> Iterator[TimedPicture]:
        fps = self._settings.fps or decoder.info.fps
        if fps is None:
            raise UnreadableVideoError(media, "it does not tell its frame rate; give fps (--fps)")
        first_seconds: float | None = None
        try:
            for number, picture in enumerate(decoder.pictures(short_side=self._model.short_side)):
                seconds = number / fps
                # Where times are told they count, because the frame rate of some videos varies.
                if self._settings.fps is None and decoder.frame_seconds is not None:
                    first_seconds = decoder.frame_seconds if first_seconds is None else first_seconds
                    seconds = decoder.frame_seconds - first_seconds
                yield TimedPicture(seconds, self._cropped(seconds, picture))
        except DamagedVideoError as error:
            self.damage = f"damaged after frame {error.num_frames} ({error.reason})"

    def _array_pictures(self, frames_THWC: NDArray[np.uint8]) -> Iterator[TimedPicture]:
        if self._settings.fps is None:
            raise UnreadableVideoError(self._source.name, "an array does not tell its frame rate; give fps (--fps)")
        height, width = frames_THWC.shape[1:3]
        scale = FrameScaler(width, height, short_side=self._model.short_side)
        for number in range(len(frames_THWC)):

            def picture(number: int = number) -> NDArray[np.uint8]:
                frame = np.ascontiguousarray(frames_THWC[number])
                return np.ascontiguousarray(scale(av.VideoFrame.from_ndarray(frame, format="rgb24")))

            seconds = number / self._settings.fps
            yield TimedPicture(seconds, self._cropped(seconds, picture))

    def _cropped(self, seconds: float, picture: Callable[[], NDArray[np.uint8]]) -> Callable[[], NDArray[np.uint8]]:
        def cropped() -> NDArray[np.uint8]:
            frame_HWC = picture()
            self.thumbnails.offer(seconds, frame_HWC)
            return crop_frame(frame_HWC, self._model.clips.size)

        return cropped


def detect_in(source: VideoSource, model: LongVideoModel, settings: DetectionSettings) -> Detection:
    """The segments of one video; one that cannot be read gives a detection with an `error`.

    Raises:
        ValueError: the stride is not known, or a setting cannot be.
    """
    min_score = model.calibration.min_score if settings.min_score is None else settings.min_score
    foreground = foreground_classes(model.class_names)
    labels = [model.class_names[index] for index in foreground]
    stream = SegmentStream(labels, replace(SegmentSettings(), min_score=min_score))
    video = LongVideo(source, model, settings)
    segments: list[DetectedSegment] = []
    try:
        for curve in video.curves():
            probabilities_PA = model.calibration.probabilities(curve.logits_KPL, curve.presence_KP)
            segments += stream.add(curve.edges_seconds, probabilities_PA[:, foreground])
    except UnreadableVideoError as error:
        return Detection(source.name, error=error.reason)
    segments += stream.finish()
    ordered = sorted(segments, key=lambda each: (each.start_seconds, -each.score, each.label))
    return Detection(source.name, tuple(ordered), video.counts, video.thumbnails, video.damage)


def foreground_classes(class_names: Sequence[str]) -> list[int]:
    """Indices of the classes that are actions: all but the idle one."""
    idle = idle_class(class_names)
    return [index for index in range(len(class_names)) if index != idle]
