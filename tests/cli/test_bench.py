import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparsedense.cli import main
from sparsedense.training.tuning import Trial

OPTIONS = ["--workers", "0,1", "--rounds", "2", "--batch-size", "2", "--clip-length", "4", "--size", "16"]


def test_bench_data_prints_a_table(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", str(squares_path), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    for row in ("read", "decode", "crop", "collate", "augment", "JPEG decoder alone", "loader in this process"):
        assert row in shown
    assert "loader, 1 worker" in shown


def test_bench_data_prints_json(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", str(squares_path), "--json", *OPTIONS]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["loader"]) == {"0", "1"}
    assert found["clip_length"] == 4


def test_only_data_can_be_measured(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "network", str(squares_path)])
    assert "data" in capsys.readouterr().err


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sparsedense.data.remote_store.DEFAULT_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def assert_copied(folder: object, cache: Path, store: Path) -> None:
    assert isinstance(folder, Path)
    assert folder.is_relative_to(cache)
    shards = [path.name for path in (store / "shards").iterdir()]
    assert shards
    assert all((folder / "shards" / name).is_file() for name in shards)


def test_a_step_can_be_measured_on_a_store_at_a_url(
    squares_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[object] = []

    def measured(_experiment: object, *, store: object, **_: object) -> SimpleNamespace:
        stores.append(store)
        return SimpleNamespace(to_dict=dict)

    monkeypatch.setattr("sparsedense.training.step_timing.time_step", measured)
    for given in ([], ["--store", str(squares_path)], ["--store", squares_path.as_uri()]):
        assert main(["bench", "train", "small", "--json", *given]) == 0
    assert stores[:2] == [None, squares_path]
    assert_copied(stores[2], cache, squares_path)


def test_tuning_takes_a_store_at_a_url(
    squares_path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[object] = []

    def tuned(_experiment: object, store: object, **_: object) -> list[Trial]:
        stores.append(store)
        return [Trial({}, 1.0)]

    monkeypatch.setattr("sparsedense.training.tuning.tune", tuned)
    for store in (str(squares_path), squares_path.as_uri()):
        assert main(["tune", "small", store, "--out", str(tmp_path / "tuned.yaml")]) == 0
    assert stores[0] == squares_path
    assert_copied(stores[1], cache, squares_path)


def test_tune_makes_the_folder_of_its_file_before_it_measures(
    squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def tuned(*_: object, **__: object) -> list[Trial]:
        measured.append(1)
        return [Trial({}, 1.0)]

    monkeypatch.setattr("sparsedense.training.tuning.tune", tuned)
    (tmp_path / "file").touch()
    assert main(["tune", "small", str(squares_path), "--out", str(tmp_path / "file" / "tuned.yaml")]) != 0
    assert not measured
    assert main(["tune", "small", str(squares_path), "--out", str(tmp_path / "missing" / "tuned.yaml")]) == 0
    assert (tmp_path / "missing" / "tuned.yaml").is_file()
