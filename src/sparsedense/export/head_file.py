"""A detection head in a file of its own beside the exported model: `model.onnx` and `model.head.onnx`.

    inputs   rows (1, P, K, D): features of quarters of clips at K scales, interpolated at P positions
             presence (1, P, K): how far each scale is known there; valid (1, P): 1, or 0 for padding
    outputs  class_logits (1, M, L), distances (1, M, 2), valid_points (1, M), position_logits (1, P, L + 1)

P is any multiple of the coarsest stride of the head, from twice it on. The outputs are those of
`sparsedense.detection.head`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsedense.detection.head import DetectionHead, HeadConfig, HeadOutput, padded
from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.detection.trained_head import TrainedHead
from sparsedense.export.errors import ExportFileError
from sparsedense.export.runtimes import Runtime

HEAD_KEY = "sparsedense_detection_head"
INPUTS = ("rows", "presence", "valid")
OUTPUTS = ("class_logits", "distances", "valid_points", "position_logits")
_LEAST_BLOCKS = 2  # of the coarsest stride; torch.export takes 1 for a size that cannot change
_TRACED_BLOCKS = 3


def head_path(model: Path) -> Path:
    """Where the head of an exported model lies: `model.head.onnx` beside `model.onnx`."""
    return model.with_name(f"{model.stem}.head{model.suffix}")


def head_metadata(head: TrainedHead) -> dict[str, str]:
    """What the file says of the head."""
    content = {
        "config": asdict(_network(head).config),
        "stride_frames": head.stride_frames,
        "calibration": head.calibration.as_plain(),
    }
    return {HEAD_KEY: json.dumps(content)}


def traced_head(head: TrainedHead) -> torch.export.ExportedProgram:
    """A head as a program whose number of positions is free."""
    network = _network(head)
    stride = network.config.coarsest_stride
    rows, presence, valid = _noise(network.config, _TRACED_BLOCKS * stride)
    length = stride * torch.export.Dim("blocks", min=_LEAST_BLOCKS)
    shapes = {name: {1: length} for name in INPUTS}
    with torch.no_grad():
        return torch.export.export(
            _Outputs(network).eval(), (rows, presence, valid), dynamic_shapes=shapes, strict=False
        )


@torch.inference_mode()
def head_difference(head: TrainedHead, other: TrainedHead) -> float:
    """Largest difference of what two heads say of noise, of short and of longer stretches."""
    config, largest = _network(head).config, 0.0
    for blocks in (1, 4):
        rows, presence, valid = _noise(config, blocks * config.coarsest_stride)
        pairs = zip(head.network(rows, presence, valid > 0), other.network(rows, presence, valid > 0), strict=True)
        largest = max(largest, *(float((one.float() - another.float()).abs().max()) for one, another in pairs))
    return largest


@dataclass(frozen=True)
class RuntimeHead:
    """A detection head that another runtime computes; it says what a `DetectionHead` says.

    Attributes:
        config: of the head.
        runtime: computes it.
    """

    config: HeadConfig
    runtime: Runtime

    @property
    def device(self) -> torch.device:
        """Where it wants its inputs."""
        return self.runtime.device

    def __call__(self, rows_BPKD: Tensor, presence_BPK: Tensor, valid_BP: Tensor) -> HeadOutput:
        """Answers at all points, one video at a time."""
        count, least = rows_BPKD.shape[1], _LEAST_BLOCKS * self.config.coarsest_stride
        given: tuple[Tensor, ...] = (rows_BPKD, presence_BPK, valid_BP.float())
        if count < least:
            given = tuple(_lengthened(each, least) for each in given)
        inputs = dict(zip(INPUTS, given, strict=True))
        classes, distances, valid, positions = self.runtime.outputs(inputs, OUTPUTS)
        if count < least:
            kept = _points_before(count, given[0].shape[1], self.config.num_levels)
            classes, distances, valid = classes[:, kept], distances[:, kept], valid[:, kept]
        return HeadOutput(classes, distances, valid > 0, positions[:, :count])

    def position_logits(self, rows_BPKD: Tensor, presence_BPK: Tensor) -> Tensor:
        """What the clips about each position say by themselves, `(B, P, L + 1)`."""
        count, stride = rows_BPKD.shape[1], self.config.coarsest_stride
        rows, presence = (padded(each[0].cpu().numpy(), stride)[None] for each in (rows_BPKD, presence_BPK))
        valid = (np.arange(rows.shape[1]) < count)[None]
        tensors = (torch.from_numpy(each).to(self.device) for each in (rows, presence, valid))
        return self(*tensors).position_logits_BPA[:, :count]


def opened_head(runtime: Runtime, path: Path) -> TrainedHead:
    """The head that a runtime has opened.

    Raises:
        ExportFileError: the file is no head, or what it says of itself is damaged.
    """
    if HEAD_KEY not in runtime.metadata:
        raise ExportFileError(f"{path}: no detection head of `sparsedense export`; export the model again")
    try:
        plain: Mapping[str, Any] = json.loads(runtime.metadata[HEAD_KEY])
        config = HeadConfig(**{**plain["config"], "class_names": tuple(plain["config"]["class_names"])})
        calibration = HeadCalibration(**plain["calibration"])
        return TrainedHead(RuntimeHead(config, runtime), float(plain["stride_frames"]), calibration)
    except (KeyError, TypeError, ValueError) as error:
        raise ExportFileError(f"{path}: its metadata are damaged ({error}); export the model again") from error


def _lengthened(positions: Tensor, count: int) -> Tensor:
    """Zeros behind the positions, which the head is told are padding."""
    return torch.cat([positions, positions.new_zeros(1, count - positions.shape[1], *positions.shape[2:])], dim=1)


def _points_before(count: int, num_positions: int, num_levels: int) -> Tensor:
    """Which of the points of so many positions are those of the first `count`."""
    return torch.cat([torch.arange(num_positions >> level) < (count >> level) for level in range(num_levels)])


class _Outputs(nn.Module):
    """A head whose inputs and outputs are plain tensors with names."""

    def __init__(self, network: DetectionHead) -> None:
        super().__init__()
        self._network = network

    def forward(self, rows: Tensor, presence: Tensor, valid: Tensor) -> dict[str, Tensor]:
        output = self._network(rows, presence, valid > 0)
        return dict(
            zip(
                OUTPUTS,
                (
                    output.class_logits_BML,
                    output.distances_BM2,
                    output.valid_BM.float(),
                    output.position_logits_BPA,
                ),
                strict=True,
            )
        )


def _noise(config: HeadConfig, num_positions: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_positions)
    rows = torch.randn(1, num_positions, config.num_scales, config.feature_dim, generator=generator)
    presence = torch.rand(1, num_positions, config.num_scales, generator=generator)
    return rows, presence, torch.ones(1, num_positions)


def _network(head: TrainedHead) -> DetectionHead:
    assert isinstance(head.network, DetectionHead), "what was exported is not exported again"
    return head.network
