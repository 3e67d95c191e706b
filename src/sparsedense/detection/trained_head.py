"""A detection head with what is needed to use it, beside the encoder in a model file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.detection.head import DetectionHead, HeadConfig, HeadOutput
from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.models.model_file import ModelFileError, read_part, save_part

PART = "detection_head"
_CLIP_ROWS = "quarters"  # what its features are of


class HeadNetwork(Protocol):
    """What computes a head: a `DetectionHead`, or another runtime.

    Attributes:
        config: of the head.
        device: where it wants its inputs.
    """

    @property
    def config(self) -> HeadConfig: ...  # noqa: D102 - attributes, above
    @property
    def device(self) -> torch.device: ...  # noqa: D102

    def __call__(self, rows_BPKD: Tensor, presence_BPK: Tensor, valid_BP: Tensor) -> HeadOutput:
        """Answers at all points; see `DetectionHead.forward`."""

    def position_logits(self, rows_BPKD: Tensor, presence_BPK: Tensor) -> Tensor:
        """What the clips about each position say by themselves, `(B, P, L + 1)`."""


@dataclass(frozen=True)
class TrainedHead:
    """A head and the clips that it was trained on.

    Attributes:
        network: in evaluation mode.
        stride_frames: of the finest clips.
        calibration: of its scores.
    """

    network: HeadNetwork
    stride_frames: float
    calibration: HeadCalibration = field(default_factory=HeadCalibration)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The actions that it finds."""
        return self.network.config.class_names

    @torch.inference_mode()
    def probabilities(self, rows_KPD: NDArray[np.floating], presence_KP: NDArray[np.floating]) -> NDArray[np.float64]:
        """What the clips about each position say by themselves (P, L + 1), background behind the classes."""
        device = self.network.device
        rows_PKD = torch.from_numpy(np.swapaxes(rows_KPD, 0, 1)).float().to(device)
        presence_PK = torch.from_numpy(np.swapaxes(presence_KP, 0, 1)).float().to(device)
        logits_PA = self.network.position_logits(rows_PKD[None], presence_PK[None])[0]
        return np.asarray(logits_PA.softmax(dim=-1).double().cpu().numpy())


def save_head(path: Path, head: TrainedHead, *, provenance: Mapping[str, object]) -> None:
    """Put a head into a model file, in place of the one in it; the rest stays as it is.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
    """
    assert isinstance(head.network, DetectionHead), "an exported head is not saved"
    description = {
        "clip_rows": _CLIP_ROWS,
        "config": asdict(head.network.config),
        "stride_frames": head.stride_frames,
        "calibration": head.calibration.as_plain(),
        "provenance": dict(provenance),
    }
    save_part(path, PART, description, head.network.state_dict())


def read_head(path: Path | str, *, device: str | torch.device = "cpu") -> TrainedHead | None:
    """The head in a model file; None where there is none.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense, or its head cannot be used.
    """
    part = read_part(path, PART)
    if part is None:
        return None
    if part.description.get("clip_rows") != _CLIP_ROWS:
        raise ModelFileError(
            f"{path}: its detection head was trained by an older version, on features of whole clips; train it again "
            "with `finetune --task detection`"
        )
    try:
        config: dict[str, Any] = dict(part.description["config"])
        network = DetectionHead(HeadConfig(**{**config, "class_names": tuple(config["class_names"])}))
        network.load_state_dict(part.weights)
        calibration = HeadCalibration(**part.description["calibration"])
        stride_frames = float(part.description["stride_frames"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path}: its detection head cannot be used ({error}); train it again with `finetune --task detection`"
        ) from error
    return TrainedHead(network.to(device).eval(), stride_frames, calibration)


def save_head_calibration(path: Path | str, calibration: HeadCalibration) -> None:
    """Put another calibration into the head of a model file; the rest stays as it is.

    Raises:
        ModelFileError: the file is missing, was not written by sparsedense, or has no head.
    """
    part = read_part(path, PART)
    if part is None:
        raise ModelFileError(f"{path} has no detection head; train one with `finetune --task detection`")
    save_part(path, PART, part.description | {"calibration": calibration.as_plain()}, part.weights)
