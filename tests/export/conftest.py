"""Models worth exporting, and what export makes of them; tests only read both."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sparsedense.export.export_model import FORMATS, export_model
from sparsedense.models.model_file import save_calibration, save_model
from sparsedense.models.recogniser import build_recogniser
from tests.conftest import HEIGHT, MOTIONS, tiny_experiment

Exporter = Callable[[int, str, str], tuple[Path, Path]]


def write_model(path: Path, *, depth: int = 10, network_input: str = "rgb", classes: tuple[str, ...] = ()) -> Path:
    """A small model whose statistics and logits are not those of a new one, so that a mistake in them shows."""
    torch.manual_seed(depth)
    experiment = tiny_experiment()
    config = replace(experiment.model, depth=depth, input=network_input)
    model = build_recogniser(config, classes, clips=asdict(experiment.clips))
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model.features(torch.rand(4, 3, 8, 16, 16))
        if model.classifier is not None:
            model.classifier.linear.weight.normal_()
            model.classifier.linear.bias.normal_()
    save_model(path, model.eval(), provenance={"store": {"short_side": HEIGHT}, "phase": "test"})
    save_calibration(path, {"temperature": 1.5, "background_logit": 0.25})
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """For a depth, an input and a format, the model file and the exported file; each is made once."""

    @cache
    def export(depth: int, network_input: str, export_format: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("exported")
        model = write_model(
            folder / "model.safetensors", depth=depth, network_input=network_input, classes=tuple(MOTIONS)
        )
        out = folder / f"exported{FORMATS[export_format]}"
        report = export_model(model, out, export_format=export_format)
        assert report.path == out
        assert report.size_bytes == out.stat().st_size
        assert sorted(folder.iterdir()) == sorted([model, out])
        return model, out

    return export
