"""An index of the squares by a model without training; tests only read it."""

from pathlib import Path

import pytest

from sparsedense.models.model_file import save_model
from sparsedense.retrieval.build import build_index
from sparsedense.retrieval.index import Index
from tests.conftest import HEIGHT
from tests.evaluation.colour_model import tiny_recogniser


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, tiny_recogniser(()), provenance={"store": {"short_side": HEIGHT}})
    return path


@pytest.fixture(scope="session")
def index(model_path: Path, squares_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    out = tmp_path_factory.mktemp("index") / "index"
    return build_index(model_path, squares_path, out, clips_per_video=2, dtype="float32", num_workers=0, device="cpu")
