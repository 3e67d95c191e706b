"""Writes a model as one file for other programs: ONNX, or a program of torch.export.

    input    clips (B, 3, T, S, S), float32 in [0, 1]; any number B of clips, T and S as trained
    outputs  logits (B, L), where the model has classes, and features (B, D)

What is written is opened again, computed and compared with the model before it gets its name.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.export.description import (
    FEATURES_NAME,
    INPUT_NAME,
    LOGITS_NAME,
    QUARTER_FEATURES_NAME,
    QUARTER_LOGITS_NAME,
    ModelDescription,
    describe,
)
from sparsedense.export.errors import ExportError
from sparsedense.export.exported_model import load_exported, load_head
from sparsedense.export.head_file import INPUTS as HEAD_INPUTS
from sparsedense.export.head_file import OUTPUTS as HEAD_OUTPUTS
from sparsedense.export.head_file import head_difference, head_metadata, head_path, traced_head
from sparsedense.export.runtimes import METADATA_FILE
from sparsedense.models.encoder import pool, quarter_features
from sparsedense.models.model_file import read_provenance
from sparsedense.models.recogniser import Recogniser
from sparsedense.prediction.video_model import VideoModel
from sparsedense.prediction.video_recogniser import load_model

FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
MOST_DIFFERENCE = 1e-4  # of a logit or feature between the model and the file
_BATCH_SIZES = (1, 3)
_TRACED_BATCH = 2  # torch.export takes 1 for a size that cannot change


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: the file.
        format: `onnx` or `torch-export`.
        size_bytes: its size.
        difference: largest difference of a logit, feature or distance between the model and the file, over noise.
        head: the file of the detection head; None where the model has none.
    """

    path: Path
    format: str
    size_bytes: int
    difference: float
    head: Path | None = None


def export_model(model: str | Path, out: str | Path, *, export_format: str = "onnx") -> ExportReport:
    """Write a model for other programs, completely or not at all; a detection head goes into a file beside it.

    Args:
        model: a model file.
        out: file to write, ending with .onnx or .pt2 as its format wants.
        export_format: `onnx` or `torch-export`.

    Raises:
        ModelFileError: the model file is missing, no model, or inconsistent.
        ExportError: the format or the ending is not known, what is needed is not installed, or what was written does
            not compute what the model computes.
    """
    out = Path(out)
    if export_format not in FORMATS:
        raise ExportError(f"format {export_format!r} is not known; use {' or '.join(FORMATS)}")
    if out.suffix.lower() != FORMATS[export_format]:
        raise ExportError(f"{out}: the format {export_format!r} is written as *{FORMATS[export_format]}")
    if export_format == "onnx" and (
        missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]
    ):
        raise ExportError(f"{', '.join(missing)}: needed and not installed; pip install 'sparsedense[onnx]'")
    recogniser = load_model(model, device="cpu", precision="float32")  # the file is compared with it
    if recogniser.calibration_problem is not None:
        raise ExportError(f"{model}: {recogniser.calibration_problem}; run `sparsedense calibrate` again before")
    description = describe(recogniser, read_provenance(model))
    beside = head_path(out)
    beside.unlink(missing_ok=True)  # a head of a model that was here before
    with _quiet():
        program = _traced(recogniser, description)
    write = partial(_write, program, description.as_metadata(), (INPUT_NAME,), description.output_names)
    difference = _checked(
        out, model, write, lambda file: largest_difference(recogniser, load_exported(file, device="cpu"), description)
    )
    head = recogniser.head
    if head is None:
        return ExportReport(out, export_format, out.stat().st_size, difference)
    with _quiet():
        program = traced_head(head)
    write = partial(_write, program, head_metadata(head), HEAD_INPUTS, HEAD_OUTPUTS)
    of_head = _checked(beside, model, write, lambda file: head_difference(head, load_head(file, device="cpu")))
    return ExportReport(out, export_format, out.stat().st_size, max(difference, of_head), beside)


@torch.inference_mode()
def largest_difference(model: VideoModel, other: VideoModel, description: ModelDescription) -> float:
    """Largest absolute difference of a logit or feature between two models, over batches of 1 and 3 clips of noise."""
    largest = 0.0
    for batch_size in _BATCH_SIZES:
        clips_BCTHW = _noise(batch_size, description)
        outputs = ["features", "quarter_features"]
        if description.class_names:
            outputs += ["logits", "quarter_logits"]
        pairs = [(getattr(model, name)(clips_BCTHW), getattr(other, name)(clips_BCTHW)) for name in outputs]
        differences = torch.stack([(one - another).abs().max() for one, another in pairs])
        largest = float(torch.maximum(differences.max(), torch.tensor(largest)))  # which keeps NaN
    return largest


def _noise(batch_size: int, description: ModelDescription) -> Tensor:
    """Clips (B, 3, T, S, S) of fine and of coarse noise in turn, always the same ones."""
    clips = description.clip_config
    shape, generator = (clips.length, clips.size, clips.size), torch.Generator().manual_seed(batch_size)
    coarse = torch.rand(batch_size, 3, 4, 4, 4, generator=generator)
    noise_BCTHW = F.interpolate(coarse, size=shape, mode="trilinear")
    noise_BCTHW[1::2] = torch.rand(noise_BCTHW[1::2].shape, generator=generator)
    return noise_BCTHW


class _Outputs(nn.Module):
    """A recogniser that gives logits and features together."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self._recogniser = recogniser

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Outputs by name, for float clips (B, 3, T, S, S)."""
        map_BCKHW = self._recogniser.encoder(clips)
        features_BD, quarters_BRD = pool(map_BCKHW), quarter_features(map_BCKHW, clips.shape[2])
        outputs = {FEATURES_NAME: features_BD, QUARTER_FEATURES_NAME: quarters_BRD}
        classifier = self._recogniser.classifier
        if classifier is None:
            return outputs
        return {LOGITS_NAME: classifier(features_BD), QUARTER_LOGITS_NAME: classifier(quarters_BRD), **outputs}


def _traced(recogniser: Recogniser, description: ModelDescription) -> torch.export.ExportedProgram:
    example = _noise(_TRACED_BATCH, description)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(
            _Outputs(recogniser).eval(), (example,), dynamic_shapes={"clips": {0: batch}}, strict=False
        )


def _checked(
    out: Path,
    model: str | Path,
    write: Callable[[Path], None],
    difference_to: Callable[[Path], float],
) -> float:
    """Write a file, compare what it computes with the model, and then give it its name.

    Raises:
        ExportError: it does not compute what the model computes.
    """
    with complete_file(out) as partial_file:
        # Runtimes go by the ending.
        temporary = partial_file.with_name(f"{partial_file.name}{out.suffix.lower()}")
        try:
            with _quiet():
                write(temporary)
            difference = difference_to(temporary)
            if not difference <= MOST_DIFFERENCE:  # so that NaN is refused
                raise ExportError(
                    f"{out} was not written: it differs from {model} by {difference:.2g}, where "
                    f"{MOST_DIFFERENCE:g} is allowed; another version of PyTorch or of the runtime may do"
                )
            temporary.replace(partial_file)
        finally:
            temporary.unlink(missing_ok=True)
    return difference


def _write(
    program: torch.export.ExportedProgram,
    metadata: Mapping[str, str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Write a program in the format that the file's ending tells."""
    if path.suffix.lower() == FORMATS["torch-export"]:
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(metadata)})
        return
    onnx = import_module("onnx")
    converted = torch.onnx.export(
        program, input_names=list(inputs), output_names=list(outputs), dynamo=True, verbose=False
    )
    assert converted is not None
    proto = converted.model_proto
    for name, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value
    proto.producer_name = "sparsedense"
    onnx.save_model(proto, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings and notes to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
