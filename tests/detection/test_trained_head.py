from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.detection.head import DetectionHead
from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.detection.trained_head import PART, read_head, save_head, save_head_calibration
from sparsedense.models.model_file import (
    ModelFileError,
    load_model,
    read_calibration,
    save_calibration,
    save_model,
    save_part,
)
from tests.detection.known_heads import trained_head
from tests.evaluation.colour_model import tiny_recogniser


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, tiny_recogniser(), provenance={})
    return path


def test_a_head_comes_back_from_a_model_file(model: Path) -> None:
    head = trained_head()
    assert read_head(model) is None
    save_head(model, head, provenance={"epochs": 3})
    back = read_head(model)
    assert back is not None
    assert (back.network.config, back.stride_frames, back.calibration) == (
        head.network.config, head.stride_frames, head.calibration,
    )  # fmt: skip
    rows, presence = np.ones((2, 3, 4)), np.ones((2, 3))
    np.testing.assert_array_equal(back.probabilities(rows, presence), head.probabilities(rows, presence))
    np.testing.assert_allclose(back.probabilities(rows, presence).sum(axis=1), 1.0)


def test_the_model_beside_it_is_as_it_was(model: Path) -> None:
    before = load_model(model).state_dict()
    save_calibration(model, {"temperature": 2.0})
    save_head(model, trained_head(), provenance={})
    after = load_model(model).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_calibration(model) == {"temperature": 2.0}
    save_calibration(model, {"temperature": 3.0})
    assert read_head(model) is not None, "calibrating the classes takes no head away"


def test_a_second_head_replaces_the_first(model: Path) -> None:
    save_head(model, trained_head(num_levels=4), provenance={})
    save_head(model, trained_head(num_levels=2), provenance={})
    back = read_head(model)
    assert back is not None
    assert back.network.config.num_levels == 2


def test_its_calibration_can_be_replaced(model: Path) -> None:
    with pytest.raises(ModelFileError, match="has no detection head"):
        save_head_calibration(model, HeadCalibration())
    save_head(model, trained_head(), provenance={})
    save_head_calibration(model, HeadCalibration(2.0, 0.1, 0.7))
    back = read_head(model)
    assert back is not None
    assert back.calibration == HeadCalibration(2.0, 0.1, 0.7)


@pytest.mark.parametrize(
    "damage", [{"config": {"class_names": []}}, {"stride_frames": "fast"}, {"calibration": {"x": 1}}]
)
def test_a_damaged_head_names_its_file(model: Path, damage: dict[str, object]) -> None:
    head = trained_head()
    assert isinstance(head.network, DetectionHead)
    save_head(model, head, provenance={})
    good = {
        "clip_rows": "quarters",
        "config": vars(head.network.config),
        "stride_frames": 2.0,
        "calibration": head.calibration.as_plain(),
    }
    save_part(model, PART, good | damage, head.network.state_dict())
    with pytest.raises(ModelFileError, match=r"model.safetensors: its detection head cannot be used .*train it again"):
        read_head(model)
