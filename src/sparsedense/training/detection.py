"""`finetune --task detection`: annotated long videos in, a run folder with a model that has a detection head out.

config.yaml  environment.json  metrics.jsonl  model.safetensors  features/
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml

from sparsedense.data.augment import AugmentConfig
from sparsedense.data.segments import AnnotatedVideo
from sparsedense.detection.calibration import Calibration
from sparsedense.detection.head_calibration import HeadCalibrationReport
from sparsedense.detection.trained_head import TrainedHead, save_head
from sparsedense.models.model_file import MODEL_NAME, read_provenance, save_calibration, save_model
from sparsedense.prediction.annotated_videos import Progress, annotated_splits
from sparsedense.prediction.detection_calibration import fit_to_scores
from sparsedense.prediction.long_videos import DetectionSettings
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.training.detection_clips import ClipSampling
from sparsedense.training.detection_encoder import EncoderTraining, finetune_encoder, quarters_of, with_background
from sparsedense.training.detection_features import VideoFeatures, classifier_logits, read_features
from sparsedense.training.detection_head import HeadTraining, calibrate_head, train_head, validation_map
from sparsedense.training.machine import describe_environment
from sparsedense.training.run_folder import RunFolderError, look_into_folder, write_json


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
    encoder_training: EncoderTraining | None = None,
    settings: DetectionSettings | None = None,
    features: str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    encoding: Progress | None = None,
    epochs: Progress | None = None,
) -> DetectionRun:
    """Train a detection head on the features of a model, and write its run folder.

    The model stays as it is, or its encoder is fine-tuned first, to tell actions and background apart in clips of the
    training videos; then the model can be used without the head, too (the method `window`). Videos of the split `val`
    choose the epoch and calibrate the scores; without any, the last epoch is taken.

    Args:
        videos: folder of the videos, named by their ids.
        out: the run's folder.
        init: model file whose encoder makes the features, pretrained or fine-tuned.
        annotations: file in the format of ActivityNet; `annotations.json` in the folder if not given.
        training: how the head is trained.
        encoder_training: how the encoder is fine-tuned before; None leaves it as it is.
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
    look_into_folder(out, resume=False, overwrite=overwrite).carry_out()
    _write_config(out, training, encoder_training, settings)
    environment = describe_environment() | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "phase": "finetune",
        "task": "detection",
        "init": str(init),
        "videos": {split: len(several) for split, several in splits.items()},
    }
    write_json(out / "environment.json", environment)
    model = out / MODEL_NAME
    records = (out / "metrics.jsonl").open("w", encoding="utf-8")
    with records:
        if encoder_training is None:
            shutil.copyfile(init, model)
        else:
            settings = _same_clips(recogniser, settings)
            _finetune_encoder(recogniser, splits["train"], encoder_training, settings, init, model, records, epochs)
            recogniser = load_model(model, device=device)
        kept = _features(recogniser, splits, settings, Path(features) if features else out / "features", encoding)
        if encoder_training is not None:
            save_calibration(model, _window_calibration(recogniser, kept["val"], settings).as_plain())
        head, best_epoch = _train(recogniser, kept, training, settings, records, epochs)
    val_map = validation_map(head, kept["val"]) if kept["val"] else None
    head, report = calibrate_head(head, kept["val"])
    seconds = time.perf_counter() - started
    write_json(out / "environment.json", environment | {"seconds": seconds})
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
    records: TextIO,
    epochs: Progress | None,
) -> tuple[TrainedHead, int]:
    return train_head(
        features["train"],
        features["val"],
        training,
        class_names=sorted({each.label for one in features["train"] for each in one.video.segments}),
        stride_frames=recogniser.long_video_model(needs_classes=False).stride_frames(settings),
        device=recogniser.device,
        epoch_done=_recorder(records, training.epochs, epochs),
    )


def _recorder(records: TextIO, total: int, epochs: Progress | None) -> Callable[[Mapping[str, Any]], None]:
    """What writes the numbers of each epoch to a file and tells of it."""

    def epoch_done(record: Mapping[str, Any]) -> None:
        records.write(json.dumps(record) + "\n")
        records.flush()
        if epochs:
            epochs(int(record.get("epoch", record.get("encoder_epoch", 0))), total)

    return epoch_done


def _same_clips(recogniser: VideoRecogniser, settings: DetectionSettings) -> DetectionSettings:
    """Settings that tell the stride and the scales, which the model will not once its calibration is gone."""
    model = recogniser.long_video_model(needs_classes=False)
    return replace(settings, stride_frames=model.stride_frames(settings), num_scales=model.num_scales(settings))


def _finetune_encoder(
    recogniser: VideoRecogniser,
    videos: Sequence[AnnotatedVideo],
    training: EncoderTraining,
    settings: DetectionSettings,
    init: str | Path,
    out: Path,
    records: TextIO,
    epochs: Progress | None,
) -> None:
    """Write the model whose encoder was fine-tuned; what it learnt from before is still told of it."""
    provenance = read_provenance(init)
    model, extended = (
        recogniser.long_video_model(needs_classes=False),
        with_background(recogniser, videos, seed=training.seed),
    )
    assert settings.stride_frames is not None
    sampling = ClipSampling(
        clips=model.clips,
        short_side=model.short_side,
        stride_frames=settings.stride_frames,
        num_scales=model.num_scales(settings),
        class_names=extended.class_names,
        num_labels=quarters_of(recogniser),
        clips_per_video=training.clips_per_video,
        augment=_augmentation(provenance),
    )
    finetune_encoder(extended, videos, sampling, training, epoch_done=_recorder(records, training.epochs, epochs))
    save_model(out, extended, provenance=provenance | {"encoder_training": asdict(training)})


def _augmentation(provenance: Mapping[str, object]) -> AugmentConfig:
    """How clips were varied in the model's own training, where that is told: it knows whether to mirror them."""
    experiment = provenance.get("experiment")
    told = experiment.get("augment") if isinstance(experiment, dict) else None
    return AugmentConfig(**told) if isinstance(told, dict) else AugmentConfig()


def _window_calibration(
    recogniser: VideoRecogniser, val: Sequence[VideoFeatures], settings: DetectionSettings
) -> Calibration:
    """A calibration of the classifier on the validation videos; without any, one that only tells the stride."""
    stride_frames = settings.stride_frames
    assert stride_frames is not None
    if not any(each.video.segments for each in val):
        return Calibration(stride_frames=stride_frames)
    logits = [classifier_logits(recogniser, each) for each in val]
    edges = [each.edges_seconds for each in val]
    videos = [each.video for each in val]
    return fit_to_scores(videos, edges, logits, recogniser.class_names, stride_frames=stride_frames).calibration


def _write_config(
    out: Path, training: HeadTraining, encoder_training: EncoderTraining | None, settings: DetectionSettings
) -> None:
    scan = {"stride_frames": settings.stride_frames, "num_scales": settings.num_scales, "fps": settings.fps}
    content: dict[str, Any] = {"training": asdict(training), "scan": scan}
    if encoder_training is not None:
        content["encoder_training"] = asdict(encoder_training)
    (out / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
