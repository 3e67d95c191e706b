import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from sparsedense.detection.calibration import Calibration
from sparsedense.export.description import describe
from sparsedense.export.errors import ExportError
from sparsedense.export.export_model import export_model, largest_difference
from sparsedense.export.exported_model import ExportedModel, load_exported
from sparsedense.prediction.video_model import NoClassesError
from sparsedense.prediction.video_recogniser import load_model
from tests.conftest import HEIGHT, MOTIONS
from tests.export.conftest import Exporter, write_model


@pytest.mark.parametrize(
    ("depth", "network_input", "export_format", "runtime"),
    [
        (10, "residual", "onnx", "onnx"),
        (10, "residual", "onnx", "openvino"),
        (18, "rgb", "onnx", "onnx"),
        (18, "residual", "torch-export", "torch-export"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_the_file_computes_what_the_model_computes(
    exported: Exporter, depth: int, network_input: str, export_format: str, runtime: str, batch_size: int
) -> None:
    path, out = exported(depth, network_input, export_format)
    model, other = load_model(path, device="cpu"), load_exported(out, runtime=runtime)
    clips = torch.rand(batch_size, 3, 8, 16, 16, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        logits, features = model.logits(clips), model.features(clips)
        assert other.logits(clips).shape == logits.shape
        assert other.features(clips).shape == features.shape
        assert (other.logits(clips) - logits).abs().max() < 1e-4
        assert (other.features(clips) - features).abs().max() < 1e-4
    assert logits.std() > 0.1  # or equal answers would mean nothing


def test_the_file_says_all_that_one_must_know(exported: Exporter) -> None:
    path, out = exported(10, "residual", "onnx")
    proto = onnx.load(out)
    metadata = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert metadata["class_names"] == list(MOTIONS)
    assert metadata["calibration"]["temperature"] == 1.5
    assert metadata["provenance"]["phase"] == "test"
    told = metadata["preprocessing"]
    assert told["input"]["shape"] == ["batch", 3, 8, 16, 16]
    assert told["sampling"]["stride_frames"] == "frames of the video / 32"
    assert f"above {HEIGHT} pixels" in told["frames"][1]
    assert "resize it to 16 x 16" in told["frames"][3]
    assert [each.name for each in proto.graph.input] == [told["input"]["name"]]
    assert {each.name for each in proto.graph.output} == set(told["outputs"])
    shape = proto.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_value, [each.dim_value for each in shape[1:]]) == (0, [3, 8, 16, 16])
    model = load_model(path, device="cpu")
    for runtime in ("onnx", "openvino"):
        other = load_exported(out, runtime=runtime)
        assert other.description == describe(model, metadata["provenance"])
        assert other.calibration == Calibration(temperature=1.5, background_logit=0.25)


def test_a_program_says_the_same(exported: Exporter) -> None:
    path, out = exported(18, "residual", "torch-export")
    model, other = load_model(path, device="cpu"), load_exported(out)
    assert (other.class_names, other.clips, other.short_side) == (model.class_names, model.clips, model.short_side)
    assert (other.calibration, other.feature_dim) == (model.calibration, model.feature_dim)


def test_a_file_that_computes_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_model(tmp_path / "model.safetensors", classes=("a", "b"))
    right = ExportedModel.logits

    def wrong(self: ExportedModel, clips: Tensor) -> Tensor:
        return right(self, clips) + 2e-4

    monkeypatch.setattr(ExportedModel, "logits", wrong)
    with pytest.raises(ExportError, match=r"out\.pt2 was not written: it differs from .* by 0\.0002, where 0\.0001 is"):
        export_model(model, tmp_path / "out.pt2", export_format="torch-export")
    assert list(tmp_path.iterdir()) == [model]


def test_what_is_no_number_is_no_parity(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "model.safetensors", classes=("a", "b")), device="cpu")
    other = load_model(tmp_path / "model.safetensors", device="cpu")
    description = describe(model, {})
    assert largest_difference(model, other, description) == 0.0
    assert other.classifier is not None
    torch.nn.init.constant_(other.classifier.linear.bias, float("nan"))
    assert not largest_difference(model, other, description) <= 1e-4


def test_a_model_without_classes_gives_features(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.safetensors")
    export_model(model, tmp_path / "out.pt2", export_format="torch-export")
    other = load_exported(tmp_path / "out.pt2")
    clips = torch.rand(2, 3, 8, 16, 16)
    with torch.inference_mode():
        assert (other.features(clips) - load_model(model, device="cpu").features(clips)).abs().max() < 1e-4
    with pytest.raises(NoClassesError, match="has no classes"):
        other.check_classes()


def test_mistakes_are_told(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    for out, export_format, message in (
        ("out.onnx", "tflite", "format 'tflite' is not known; use onnx or torch-export"),
        ("out.pt2", "onnx", r"out\.pt2: the format 'onnx' is written as \*\.onnx"),
    ):
        with pytest.raises(ExportError, match=message):
            export_model(model, tmp_path / out, export_format=export_format)
