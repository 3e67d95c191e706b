import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sparsedense.report import ReportError
from sparsedense.report.read_study import Estimate, is_study, read_study
from tests.report.study_folders import whole_study


def changed(folder: Path, name: str, key: str, value: object) -> None:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    content[key] = value
    (folder / name).write_text(json.dumps(content))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study", labels=(None, 3)))
    assert study.arms == ["scratch", "sparsedense", "speed"]
    assert study.labels == [(3, 3), (None, 40.0)], "the fewest labels first"
    summary = study.summary("sparsedense", 3, "end")
    assert summary is not None
    expected = Estimate(mean=0.25, pairs=5, low=0.216, high=0.284, p=0.0004, p_holm=0.0008)
    assert summary.difference is not None
    assert asdict(summary.difference) == pytest.approx(asdict(expected))
    assert summary == study.best_on_validation(3)
    assert study.summary("scratch", None, "end") is not None
    assert study.summary("absent", 3, "end") is None
    assert len(study.gates) == 12
    assert [len(runs) for runs in study.pretraining.values()] == [0, 5, 5]
    assert study.pretraining["speed"][0]["loss_alignment"].epochs == list(range(12))
    assert study.knn["sparsedense"][0].keys() == {"model", "random", "untrained"}


def test_a_study_is_told_from_the_demo(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study")
    assert is_study(folder)
    changed(folder, "results.json", "kind", None)
    assert not is_study(folder)
    (folder / "results.json").unlink()
    assert not is_study(folder)


def test_a_pretraining_without_its_log_is_left_out(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study")
    (folder / "pretrain/speed-store-seed2/metrics.jsonl").unlink()
    assert [len(runs) for runs in read_study(folder).pretraining.values()] == [0, 5, 4]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("results.json", "baseline", None, r"results\.json: 'baseline' must be a string"),
        ("results.json", "arms", "scratch", r"results\.json: 'arms' must be a list"),
        ("results.json", "jobs", {}, r"results\.json, jobs has no 'done'"),
        ("results.json", "runs", ["../elsewhere"], r"run '\.\./elsewhere' must be a folder below"),
        ("results.json", "pretrain", {"speed": ["../../away"]}, r"run '\.\./\.\./away' must be a folder below"),
        ("results.json", "summaries", [{"arm": "a"}], r"summaries\[0\]"),
        ("gates.json", "gates", [{"name": 1}], r"gates\.json, gates\[0\]: 'name' must be a string, got 1"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_file(tmp_path: Path, name: str, key: str, value: object, message: str) -> None:
    folder = whole_study(tmp_path / "study")
    changed(folder, name, key, value)
    with pytest.raises(ReportError, match=message + r".*run `sparsedense compare` into this folder again"):
        read_study(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study")
    (folder / "gates.json").unlink()
    with pytest.raises(ReportError, match=r"gates\.json is missing: run `sparsedense compare`"):
        read_study(folder)
