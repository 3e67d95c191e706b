from pathlib import Path

import pytest

from sparsedense.app.server import AppSettings
from sparsedense.cli import main
from tests.evaluation.colour_model import tiny_recogniser


def test_help_names_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["app", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for word in ("model", "store", "--runs", "--host", "--port", "--max_minutes"):
        assert word in told


def test_model_store_and_limits_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, object] = {}

    def serve(model: object, settings: object, *, port: int) -> None:
        called.update(model=model, settings=settings, port=port)

    recogniser = tiny_recogniser()
    monkeypatch.setattr("sparsedense.app.server.serve", serve)
    monkeypatch.setattr(
        "sparsedense.prediction.video_recogniser.load_model", lambda path, device, precision: recogniser
    )
    assert main(["app", "model.safetensors", "store", "--port", "0", "--max-minutes", "5", "--runs", "runs"]) == 0
    settings = called["settings"]
    assert isinstance(settings, AppSettings)
    assert called["model"] is recogniser
    assert called["port"] == 0
    assert settings.store == Path("store")
    assert settings.runs == Path("runs")
    assert settings.host == "127.0.0.1"
    assert settings.limits.duration_seconds == 300


def test_a_store_at_a_url_stays_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[object] = []
    monkeypatch.setattr("sparsedense.app.server.serve", lambda _model, settings, port: stores.append(settings.store))
    monkeypatch.setattr("sparsedense.prediction.video_recogniser.load_model", lambda path, device, precision: None)
    assert main(["app", "model.safetensors", "https://host/store/"]) == 0
    assert stores == ["https://host/store"]


def test_a_limit_that_cannot_be_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "model.safetensors", "--max-megabytes", "0"]) == 1
    assert "upload_bytes (0) must be above 0" in capsys.readouterr().err
