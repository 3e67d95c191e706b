import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparsedense.models import model_file
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import ModelFileError, load_model, read_provenance, save_model
from sparsedense.models.recogniser import Recogniser, build_recogniser


def small(**changes: object) -> Recogniser:
    config = EncoderConfig(depth=10, width=0.125, last_stage_temporal_stride=2, input="both")
    arguments: dict[str, object] = {
        "class_names": ("écrire", "sit down"),
        "clips": {"length": 8, "fps": 12.5},
    } | changes
    return build_recogniser(config, **arguments)  # type: ignore[arg-type]


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model = small(dropout=0.25, num_speeds=3)
    model(torch.rand(4, 3, 8, 16, 16))  # moves the BatchNorm statistics
    model = model.to(memory_format=torch.channels_last_3d)
    path = tmp_path / "new folder" / "model.safetensors"
    save_model(path, model, provenance={"seed": 3, "data": {"videos": 10}})
    loaded = load_model(path)
    assert not loaded.training
    assert loaded.encoder.config == model.encoder.config
    assert loaded.class_names == model.class_names
    assert loaded.clips == model.clips
    assert loaded.classifier is not None
    assert loaded.classifier.dropout.p == 0.25
    assert loaded.speed_head is not None
    assert loaded.speed_head.num_speeds == 3
    assert read_provenance(path) == {"seed": 3, "data": {"videos": 10}}
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_heads_that_are_not_there_stay_away(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small(class_names=(), speed_head=False), provenance={})
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.classifier is None
    assert loaded.speed_head is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, small(), provenance={"run": "first"})

    def full_disk(state: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half a mod")
        raise OSError("no space left on device")

    monkeypatch.setattr(model_file, "save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_model(path, small(), provenance={"run": "second"})
    assert read_provenance(path) == {"run": "first"}
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent\.safetensors: no such model file; `sparsedense pretrain`"):
        load_model(tmp_path / "absent.safetensors")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    with pytest.raises(ModelFileError, match=r"run: no such model file; did you mean .*/run/model\.safetensors\?"):
        load_model(tmp_path / "run")
    (tmp_path / "text.safetensors").write_text("this is no model at all, only some text")
    with pytest.raises(ModelFileError, match=r"text\.safetensors: not a safetensors file"):
        load_model(tmp_path / "text.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors", {"format": "pt"})
    for read in (load_model, read_provenance):
        with pytest.raises(
            ModelFileError, match=r"foreign\.safetensors: a safetensors file, but not one of sparsedense"
        ):
            read(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sparsedense_model", "2", "model format 2, this version reads 1; update sparsedense"),
        ("encoder", '{"depth": 10, "colour": 1}', "header does not describe a model.*colour"),
        ("encoder", '{"depth": 99}', r"header does not describe a model \(depth \(99\)"),
        ("encoder", '{"depth": 10, "width": 0.5}', "weights do not fit its own configuration"),
        ("class_names", '["a", "b", "c"]', "weights do not fit its own configuration.*classifier"),
        ("heads", "{}", "header does not describe a model"),
        ("clips", "{half", "header is damaged"),
    ],
)
def test_an_inconsistent_header_is_named(tmp_path: Path, key: str, value: str, message: str) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, small(), provenance={})
    save_file(load_file(path), path, metadata_of(path) | {key: value})
    with pytest.raises(ModelFileError, match=f"(?s)m.safetensors: .*{message}"):
        load_model(path)


def test_provenance_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_model(tmp_path / "m.safetensors", small(), provenance={"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_loading_needs_no_training_library(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small(), provenance={})
    heavy = ("lightning", "pytorch_lightning", "torchmetrics", "tensorboard", "torchvision")
    code = (
        "import sys; from sparsedense.models.model_file import load_model; load_model(sys.argv[1]);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
