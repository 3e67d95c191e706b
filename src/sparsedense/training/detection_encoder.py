"""Fine-tunes an encoder for detection: what happens in each quarter of clips of long videos, background among it.

The classifier that comes of it tells background from actions, which the method `window` needs, and its encoder gives
the features that a detection head learns from. The loop is plain PyTorch, as that of the head.

Shapes: B clips, R quarters, L classes with background.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from sparsedense.config import MachineConfig
from sparsedense.data.augment import AugmentConfig, add_noise, flip_clips, jitter_colours, random_flips, to_float
from sparsedense.data.segments import AnnotatedVideo
from sparsedense.detection.calibration import idle_class
from sparsedense.models.recogniser import Recogniser
from sparsedense.training.detection_clips import ClipSampling, LabelledClips, epoch_batches
from sparsedense.training.machine import resolve_precision

BACKGROUND = "background"
_WARMUP_SHARE = 0.05  # of the steps
_MOST_GRADIENT = 5.0
_DROPOUT = 0.2


@dataclass(frozen=True)
class EncoderTraining:
    """How an encoder is fine-tuned.

    Attributes:
        epochs: how often all videos are read.
        clips_per_video: clips that are drawn of a video each time.
        batch_size: clips of a step.
        learning_rate: after the warm-up.
        weight_decay: of AdamW.
        seed: of clips, their changes and dropout.

    Raises:
        ValueError: a number that cannot be.
    """

    epochs: int = 4
    clips_per_video: int = 64
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "clips_per_video", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"learning_rate ({self.learning_rate}) must be above 0, weight_decay ({self.weight_decay}) at least 0"
            )


@torch.inference_mode()
def quarters_of(model: Recogniser) -> int:
    """How many parts of a clip the model tells apart: 4, or 1."""
    length, size = int(model.clips["length"]), int(model.clips["size"])
    was_training = model.training
    clips = torch.zeros(1, 3, length, size, size, device=next(model.parameters()).device)
    quarters = model.eval().quarter_features(clips).shape[1]
    model.train(was_training)
    return quarters


def with_background(model: Recogniser, videos: Sequence[AnnotatedVideo], *, seed: int = 0) -> Recogniser:
    """The same encoder with a classifier of the videos' actions and of background.

    What the model's own classifier knows of an action of the same name is taken over.
    """
    labels = sorted({segment.label for video in videos for segment in video.segments})
    idle = idle_class(labels)
    names = (*(name for place, name in enumerate(labels) if place != idle), BACKGROUND)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extended = model.with_classes(names, dropout=_DROPOUT)
    extended = extended.to(next(model.parameters()).device)
    if model.classifier is not None and extended.classifier is not None:
        old, new = model.classifier.linear, extended.classifier.linear
        with torch.no_grad():
            for place, name in enumerate(names):
                if name in model.class_names:
                    new.weight[place] = old.weight[model.class_names.index(name)]
                    new.bias[place] = old.bias[model.class_names.index(name)]
    return extended


def finetune_encoder(
    model: Recogniser,
    videos: Sequence[AnnotatedVideo],
    sampling: ClipSampling,
    training: EncoderTraining,
    *,
    epoch_done: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> None:
    """Train a recogniser whose last class is background, in place.

    Args:
        model: on the device where it is to be trained.
        videos: with their files.
        sampling: which clips; the number per video is that of the training.
        training: how.
        epoch_done: called with the numbers of each epoch.

    Raises:
        UnreadableVideoError: a video cannot be read, or is damaged.
    """
    assert model.classifier is not None
    device = next(model.parameters()).device
    sampling = replace(sampling, clips_per_video=training.clips_per_video)
    steps = max(1, training.epochs * math.ceil(len(videos) * training.clips_per_video / training.batch_size))
    optimiser = AdamW(_parameter_groups(model, training.weight_decay), lr=training.learning_rate)
    schedule = LambdaLR(optimiser, lambda step: _rate(step / steps))
    native = "bf16" in resolve_precision(MachineConfig(accelerator="gpu" if device.type == "cuda" else "cpu"))
    rng = np.random.default_rng((training.seed, 1))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        model.train().to(memory_format=torch.channels_last_3d)
        for epoch in range(1, training.epochs + 1):
            losses, rights = [], []
            for batch in epoch_batches(
                videos, sampling, batch_size=training.batch_size, seed=(training.seed, 2, epoch)
            ):
                clips_BCTHW = _changed(batch, sampling.augment, rng, device)
                labels_BR = batch.labels_BR.to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=native):
                    logits_BRL = model.classifier(model.quarter_features(clips_BCTHW))
                loss = F.cross_entropy(logits_BRL.float().transpose(1, 2), labels_BR, ignore_index=-1)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(model.parameters(), _MOST_GRADIENT)
                optimiser.step()
                schedule.step()
                losses.append(float(loss.detach()))
                known = labels_BR >= 0
                rights.append(float((logits_BRL.argmax(dim=-1) == labels_BR)[known].float().mean()))
            epoch_done(
                {"encoder_epoch": epoch, "loss": float(np.nanmean(losses)), "accuracy": float(np.nanmean(rights))}
            )
        model.eval().to(memory_format=torch.contiguous_format)


def _changed(batch: LabelledClips, augment: AugmentConfig, rng: np.random.Generator, device: torch.device) -> Tensor:
    generators = rng.spawn(len(batch.clips_BCTHW))
    clips_BCTHW = flip_clips(batch.clips_BCTHW.to(device), random_flips(augment.flip_probability, generators))
    changed = add_noise(jitter_colours(to_float(clips_BCTHW), augment, generators), augment, generators)
    return changed.contiguous(memory_format=torch.channels_last_3d)


def _parameter_groups(model: Recogniser, weight_decay: float) -> list[dict[str, Any]]:
    """Gains and biases are not decayed, as is usual."""
    parameters = [*model.encoder.parameters(), *(model.classifier.parameters() if model.classifier else ())]
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(progress: float) -> float:
    """Factor of the learning rate: up in a line, then down in half a cosine."""
    if progress < _WARMUP_SHARE:
        return (progress + 1e-3) / _WARMUP_SHARE
    return 0.5 * (1 + math.cos(math.pi * min((progress - _WARMUP_SHARE) / (1 - _WARMUP_SHARE), 1.0)))
