import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparsedense.cli import main
from sparsedense.models.model_file import save_model
from tests.conftest import HEIGHT
from tests.evaluation.colour_model import constant_recogniser

Capture = pytest.CaptureFixture[str]


def test_an_exported_model_predicts_alone(squares_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    model, video = tmp_path / "model.safetensors", str(squares_folder / "val" / "down" / "down_val0.mp4")
    save_model(model, constant_recogniser(1), provenance={"store": {"short_side": HEIGHT}})
    assert main(["export", str(model)]) == 0
    assert f"{tmp_path / 'model.onnx'}: onnx, " in capsys.readouterr().out
    model.unlink()
    onnx = str(tmp_path / "model.onnx")
    for flags in ([], ["--runtime", "onnx"], ["--runtime=openvino"]):
        assert main(["predict", onnx, video, "--json", *flags]) == 0
        (record,) = json.loads(capsys.readouterr().out)
        assert record["label"] == "down"
        assert record["probability"] > 0.99
    assert main(["embed", onnx, video, "--out", str(tmp_path / "f.npz")]) == 0
    assert "1 x 32 features" in capsys.readouterr().out
    assert main(["predict", onnx, video, "--runtime", "torch"]) == 1
    assert "the runtime 'torch' does not read .onnx" in capsys.readouterr().err
    assert main(["export", str(model)]) == 1
    assert "no such model file" in capsys.readouterr().err
    code = "import sys; from sparsedense.cli import main; main(sys.argv[1:]); print('onnx' in sys.modules)"
    command = [sys.executable, "-c", code, "predict", onnx, video]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"  # the runtime is enough
