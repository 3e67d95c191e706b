from pathlib import Path

import numpy as np
import onnx
import pytest

from sparsedense.cli import main
from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.detection.trained_head import TrainedHead, save_head
from sparsedense.export.errors import ExportFileError
from sparsedense.export.export_model import FORMATS, export_model
from sparsedense.export.exported_model import load_exported
from sparsedense.export.head_file import head_path
from sparsedense.models.model_file import load_model as load_recogniser
from sparsedense.prediction.video_recogniser import load_model
from tests.conftest import MOTIONS
from tests.detection.known_heads import small_head
from tests.export.conftest import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("with_head") / "model.safetensors"
    write_model(path, classes=tuple(MOTIONS))
    dim = load_recogniser(path).encoder.feature_dim
    head = TrainedHead(small_head(feature_dim=dim, num_scales=3), 1.0, HeadCalibration(min_score=0.0))
    save_head(path, head, provenance={})
    return path


@pytest.mark.parametrize("export_format", ["onnx", "torch-export"])
def test_an_exported_head_finds_what_the_head_finds(
    model: Path, export_format: str, squares_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out{FORMATS[export_format]}"
    report = export_model(model, out, export_format=export_format)
    assert report.head == head_path(out) == tmp_path / f"out.head{FORMATS[export_format]}"
    video = next((squares_folder / "val").rglob("*.mp4"))
    for effort in (0.0, 1.0):
        expected = load_model(model, device="cpu").detect(video, min_score=0.0, effort=effort).segments
        found = load_exported(out).detect(video, min_score=0.0, effort=effort).segments
        assert {each.label for each in expected} == {"open", "close"}
        assert [each.label for each in found] == [each.label for each in expected]
        for name in ("start_seconds", "end_seconds", "score"):
            np.testing.assert_allclose(
                [getattr(each, name) for each in found], [getattr(each, name) for each in expected], atol=1e-3
            )
    assert main(["detect", str(out), str(video), "--json", "--min-score", "0"]) == 0
    assert '"label": "open"' in capsys.readouterr().out


def test_a_model_without_a_head_leaves_none_of_before(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert export_model(model, out).head is not None
    bare = write_model(tmp_path / "bare.safetensors", classes=tuple(MOTIONS))
    assert export_model(bare, out).head is None
    assert not head_path(out).exists()
    assert load_exported(out).head is None


def test_a_file_that_is_no_head_is_refused(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    export_model(model, out)
    proto = onnx.load(str(head_path(out)))
    del proto.metadata_props[:]
    onnx.save_model(proto, str(head_path(out)))
    with pytest.raises(ExportFileError, match=r"out\.head\.onnx: no detection head"):
        load_exported(out)
    head_path(out).write_bytes(b"nothing")
    with pytest.raises(ExportFileError, match=r"out\.head\.onnx: cannot be read"):
        load_exported(out)
