"""What every model that takes videos can do, whatever computes it: PyTorch here, ONNX Runtime and others in `export`.

    model.predict("clip.mp4").label
    model.predict(["a.mp4", "videos/", "more/*.avi"])    # a list in, a list out
    model.embed(["a.mp4", "b.mp4"]).features_ND
    for segment in model.detect("hour.mp4"):             # what happens when
        print(segment.start_seconds, segment.end_seconds, segment.label, segment.score)

Shapes: L classes, N videos, D features.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.calibration import Calibration
from sparsedense.detection.trained_head import TrainedHead
from sparsedense.prediction.answers import Embeddings, LivePrediction, Prediction
from sparsedense.prediction.batches import VideoOutput, video_outputs
from sparsedense.prediction.clips import ClipForm
from sparsedense.prediction.live import live_windows
from sparsedense.prediction.long_videos import Detection, DetectionOptions, DetectionSettings, LongVideoModel, detect_in
from sparsedense.prediction.read_ahead import read_ahead
from sparsedense.prediction.reading_options import Progress, ReadingOptions
from sparsedense.prediction.sources import VideoLike, VideoList, VideoSource, open_sources
from sparsedense.video.errors import UnreadableVideoError

DEFAULT_CLIPS_PER_VIDEO = 3
_MOST_THREADS = 8


class NoClassesError(ValueError):
    """A model that was trained without labels was asked for classes."""


class VideoModel(ABC):
    """A model that reads videos itself.

    Attributes:
        class_names: of the L classes; empty for a model that was trained without labels.
        clips: plain numbers that describe the clips to feed.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        name: what errors call the model.
        calibration: how scores become probabilities in `detect`.
        calibration_problem: why that does not fit the model; None where it does.
        training_stride_frames: stride of the clips that it was trained on, where that is known.
        head: the learned head that `detect` uses; None where there is none.
    """

    class_names: tuple[str, ...]
    clips: dict[str, int | float]
    short_side: int
    name: str
    calibration: Calibration
    training_stride_frames: float | None
    calibration_problem: str | None = None
    head: TrainedHead | None = None

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model wants its clips."""

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Numbers D of a feature vector."""

    @abstractmethod
    def logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits (B, L) of float clips (B, 3, T, S, S) in [0, 1]."""

    @abstractmethod
    def features(self, clips_BCTHW: Tensor) -> Tensor:
        """Pooled features (B, D) of float clips (B, 3, T, S, S) in [0, 1]."""

    def quarter_features(self, clips_BCTHW: Tensor) -> Tensor:
        """Features of each quarter of a clip (B, 4, D), for `detect`; (B, 1, D) where the model has only the whole."""
        return self.features(clips_BCTHW)[:, None]

    def quarter_logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits of each quarter of a clip (B, 4, L), for `detect`; (B, 1, L) where the model has only the whole."""
        return self.logits(clips_BCTHW)[:, None]

    def evaluating(self) -> AbstractContextManager[None]:
        """A block in which the model only answers; what can be trained is put into evaluation mode meanwhile."""
        return nullcontext()

    @overload
    def predict(self, videos: VideoLike, **options: Unpack[ReadingOptions]) -> Prediction: ...

    @overload
    def predict(self, videos: VideoList, **options: Unpack[ReadingOptions]) -> list[Prediction]: ...

    def predict(
        self,
        videos: VideoLike | VideoList,
        *,
        clips_per_video: int = DEFAULT_CLIPS_PER_VIDEO,
        batch_size: int = 16,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Prediction | list[Prediction]:
        """Recognise the action of each video: probabilities averaged over evenly spaced clips.

        Args:
            videos: one file, http URL, `-` for standard input, or array of RGB frames (T, H, W, 3) in uint8, for one
                prediction; or a list of these, of folders and of globs, for a list of predictions. In a list, a video
                that cannot be read gives a prediction with an `error`.
            clips_per_video: evenly spaced clips a video; `evaluate` takes 10.
            batch_size: clips that go through the network at a time.
            num_threads: videos decoded at a time; None takes one a core.
            progress: called with videos done and videos in all.

        Raises:
            NoClassesError: the model was trained without labels.
            UnreadableVideoError: the one video cannot be read.
            TypeError, ValueError: the videos are none of what is listed, or a number is below 1.
        """
        self.check_classes()
        outputs = self._outputs(videos, self._probabilities, clips_per_video, batch_size, num_threads, progress)
        predictions = [self._prediction(output) for output in outputs]
        if isinstance(videos, (list, tuple)):
            return predictions
        if predictions[0].error is not None:
            raise UnreadableVideoError(predictions[0].video, predictions[0].error)
        return predictions[0]

    def embed(
        self,
        videos: VideoLike | VideoList,
        *,
        view: str = "dense",
        clips_per_video: int = DEFAULT_CLIPS_PER_VIDEO,
        batch_size: int = 16,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Embeddings:
        """Pooled features of each video, averaged over evenly spaced clips; needs no classes.

        Args:
            videos: as in `predict`.
            view: `dense`, or `sparse` for the one clip that spans the video.
            clips_per_video: as in `predict`.
            batch_size: as in `predict`.
            num_threads: as in `predict`.
            progress: as in `predict`.

        Returns:
            a row of features for each video, in order; those of a list that cannot be read are left out and named in
            `errors`.

        Raises:
            UnreadableVideoError: the one video cannot be read.
            TypeError, ValueError: as in `predict`; the view is not known.
        """
        outputs = list(self._outputs(videos, self.features, clips_per_video, batch_size, num_threads, progress, view))
        if not isinstance(videos, (list, tuple)) and outputs[0].error is not None:
            raise UnreadableVideoError(outputs[0].source.name, outputs[0].error)
        rows = [output.mean_D for output in outputs if output.mean_D is not None]
        features_ND = np.stack(rows) if rows else np.zeros((0, self.feature_dim), dtype=np.float32)
        return Embeddings(
            features_ND,
            tuple(output.source.name for output in outputs if output.error is None),
            {output.source.name: output.error for output in outputs if output.error is not None},
            {output.source.name: output.damage for output in outputs if output.damage is not None},
        )

    @overload
    def detect(
        self, videos: VideoLike, *, progress: Progress | None = ..., **options: Unpack[DetectionOptions]
    ) -> Detection: ...

    @overload
    def detect(
        self, videos: VideoList, *, progress: Progress | None = ..., **options: Unpack[DetectionOptions]
    ) -> list[Detection]: ...

    def detect(
        self,
        videos: VideoLike | VideoList,
        *,
        progress: Progress | None = None,
        **options: Unpack[DetectionOptions],
    ) -> Detection | list[Detection]:
        """Find when which action begins and ends in long videos: skim, then zoom where the skim is unsure.

        Each frame is decoded once, and memory does not grow with the length of the video.

        Args:
            videos: as in `predict`.
            progress: called with videos done and videos in all.
            options: fields of `DetectionSettings`: `effort=1.0` computes every clip, `fps` is needed for arrays.

        Raises:
            NoClassesError: the model was trained without labels.
            UnreadableVideoError: the one video cannot be read.
            TypeError, ValueError: the videos are none of what is listed, or a setting cannot be.
        """
        settings = DetectionSettings(**options)
        model = self.long_video_model()
        detections: list[Detection] = []
        with self.evaluating(), open_sources(videos) as sources:
            for source in sources:
                detections.append(detect_in(source, model, settings))
                if progress:
                    progress(len(detections), len(sources))
        if isinstance(videos, (list, tuple)):
            return detections
        if detections[0].error is not None:
            raise UnreadableVideoError(detections[0].video, detections[0].error)
        return detections[0]

    def long_video_model(self, *, needs_classes: bool = True) -> LongVideoModel:
        """What `detect` needs of this model.

        Args:
            needs_classes: whether it is to find actions, which takes classes or a detection head.

        Raises:
            NoClassesError: the model was trained without labels and has no detection head.
        """
        if needs_classes and self.head is None:
            self.check_classes()
        return LongVideoModel(
            logits=self.quarter_logits,
            features=self.quarter_features,
            device=self.device,
            class_names=self.class_names,
            clips=ClipConfig(**self.clips),  # type: ignore[arg-type]
            short_side=self.short_side,
            calibration=self.calibration,
            calibration_problem=self.calibration_problem and f"{self.name}: {self.calibration_problem}",
            training_stride_frames=self.training_stride_frames,
            head=self.head,
        )

    def predict_live(
        self, address: str, *, window_seconds: float = 4.0, every_seconds: float = 1.0, clips_per_video: int = 1
    ) -> Iterator[LivePrediction]:
        """Recognise what happens now, in a camera's or a network stream, until it ends or the loop is left.

        Args:
            address: a URL such as `rtsp://camera/1`, or a camera: its number or device file.
            window_seconds: each prediction is about so many last seconds.
            every_seconds: time between predictions; where the network is slower, some are left out.
            clips_per_video: evenly spaced clips a window.

        Raises:
            NoClassesError: the model was trained without labels.
            UnreadableVideoError: the stream cannot be opened or breaks off.
            ValueError: a number is not positive.
        """
        self.check_classes()
        form = self._form(clips_per_video)
        windows = live_windows(address, form, window_seconds=window_seconds, every_seconds=every_seconds)
        with self.evaluating(), closing(windows):
            for window in windows:
                read = [(VideoSource(address, None), window.clips)]
                (output,) = video_outputs(self._probabilities, read, device=self.device, batch_size=clips_per_video)
                labels, probabilities = self._ranked(output)
                yield LivePrediction(window.start_seconds, window.end_seconds, labels, probabilities)

    def check_classes(self) -> None:
        """Make sure that there are classes to predict.

        Raises:
            NoClassesError: there are none.
        """
        if not self.class_names:
            raise NoClassesError(
                f"{self.name} has no classes: it was pretrained without labels; fine-tune it first with "
                f"`sparsedense finetune STORE --init {self.name}`, or use `embed`"
            )

    def _outputs(
        self,
        videos: VideoLike | VideoList,
        output: Callable[[Tensor], Tensor],
        clips_per_video: int,
        batch_size: int,
        num_threads: int | None,
        progress: Progress | None,
        view: str = "dense",
    ) -> Iterator[VideoOutput]:
        form = self._form(clips_per_video, view)
        if num_threads is None:
            num_threads = min(os.cpu_count() or 1, _MOST_THREADS)
        with (
            self.evaluating(),
            open_sources(videos) as sources,
            closing(read_ahead(sources, form, num_threads=num_threads)) as read,
        ):
            outputs = video_outputs(output, read, device=self.device, batch_size=batch_size)
            for done, result in enumerate(outputs, 1):
                yield result
                if progress:
                    progress(done, len(sources))

    def _form(self, clips_per_video: int, view: str = "dense") -> ClipForm:
        return ClipForm(ClipConfig(**self.clips), self.short_side, clips_per_video, view)  # type: ignore[arg-type]

    def _probabilities(self, clips_BCTHW: Tensor) -> Tensor:
        return self.logits(clips_BCTHW).softmax(dim=-1)

    def _prediction(self, output: VideoOutput) -> Prediction:
        name = output.source.name
        if output.error is not None:
            return Prediction(name, error=output.error)
        return Prediction(name, *self._ranked(output), output.num_frames, output.damage)

    def _ranked(self, output: VideoOutput) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Labels and probabilities of a video that was read, the most probable one first."""
        assert output.mean_D is not None
        order = np.argsort(-output.mean_D, kind="stable")
        return tuple(self.class_names[index] for index in order), output.mean_D[order]
