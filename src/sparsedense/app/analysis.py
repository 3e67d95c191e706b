"""What the page shows of a video: its classes, its actions over time, and its features."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.app.curves import CurveSummary
from sparsedense.app.jobs import Job, Step
from sparsedense.app.playback import media_type, write_playable
from sparsedense.app.store_clips import StoreClips
from sparsedense.detection.calibration import idle_class
from sparsedense.detection.segment_files import segment_record
from sparsedense.detection.segments import DetectedSegment
from sparsedense.prediction.answers import Embeddings, Prediction
from sparsedense.prediction.long_videos import DetectionSettings, LongVideoModel, detect_in
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

_TOP_CLASSES = 10


class WatchingModel(Protocol):
    """What the page needs of a model; `sparsedense.load_model` gives one."""

    name: str
    class_names: tuple[str, ...]

    def predict(self, videos: Path, /) -> Prediction:
        """The classes of a video."""

    def embed(self, videos: list[Any], /) -> Embeddings:
        """The features of videos: files, or arrays of frames (T, H, W, 3)."""

    def long_video_model(self) -> LongVideoModel:
        """What detection needs."""


class Analyst:
    """Does the jobs.

    Args:
        model: what to ask.
        clips: of the store that videos may be picked of; None where there is none.
        settings: of detection.

    Attributes:
        turn: who holds it may use the model.
    """

    def __init__(
        self, model: WatchingModel, clips: StoreClips | None, settings: DetectionSettings | None = None
    ) -> None:
        self._model, self._clips, self._settings = model, clips, settings or DetectionSettings()
        self._long_model: LongVideoModel | None = None
        self._labels: tuple[str, ...] = ()
        self._problem = ""
        try:
            self._long_model = model.long_video_model()
            self._labels = self._long_model.method(self._settings).labels
        except ValueError as error:  # a model without classes, or one that does not tell its stride
            self._problem = str(error)
        self.turn = threading.Lock()

    def work(self, job: Job, step: Step) -> None:
        """Make a video playable, and find out all about it; each answer is there as soon as it is known.

        Raises:
            CancelledError: nobody waits for it any more.
            UnreadableVideoError: no frame can be had.
            RefusedError: nothing can be said of it.
        """
        self._make_playable(job, step)
        with self.turn:
            if self._model.class_names:
                step.begin("Naming what happens")
                job.answers["classes"] = _class_records(self._model.predict(job.source))
            if self._problem:
                job.answers["problem"] = self._problem
            else:
                step.begin("Finding when it happens")
                job.answers["actions"] = self._actions(job.source, step)
            if self._clips is not None:
                step.begin("Describing it for comparison")
                embeddings = self._model.embed([job.source])
                if len(embeddings.features_ND):
                    job.features_D = embeddings.features_ND[0]

    def _make_playable(self, job: Job, step: Step) -> None:
        if job.video_id is not None and self._clips is not None:
            step.begin("Fetching it from the store")
            self._clips.write(job.video_id, job.source)
            job.playable = job.source
            return
        assert job.facts is not None
        if media_type(job.facts) is not None:
            job.playable = job.source
            return
        step.begin("Preparing it for the browser")
        target = job.folder / "playable.mp4"
        write_playable(job.source, target, job.facts, step.check)
        job.playable, job.converted = target, True

    def _actions(self, path: Path, step: Step) -> dict[str, Any]:
        model, length = self._long_model, _length_seconds(path)
        assert model is not None
        summary = CurveSummary(self._labels)

        def stoppable(output: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def checked(clips_BCTHW: Tensor) -> Tensor:
                step.check()
                return output(clips_BCTHW)

            return checked

        def watch(edges_seconds: NDArray[np.float64], probabilities_PA: NDArray[np.float64]) -> None:
            summary.add(edges_seconds, probabilities_PA)
            step.check(summary.end_seconds / length if length else None)

        model = replace(model, logits=stoppable(model.logits), features=stoppable(model.features))
        found = detect_in(VideoSource("the video", path), model, self._settings, watch=watch)
        if found.error is not None:
            raise UnreadableVideoError(path, found.error)
        return {
            "segments": [segment_record(segment) for segment in found.segments],
            "curves": summary.record(),
            "duration_seconds": round(found.counts.duration_seconds, 3),
            "frames_decoded": found.counts.frames_decoded,
            "clips_computed": found.counts.clips_computed,
            "clips_exhaustive": found.counts.clips_exhaustive,
            "damage": found.damage,
        }


def job_segments(job: Job) -> Sequence[DetectedSegment]:
    """The segments that were found in a video; none before they are known."""
    records = job.answers.get("actions", {}).get("segments", [])
    return [DetectedSegment(**record) for record in records]


def _length_seconds(path: Path) -> float | None:
    from sparsedense.video.probe import probe

    return probe(path).duration_seconds


def _class_records(prediction: Prediction) -> list[dict[str, Any]]:
    """The most probable actions; an idle class, which `finetune --task detection` adds, is none."""
    idle = idle_class(prediction.labels)
    ranked = enumerate(zip(prediction.labels, prediction.probabilities.tolist(), strict=True))
    shown = [{"label": label, "probability": round(value, 6)} for place, (label, value) in ranked if place != idle]
    return shown[:_TOP_CLASSES]
