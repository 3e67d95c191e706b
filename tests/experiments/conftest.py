"""A study as small as it can be, on the squares."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsedense.config import experiment_to_dict
from tests.conftest import tiny_experiment

ONE_EPOCH = {"epochs": 1, "steps_per_epoch": 1}


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as a recipe file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(experiment_to_dict(tiny_experiment())))
    return path


@pytest.fixture
def study_values(tiny_recipe: Path, squares_path: Path) -> dict[str, Any]:
    """Values of a study of two arms, two seeds and one label a class."""
    return {
        "stores": str(squares_path),
        "arms": {"scratch": None, "tiny": {"recipe": str(tiny_recipe)}},
        "pretrain": {"pretrain": ONE_EPOCH},
        "finetune": {"recipe": str(tiny_recipe), "overrides": {"finetune": {**ONE_EPOCH, "keep": "last"}}},
        "seeds": [0, 1],
        "labels_per_class": [1],
        "clips_per_video": 1,
    }
