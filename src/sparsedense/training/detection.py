"""`finetune --task detection`: annotated long videos in, a run folder with a model that has a detection head out.

config.yaml  environment.json  metrics.jsonl  model.safetensors  features/
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from sparsedense.data.segments import AnnotatedVideo
from sparsedense.detection.head_calibration import HeadCalibrationReport
from sparsedense.detection.trained_head import TrainedHead, save_head
from sparsedense.prediction.annotated_videos import Progress, annotated_splits
from sparsedense.prediction.long_videos import DetectionSettings
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.training.detection_features import VideoFeatures, read_features
from sparsedense.training.detection_head import HeadTraining, calibrate_head, train_head, validation_map
from sparsedense.training.machine import describe_environment
from sparsedense.training.run_folder import RunFolderError, enter_folder, write_json

MODEL_NAME = "model.safetensors"


@dataclass(frozen=True)
class DetectionRun:
    """A finished training of a detection head.

    Attributes:
        path: the run's folder.
        model: its model file.
        class_names: the actions that the head finds.
        train_videos: number of training videos.
        val_videos: number of videos that it was chosen by.
        best_epoch: epoch whose weights were kept.
        val_map: mean average precision over tIoU 0.3-0.7 on the validation videos; None without any.
        calibration: of the scores, on the validation videos; None without any, or where nothing found there is right.
        seconds: how long it took.
    """

    path: Path
    model: Path
    class_names: tuple[str, ...]
    train_videos: int
    val_videos: int
    best_epoch: int
    val_map: float | None
    calibration: HeadCalibrationReport | None
    seconds: float

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "path": str(self.path), "model": str(self.model)}


def finetune_detection(
    videos: str | Path,
    out: str | Path,
    *,
    init: str | Path,
    annotations: str | Path | None = None,
    training: HeadTraining | None = None,
    settings: DetectionSettings | None = None,
    features: str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    encoding: Progress | None = None,
    epochs: Progress | None = None,
) -> DetectionRun:
    """Train a detection head on the features of a model that stays as it is, and write its run folder.

    Videos of the split `val` choose the epoch and calibrate the scores; without any, the last epoch is taken.

    Args:
        videos: folder of the videos, named by their ids.
        out: the run's folder.
        init: model file whose encoder makes the features, pretrained or fine-tuned.
        annotations: file in the format of ActivityNet; `annotations.json` in the folder if not given.
        training: how the head is trained.
        settings: stride, number of scales, frame rate and batch size of the scan.
        features: folder to keep features in, which several runs may share; `features` in `out` if not given.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        overwrite: delete a run that is in `out`.
        encoding: called with videos whose features are there and videos in all.
        epochs: called with epochs done and epochs in all.

    Raises:
        RunFolderError: `out` holds a run already.
        CatalogError: the annotations cannot be read, no training video has a segment, or files are missing.
        ModelFileError, UnreadableVideoError, ValueError: the model, a video or a setting does not do.
    """
    started, out = time.perf_counter(), Path(out)
    training, settings = training or HeadTraining(), settings or DetectionSettings()
    splits = annotated_splits(videos, annotations, ("train", "val"))
    recogniser = load_model(init, device=device)
    recogniser.long_video_model(needs_classes=False).stride_frames(settings)  # before a run is deleted
    if (out / "metrics.jsonl").exists() and not overwrite:
        raise RunFolderError(f"{out} holds a run already; choose another --out, or pass --overwrite")
    enter_folder(out, resume=False, overwrite=overwrite)
    _write_config(out, training, settings)
    environment = describe_environment() | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "phase": "finetune",
        "task": "detection",
        "init": str(init),
        "videos": {split: len(several) for split, several in splits.items()},
    }
    write_json(out / "environment.json", environment)
    kept = _features(recogniser, splits, settings, Path(features) if features else out / "features", encoding)
    head, best_epoch = _train(recogniser, kept, training, settings, out / "metrics.jsonl", epochs)
    val_map = validation_map(head, kept["val"]) if kept["val"] else None
    head, report = calibrate_head(head, kept["val"])
    seconds = time.perf_counter() - started
    write_json(out / "environment.json", environment | {"seconds": seconds})
    model = out / MODEL_NAME
    shutil.copyfile(init, model)
    numbers = {"best_epoch": best_epoch, "val_map": val_map, "training": asdict(training), "seconds": seconds}
    save_head(model, head, provenance=environment | numbers)
    return DetectionRun(
        out, model, head.class_names, len(splits["train"]), len(splits["val"]), best_epoch, val_map, report, seconds
    )


def _features(
    recogniser: VideoRecogniser,
    splits: Mapping[str, Sequence[AnnotatedVideo]],
    settings: DetectionSettings,
    folder: Path,
    encoding: Progress | None,
) -> dict[str, list[VideoFeatures]]:
    several = [video for videos in splits.values() for video in videos]
    model = recogniser.long_video_model(needs_classes=False)
    features = iter(read_features(several, model, recogniser.encoder, settings, folder, progress=encoding))
    return {split: [next(features) for _ in videos] for split, videos in splits.items()}


def _train(
    recogniser: VideoRecogniser,
    features: Mapping[str, list[VideoFeatures]],
    training: HeadTraining,
    settings: DetectionSettings,
    metrics: Path,
    epochs: Progress | None,
) -> tuple[TrainedHead, int]:
    with metrics.open("w", encoding="utf-8") as file:

        def epoch_done(record: Mapping[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()
            if epochs:
                epochs(int(record["epoch"]), training.epochs)

        return train_head(
            features["train"],
            features["val"],
            training,
            class_names=sorted({each.label for one in features["train"] for each in one.video.segments}),
            stride_frames=recogniser.long_video_model(needs_classes=False).stride_frames(settings),
            device=recogniser.device,
            epoch_done=epoch_done,
        )


def _write_config(out: Path, training: HeadTraining, settings: DetectionSettings) -> None:
    scan = {"stride_frames": settings.stride_frames, "num_scales": settings.num_scales, "fps": settings.fps}
    (out / "config.yaml").write_text(yaml.safe_dump({"training": asdict(training), "scan": scan}, sort_keys=False))
