"""The object that `sparsedense.load_model` gives: a recogniser that takes videos."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.calibration import Calibration, calibration_of
from sparsedense.detection.trained_head import TrainedHead, read_head
from sparsedense.models import model_file
from sparsedense.models.devices import resolve_device
from sparsedense.models.encoder import pool, quarter_features
from sparsedense.models.fast_encoder import FastEncoder
from sparsedense.models.recogniser import Recogniser
from sparsedense.prediction.video_model import VideoModel

_UNKNOWN_SHORT_SIDE = 128  # the default of `prepare`, for models that do not say what store they learnt from


class VideoRecogniser(Recogniser, VideoModel):
    """A recogniser that reads videos itself.

    Args:
        recogniser: its parts are taken over, not copied.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped: that of the store
            that the model learnt from.
        name: what errors call the model.
        calibration: how scores become probabilities in `detect`; without one, they are softmax's.
        calibration_problem: why that does not fit the model; None where it does.
        training_stride_frames: stride of the clips that it was trained on, where that is known.
        head: the learned head that `detect` uses; None where there is none.
        precision: of the encoder where it answers: `auto`, `float32` or `bfloat16`, as in `models.precision`. Training
            and gradients go through the network as it is.

    Raises:
        ValueError: the precision is none of these.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        short_side: int,
        name: str = "this model",
        calibration: Calibration | None = None,
        calibration_problem: str | None = None,
        training_stride_frames: float | None = None,
        head: TrainedHead | None = None,
        precision: str = "auto",
    ) -> None:
        super().__init__(
            recogniser.encoder,
            classifier=recogniser.classifier,
            speed_head=recogniser.speed_head,
            class_names=recogniser.class_names,
            clips=recogniser.clips,
        )
        self.train(recogniser.training)
        self.short_side, self.name = short_side, name
        self.calibration, self.calibration_problem = calibration or Calibration(), calibration_problem
        self.training_stride_frames = training_stride_frames
        self.head = head
        self._fast_encoder = FastEncoder(precision)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def feature_dim(self) -> int:
        """Numbers D of a feature vector."""
        return self.encoder.feature_dim

    def logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits (B, L) of float clips (B, 3, T, S, S) in [0, 1]."""
        logits: Tensor = self(clips_BCTHW)
        return logits

    def features(self, clips_BCTHW: Tensor) -> Tensor:
        """Pooled features (B, D) of float clips (B, 3, T, S, S) in [0, 1]."""
        return pool(self._map(clips_BCTHW))

    def quarter_features(self, clips_BCTHW: Tensor) -> Tensor:
        """Features of each quarter of a clip (B, 4, D), or (B, 1, D) where the network's map has no quarters."""
        return quarter_features(self._map(clips_BCTHW), clips_BCTHW.shape[2])

    def quarter_logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits of each quarter of a clip (B, 4, L), or (B, 1, L) where the network's map has no quarters."""
        self.check_classes()
        assert self.classifier is not None
        logits: Tensor = self.classifier(self.quarter_features(clips_BCTHW))
        return logits

    def _map(self, clips_BCTHW: Tensor) -> Tensor:
        """The encoder's map, the fast way in evaluation without gradients."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            map_BCKHW: Tensor = self.encoder(clips_BCTHW)
            return map_BCKHW
        return self._fast_encoder(self.encoder, clips_BCTHW)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A block in which the model is in evaluation mode; afterwards it is as before."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)


def load_model(
    path: str | Path, *, device: str = "auto", short_side: int | None = None, precision: str = "auto"
) -> VideoRecogniser:
    """Read a model file; nothing else is needed to predict.

    Args:
        path: `model.safetensors` of a run.
        device: where to compute, `cpu` or `cuda`; `auto` takes the GPU where there is one.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped; that of the store
            that the model learnt from if not given, or 128 where the model file does not tell it.
        precision: of its answers, `float32` or `bfloat16`; `auto` takes the one that the device is faster in.

    Raises:
        ModelFileError: the file is missing, no model, or inconsistent.
        ValueError: the precision is none of these, or this machine has no such device.
    """
    found = resolve_device(device)
    recogniser = model_file.load_model(path, device=found)
    store = model_file.read_provenance(path).get("store")
    learnt_from: dict[str, Any] = store if isinstance(store, dict) else {}
    if short_side is None:
        recorded = learnt_from.get("short_side")
        short_side = recorded if isinstance(recorded, int) else _UNKNOWN_SHORT_SIDE
    return VideoRecogniser(
        recogniser,
        short_side=short_side,
        name=str(path),
        calibration=_calibration(path),
        calibration_problem=model_file.calibration_problem(path),
        training_stride_frames=_training_stride_frames(recogniser, learnt_from.get("median_frames")),
        head=read_head(path, device=found),
        precision=precision,
    )


def _calibration(path: str | Path) -> Calibration | None:
    plain = model_file.read_calibration(path)
    try:
        return None if plain is None else calibration_of(plain)
    except (AttributeError, TypeError, ValueError) as error:
        raise model_file.ModelFileError(
            f"{path}: its calibration cannot be used ({error}); run `sparsedense calibrate` again"
        ) from error


def _training_stride_frames(recogniser: Recogniser, median_frames: object) -> float | None:
    """Stride of the clips that a model was trained on: that of evaluation, or that of a video of the median length."""
    clips = ClipConfig(**recogniser.clips)  # type: ignore[arg-type]
    if clips.evaluation_stride_frames is not None:
        return clips.evaluation_stride_frames
    if not isinstance(median_frames, int | float):
        return None
    return median_frames / (clips.length * clips.skip_ratio)
