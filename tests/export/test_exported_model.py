import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from sparsedense.export.errors import ExportFileError
from sparsedense.export.exported_model import ExportedModel, load_exported, open_model
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from tests.export.conftest import Exporter


def _make_newer(metadata: Any) -> None:
    next(entry for entry in metadata if entry.key == "sparsedense_export").value = "3"


def _remove_clips(metadata: Any) -> None:
    metadata.remove(next(entry for entry in metadata if entry.key == "clips"))


CHANGES: dict[str, Callable[[Any], None]] = {
    "foreign.onnx": lambda metadata: metadata.clear(),
    "newer.onnx": _make_newer,
    "damaged.onnx": _remove_clips,
}


def test_videos_are_answered_as_by_the_model(exported: Exporter, squares_folder: Path) -> None:
    path, out = exported(10, "residual", "onnx")
    model, other = load_model(path, device="cpu"), load_exported(out)
    videos = [squares_folder / "val"]
    for told, expected in zip(other.predict(videos), model.predict(videos), strict=True):
        assert told.labels == expected.labels
        np.testing.assert_allclose(told.probabilities, expected.probabilities, atol=1e-4)
    for view in ("dense", "sparse"):
        one, another = (each.embed(videos, view=view).features_ND for each in (model, other))
        np.testing.assert_allclose(one, another, atol=1e-4)
    video = next((squares_folder / "val").rglob("*.mp4"))
    found = [each.detect(video, stride_frames=1.0, min_score=0.0).segments for each in (model, other)]
    assert [each.label for each in found[0]] == [each.label for each in found[1]] != []


def test_the_ending_tells_what_opens_a_file(exported: Exporter) -> None:
    path, out = exported(10, "residual", "onnx")
    _, program = exported(18, "residual", "torch-export")
    assert isinstance(open_model(path), VideoRecogniser)
    assert isinstance(open_model(path, runtime="torch"), VideoRecogniser)
    for file, runtime in (
        (out, "auto"),
        (out, "onnx"),
        (out, "openvino"),
        (program, "auto"),
        (program, "torch-export"),
    ):
        assert isinstance(open_model(file, runtime=runtime), ExportedModel)


@pytest.mark.parametrize(
    ("name", "runtime", "message"),
    [
        ("model.safetensors", "onnx", "the runtime 'onnx' reads exported files; .*safetensors --format onnx`"),
        ("model.safetensors", "torch-export", "--format torch-export`"),
        ("model.safetensors", "tensorrt", "runtime 'tensorrt' is not known; use auto, torch, onnx, openvino,"),
        ("absent.onnx", "auto", r"absent\.onnx: no such file; `sparsedense export"),
        ("absent.pt2", "auto", r"absent\.pt2: no such file"),
        ("absent.onnx", "torch", "the runtime 'torch' does not read .onnx; use onnx or openvino"),
        ("bad.onnx", "auto", r"bad\.onnx: cannot be read \(.*\); export the model again"),
        ("bad.pt2", "auto", r"bad\.pt2: cannot be read \(it is no archive\); export the model again"),
        ("foreign.onnx", "auto", "does not say how to prepare videos for it; give a file that `sparsedense export`"),
        ("foreign.onnx", "openvino", "does not say how to prepare videos for it"),
        ("newer.onnx", "auto", "export format 3, this version reads 2"),
        ("damaged.onnx", "auto", r"damaged\.onnx: its metadata are damaged \('clips'\); export the model again"),
    ],
)
def test_what_cannot_be_opened_is_told(
    exported: Exporter, tmp_path: Path, name: str, runtime: str, message: str
) -> None:
    path, out = exported(10, "residual", "onnx")
    shutil.copy(path, tmp_path / "model.safetensors")
    for bad in ("bad.onnx", "bad.pt2"):
        (tmp_path / bad).write_bytes(b"no model at all")
    if name in CHANGES:
        proto = onnx.load(out)
        CHANGES[name](proto.metadata_props)
        onnx.save_model(proto, tmp_path / name)
    with pytest.raises(ValueError, match=message):
        open_model(tmp_path / name, runtime=runtime)


def test_exported_files_compute_in_float32_alone(exported: Exporter) -> None:
    path, out = exported(10, "residual", "onnx")
    assert isinstance(open_model(out, precision="float32"), ExportedModel)
    with pytest.raises(ValueError, match="exported files compute in float32; leave out precision 'bfloat16'"):
        open_model(out, precision="bfloat16")
    clips = torch.rand(1, 3, 8, 16, 16)
    with torch.inference_mode():
        exact, rounded = (open_model(path, precision=name).features(clips) for name in ("float32", "bfloat16"))
    assert not torch.equal(exact, rounded), "a model file has the choice"


def test_a_runtime_that_is_not_installed_is_told(exported: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out = exported(10, "residual", "onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportFileError, match=r"onnxruntime is needed .*: pip install 'sparsedense\[onnx\]'"):
        load_exported(out)


def test_no_runtime_pretends_to_have_a_gpu(exported: Exporter) -> None:
    _, out = exported(10, "residual", "onnx")
    with pytest.raises(ExportFileError, match="without CUDA"):
        load_exported(out, device="cuda")
    with pytest.raises(ExportFileError, match="--device cuda: OpenVINO does not compute on it; use cpu or auto"):
        load_exported(out, runtime="openvino", device="cuda")
    with pytest.raises(ExportFileError, match="--device gpu: ONNX Runtime does not compute on it; use cpu or cuda"):
        load_exported(out, device="gpu")
