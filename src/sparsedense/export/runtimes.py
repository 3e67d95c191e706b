"""What computes an exported file: ONNX Runtime, OpenVINO or PyTorch. Each takes tensors and gives some."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from sparsedense.export.errors import ExportFileError
from sparsedense.models.devices import resolve_device

METADATA_FILE = "sparsedense.json"  # in a .pt2 file, the metadata that an .onnx file has in their own place


class Runtime(Protocol):
    """Computes the outputs of a model.

    Attributes:
        metadata: strings by name, as they stand in the file.
        device: where it wants its clips.
    """

    metadata: dict[str, str]
    device: torch.device

    def outputs(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
        """Some outputs, by their names, of inputs by theirs."""


class OnnxRuntime:
    """An .onnx file in ONNX Runtime; CUDA needs its package `onnxruntime-gpu`.

    Args:
        path: the file.
        device: `cpu`, `cuda`, or `auto` for the GPU where it can.
        num_threads: cores to compute on.

    Raises:
        ExportFileError: it cannot be read, or the device or ONNX Runtime is not there.
    """

    def __init__(self, path: Path, device: str, num_threads: int) -> None:
        _check_device(device, ("cpu", "cuda", "auto"), "ONNX Runtime")
        onnxruntime = _imported("onnxruntime", "onnx")
        there, cuda = onnxruntime.get_available_providers(), "CUDAExecutionProvider"
        if device == "cuda" and cuda not in there:
            raise ExportFileError(
                "ONNX Runtime is installed without CUDA; install onnxruntime-gpu, or use --device cpu"
            )
        providers = [cuda] if device != "cpu" and cuda in there else []
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors: its warnings go past Python onto the screen
        # Its errors have no class in common.
        kinds = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
        errors = tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
        self._session = _opened(
            path,
            lambda: onnxruntime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"]),
            errors,
        )
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.device = torch.device("cpu")  # it moves its inputs itself

    def outputs(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
        """Some outputs, by their names, of inputs by theirs."""
        arrays = self._session.run(list(names), {name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(array) for array in arrays]


class OpenVino:
    """An .onnx file in OpenVINO, on the processor.

    Args:
        path: the file.
        device: `cpu` or `auto`, which is the same here.
        num_threads: cores to compute on.

    Raises:
        ExportFileError: it cannot be read, or the device or OpenVINO is not there.
    """

    def __init__(self, path: Path, device: str, num_threads: int) -> None:
        _check_device(device, ("cpu", "auto"), "OpenVINO")
        openvino = _imported("openvino", "openvino")
        core = openvino.Core()
        model = _opened(path, lambda: core.read_model(str(path)), (RuntimeError,))
        read = model.get_rt_info()
        names = list(read["framework"]) if "framework" in read else []
        self.metadata: dict[str, str] = {name: model.get_rt_info(["framework", name]).astype(str) for name in names}
        # Single precision, because by default it computes in bfloat16 where the processor can.
        settings = {"INFERENCE_NUM_THREADS": num_threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = core.compile_model(model, "CPU", settings)
        self.device = torch.device("cpu")

    def outputs(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
        """Some outputs, by their names, of inputs by theirs."""
        computed = self._compiled({name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(computed[name].copy()) for name in names]


class TorchExport:
    """A .pt2 file in PyTorch, whose reader may run code that is in it: only open files that you trust.

    Args:
        path: the file.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        num_threads: of no effect, PyTorch's own number holds.

    Raises:
        ExportFileError: it cannot be read.
        ValueError: this machine has no such device.
    """

    def __init__(self, path: Path, device: str, num_threads: int) -> None:
        self.device = resolve_device(device)
        extra = {METADATA_FILE: ""}
        program = _opened(path, lambda: _read_program(path, extra), (RuntimeError, zipfile.BadZipFile))
        self.metadata: dict[str, str] = json.loads(extra[METADATA_FILE] or "{}")
        if self.device.type != "cpu":
            program = import_module("torch.export.passes").move_to_device_pass(program, str(self.device))
        self._module = program.module()

    def outputs(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
        """Some outputs, by their names, of inputs by theirs."""
        computed: dict[str, Tensor] = self._module(*inputs.values())  # in the order of the trace
        return [computed[name] for name in names]


RUNTIMES: dict[str, type[OnnxRuntime] | type[OpenVino] | type[TorchExport]] = {
    "onnx": OnnxRuntime,
    "openvino": OpenVino,
    "torch-export": TorchExport,
}
# What reads a file of which ending; the first is taken if none is named.
RUNTIMES_BY_ENDING: dict[str, tuple[str, ...]] = {".onnx": ("onnx", "openvino"), ".pt2": ("torch-export",)}


def _read_program(path: Path, extra: dict[str, Any]) -> torch.export.ExportedProgram:
    if not zipfile.is_zipfile(path):  # of which PyTorch's reader would tell at length
        raise zipfile.BadZipFile("it is no archive")
    return torch.export.load(path, extra_files=extra)


def _check_device(device: str, usable: Sequence[str], runtime: str) -> None:
    """Refuse a device that a runtime other than PyTorch does not compute on."""
    if device not in usable:
        raise ExportFileError(f"--device {device}: {runtime} does not compute on it; use {' or '.join(usable)}")


def _imported(name: str, extra: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ExportFileError(f"{name} is needed and not installed: pip install 'sparsedense[{extra}]'") from error


def _opened(path: Path, read: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Any:  # noqa: ANN401
    """What a runtime makes of a file."""
    if not path.is_file():
        raise ExportFileError(f"{path}: no such file; `sparsedense export MODEL --out {path}` writes it")
    try:
        return read()
    except errors as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExportFileError(f"{path}: cannot be read ({reason}); export the model again") from error
