"""An exported file as a model that takes videos; it needs nothing but the file.

model = sparsedense.load_exported("model.onnx")
model.predict("clip.mp4").label
"""

from pathlib import Path

import torch
from torch import Tensor

from sparsedense.detection.trained_head import TrainedHead
from sparsedense.export.description import (
    FEATURES_NAME,
    INPUT_NAME,
    LOGITS_NAME,
    QUARTER_FEATURES_NAME,
    QUARTER_LOGITS_NAME,
    ModelDescription,
    description_of,
)
from sparsedense.export.errors import ExportFileError
from sparsedense.export.head_file import head_path, opened_head
from sparsedense.export.runtimes import RUNTIMES, RUNTIMES_BY_ENDING, Runtime
from sparsedense.prediction.video_model import VideoModel
from sparsedense.prediction.video_recogniser import load_model

PYTORCH = "torch"
ALL_RUNTIMES = (PYTORCH, *RUNTIMES)


class ExportedModel(VideoModel):
    """A model that another runtime computes.

    Args:
        runtime: computes the outputs.
        description: what the file says about the model.
        name: what errors call the model.
        head: the learned head that `detect` uses; None where there is none.
    """

    def __init__(
        self, runtime: Runtime, description: ModelDescription, *, name: str, head: TrainedHead | None = None
    ) -> None:
        self._runtime, self.description, self.name = runtime, description, name
        self.class_names = description.class_names
        self.clips = description.clips
        self.short_side = description.short_side
        self.calibration = description.read_calibration()
        self.training_stride_frames = description.training_stride_frames
        self.head = head

    @property
    def device(self) -> torch.device:
        """Where the runtime wants its clips."""
        return self._runtime.device

    @property
    def feature_dim(self) -> int:
        """Numbers D of a feature vector."""
        return self.description.feature_dim

    def logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits (B, L) of float clips (B, 3, T, S, S) in [0, 1]."""
        return self._output(clips_BCTHW, LOGITS_NAME)

    def features(self, clips_BCTHW: Tensor) -> Tensor:
        """Pooled features (B, D) of float clips (B, 3, T, S, S) in [0, 1]."""
        return self._output(clips_BCTHW, FEATURES_NAME)

    def quarter_logits(self, clips_BCTHW: Tensor) -> Tensor:
        """Logits of each quarter of a clip (B, 4, L), or (B, 1, L) where the network's map has no quarters."""
        return self._output(clips_BCTHW, QUARTER_LOGITS_NAME)

    def quarter_features(self, clips_BCTHW: Tensor) -> Tensor:
        """Features of each quarter of a clip (B, 4, D), or (B, 1, D) where the network's map has no quarters."""
        return self._output(clips_BCTHW, QUARTER_FEATURES_NAME)

    def _output(self, clips_BCTHW: Tensor, name: str) -> Tensor:
        return self._runtime.outputs({INPUT_NAME: clips_BCTHW}, [name])[0]


def load_exported(
    path: str | Path, *, runtime: str = "auto", device: str = "auto", num_threads: int | None = None
) -> ExportedModel:
    """Open a file that `export_model` wrote.

    Args:
        path: .onnx or .pt2 file; a detection head beside it, `model.head.onnx`, is opened, too.
        runtime: `onnx` (ONNX Runtime) or `openvino` for .onnx, `torch-export` for .pt2; `auto` takes the first of these
            by the ending.
        device: `cpu`, `cuda`, or `auto` for the GPU where the runtime can use one.
        num_threads: cores to compute on; None takes as many as PyTorch does.

    Raises:
        ExportFileError: the file is missing, foreign or damaged, its ending is not known or not the runtime's, or the
            runtime is not installed.
    """
    path = Path(path)
    opened, beside = _opened(path, runtime, device, num_threads), head_path(path)
    head = load_head(beside, runtime=runtime, device=device, num_threads=num_threads) if beside.is_file() else None
    return ExportedModel(opened, description_of(opened.metadata, path), name=str(path), head=head)


def load_head(
    path: Path, *, runtime: str = "auto", device: str = "auto", num_threads: int | None = None
) -> TrainedHead:
    """Open the file of a detection head that `export_model` wrote; as `load_exported`, which does it by itself."""
    return opened_head(_opened(path, runtime, device, num_threads), path)


def _opened(path: Path, runtime: str, device: str, num_threads: int | None) -> Runtime:
    fitting = RUNTIMES_BY_ENDING.get(path.suffix.lower(), ())
    if not fitting:
        raise ExportFileError(
            f"{path}: exported models end with {' or '.join(RUNTIMES_BY_ENDING)}; write one with `sparsedense export`"
        )
    chosen = fitting[0] if runtime == "auto" else runtime
    if chosen not in fitting:
        raise ExportFileError(f"{path}: the runtime {chosen!r} does not read {path.suffix}; use {' or '.join(fitting)}")
    return RUNTIMES[chosen](path, device, torch.get_num_threads() if num_threads is None else num_threads)


def open_model(path: str | Path, *, runtime: str = "auto", device: str = "auto", precision: str = "auto") -> VideoModel:
    """Open a model file or an exported file, by its ending.

    Args:
        path: `.safetensors` of a run, or what `export_model` wrote.
        runtime: `torch` for a model file; others as in `load_exported`; `auto` decides by the ending.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        precision: of a model file's answers, as in `load_model`; exported files compute in float32.

    Raises:
        ExportFileError: as in `load_exported`; the runtime does not read model files.
        ModelFileError: the model file is missing, no model, or inconsistent.
        ValueError: the runtime or the precision is not known, or is not one of exported files.
    """
    if runtime not in ("auto", *ALL_RUNTIMES):
        raise ValueError(f"runtime {runtime!r} is not known; use auto, {', '.join(ALL_RUNTIMES)}")
    if Path(path).suffix.lower() in RUNTIMES_BY_ENDING:
        if precision not in ("auto", "float32"):
            raise ValueError(f"{path}: exported files compute in float32; leave out precision {precision!r}")
        return load_exported(path, runtime=runtime, device=device)
    if runtime not in ("auto", PYTORCH):
        export_format = "torch-export" if runtime == "torch-export" else "onnx"
        raise ExportFileError(
            f"{path}: the runtime {runtime!r} reads exported files; write one with "
            f"`sparsedense export {path} --format {export_format}`"
        )
    return load_model(path, device=device, precision=precision)
