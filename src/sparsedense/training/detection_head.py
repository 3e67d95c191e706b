"""Trains a detection head on features of annotated videos: AdamW, a warm-up and a cosine, averaged weights.

The loop is plain PyTorch, because the features are there already and an epoch takes seconds.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.average_precision import detection_score
from sparsedense.detection.head import DetectionHead, HeadConfig, levels_for
from sparsedense.detection.head_calibration import HeadCalibrationReport, NothingRightError, fit_head_calibration
from sparsedense.detection.head_losses import HeadTargetBatch, head_loss
from sparsedense.detection.head_stream import raw_segments
from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.trained_head import TrainedHead
from sparsedense.training.detection_features import VideoFeatures, feature_statistics
from sparsedense.training.detection_windows import TrainingWindows, WindowBatch

_AVERAGE_DECAY = 0.98  # of the averaged weights, per step; so fast because such a training has few steps
_POSITIVES_DECAY = 0.9  # of the running mean of points with a segment to find
_MOST_GRADIENT = 1.0
_LEAST_SCORE = 0.01


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained.

    Attributes:
        epochs: how often all videos are seen.
        batch_size: windows that go through the head at a time.
        learning_rate: after the warm-up.
        weight_decay: of AdamW.
        warmup_epochs: in which the learning rate rises from 0.
        window_positions: positions of the longest window.
        channels: width of the head.
        dropout: in its blocks.
        validate_every: epochs between two validations.
        seed: of weights, windows and dropout.

    Raises:
        ValueError: a number that cannot be.
    """

    epochs: int = 60
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 5
    window_positions: int = 1024
    channels: int = 96
    dropout: float = 0.1
    validate_every: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "window_positions": self.window_positions,
            "validate_every": self.validate_every,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0:
            raise ValueError(
                f"learning_rate ({self.learning_rate}) must be above 0, weight_decay ({self.weight_decay}) and "
                f"warmup_epochs ({self.warmup_epochs}) at least 0"
            )


EpochDone = Callable[[Mapping[str, Any]], None]


def train_head(
    train: Sequence[VideoFeatures],
    val: Sequence[VideoFeatures],
    settings: HeadTraining,
    *,
    class_names: Sequence[str],
    stride_frames: float,
    device: torch.device,
    epoch_done: EpochDone = lambda record: None,
) -> tuple[TrainedHead, int]:
    """Train a head; with validation videos, its weights are those of the best validation, else the last ones.

    Args:
        train: features of the training videos, with their segments.
        val: of others, to choose by.
        settings: how.
        class_names: of all training segments.
        stride_frames: of the finest clips of the features, to be kept with the head.
        device: where to compute.
        epoch_done: called with the numbers of each epoch.

    Returns:
        the head, not yet calibrated; the number of epochs after which it was as it is.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        network = DetectionHead(_config(train, settings, class_names))
        network.fit_normalisation(*feature_statistics(train))
        network.to(device)
        trainer = _Trainer(network, train, settings)
        kept, best_epoch, best_map = trainer.averaged_network(), settings.epochs, -1.0
        for epoch in range(1, settings.epochs + 1):
            record: dict[str, Any] = {"epoch": epoch, **trainer.run_epoch()}
            is_last = epoch == settings.epochs
            if is_last or (val and epoch % settings.validate_every == 0):
                candidate = trainer.averaged_network()
                score = validation_map(TrainedHead(candidate, stride_frames), val) if val else None
                if score is not None:
                    record["val_map"] = score
                if score is None or score > best_map:
                    kept, best_epoch, best_map = candidate, epoch, score or 0.0
            epoch_done(record)
    return TrainedHead(kept, stride_frames), best_epoch


def validation_map(head: TrainedHead, val: Sequence[VideoFeatures]) -> float | None:
    """Mean over tIoU 0.3-0.7 of the mean average precision on videos; None where they have no segment."""
    truth = _truth(val)
    if not any(truth.values()):
        return None
    return detection_score(truth, detections_of(head, val)).average()


def calibrate_head(head: TrainedHead, val: Sequence[VideoFeatures]) -> tuple[TrainedHead, HeadCalibrationReport | None]:
    """A head whose scores are fitted to how often it is right on videos; as it was where it never is."""
    try:
        report = fit_head_calibration(_truth(val), detections_of(head, val))
    except NothingRightError:
        return head, None
    return replace(head, calibration=report.calibration), report


def detections_of(head: TrainedHead, videos: Sequence[VideoFeatures]) -> dict[str, list[DetectedSegment]]:
    """What a head finds in videos with all clips computed, with its own scores, however low."""
    detections = {}
    for each in videos:
        part = each.part(0, len(each))
        presence_PK = np.ones_like(part.skim_presence_PK)
        detections[each.video.video_id] = raw_segments(
            head, part.full_PKD, presence_PK, each.edges_seconds, min_score=_LEAST_SCORE
        )
    return detections


def _truth(videos: Sequence[VideoFeatures]) -> dict[str, tuple[SegmentAnnotation, ...]]:
    return {each.video.video_id: each.video.segments for each in videos}


def _config(train: Sequence[VideoFeatures], settings: HeadTraining, class_names: Sequence[str]) -> HeadConfig:
    num_scales, feature_dim = train[0].shape_KD
    longest = max((float(np.diff(each.segments_in_positions()).max(initial=1.0)) for each in train), default=1.0)
    return HeadConfig(
        class_names=tuple(class_names),
        feature_dim=feature_dim,
        num_scales=num_scales,
        channels=settings.channels,
        num_levels=levels_for(longest),
        dropout=settings.dropout,
    )


class _Trainer:
    """A head with its optimiser, schedule and averaged weights."""

    def __init__(self, network: DetectionHead, train: Sequence[VideoFeatures], settings: HeadTraining) -> None:
        self._network, self._settings = network, settings
        self._windows = TrainingWindows(train, network.config, window_positions=settings.window_positions)
        self._rng = np.random.default_rng(settings.seed)
        self._average = copy.deepcopy(network).requires_grad_(False)
        self._steps = 0
        # Gains and biases are not decayed, as is usual.
        decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = AdamW(groups, lr=settings.learning_rate)
        steps_per_epoch = math.ceil(self._windows.per_epoch / settings.batch_size)
        self._schedule = LambdaLR(self._optimiser, lambda step: _rate(step / steps_per_epoch, settings))
        self._positives: float | None = None

    def averaged_network(self) -> DetectionHead:
        """A copy of the averaged weights, to be used."""
        return copy.deepcopy(self._average).eval()

    def run_epoch(self) -> dict[str, float]:
        """See all videos once; returns the mean of each term of the loss."""
        self._network.train()
        terms = [self._step(batch) for batch in self._windows.epoch(self._rng, batch_size=self._settings.batch_size)]
        names = ("loss_classes", "loss_distances", "loss_positions")
        means = np.mean(terms, axis=0)
        learning_rate = float(self._schedule.get_last_lr()[0])
        return {**dict(zip(names, means.tolist(), strict=True)), "learning_rate": learning_rate}

    def _step(self, batch: WindowBatch) -> tuple[float, ...]:
        device = self._network.device
        targets = HeadTargetBatch(*(each.to(device) for each in vars(batch.targets).values()))
        count = max(1.0, float(targets.positive_BM.sum()))
        before = count if self._positives is None else self._positives
        self._positives = _POSITIVES_DECAY * before + (1 - _POSITIVES_DECAY) * count
        output = self._network(batch.rows_BPKD.to(device), batch.presence_BPK.to(device), batch.valid_BP.to(device))
        loss = head_loss(output, targets, num_positive=self._positives)
        self._optimiser.zero_grad()
        torch.autograd.backward(loss.total)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _MOST_GRADIENT)
        self._optimiser.step()
        self._schedule.step()
        self._update_average()
        return tuple(float(term.detach()) for term in (loss.classes, loss.distances, loss.positions))

    @torch.no_grad()
    def _update_average(self) -> None:
        self._steps += 1
        # At first the mean of all steps, so that the random weights at the start do not linger.
        share = max(1 - _AVERAGE_DECAY, 1 / self._steps)
        for average, current in zip(self._average.parameters(), self._network.parameters(), strict=True):
            average.lerp_(current, share)


def _rate(epoch: float, settings: HeadTraining) -> float:
    """Factor of the learning rate: up in a line, then down in half a cosine."""
    if epoch < settings.warmup_epochs:
        return (epoch + 1e-3) / settings.warmup_epochs
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
