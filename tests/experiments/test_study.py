"""A tiny study from start to end: what it writes, what it does again after a kill, and what a failure leaves."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sparsedense.cli import main
from sparsedense.experiments import study as study_module
from sparsedense.experiments.job_records import begin, settings_hash, started_path
from sparsedense.experiments.study import StudyChangedError, StudyIncompleteError, StudyOutcome, run_study
from sparsedense.experiments.study_config import study_from_dict

JOBS = {
    *(f"finetune/{arm}-store-1-seed{seed}" for arm in ("scratch", "tiny") for seed in (0, 1)),
    *(f"{kind}/tiny-store-seed{seed}" for kind in ("pretrain", "probe") for seed in (0, 1)),
}


def run(values: Mapping[str, Any], out: Path, **options: bool) -> StudyOutcome:
    """In a thread: a process would import torch first, which takes longer than the study."""
    return run_study(study_from_dict(values), out, isolate=False, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, once `finished` has run it; the tests copy it."""
    return tmp_path_factory.mktemp("study") / "out"


@pytest.fixture
def finished(whole: Path, study_values: dict[str, Any]) -> Path:
    if not whole.exists():
        outcome = run(study_values, whole)
        assert outcome.failures == {}
    return whole


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


def records(out: Path) -> dict[str, dict[str, Any]]:
    found = {path: json.loads(path.read_text()) for path in out.glob("*/*.json") if ".started." not in path.name}
    return {path.relative_to(out).with_suffix("").as_posix(): record for path, record in found.items()}


def rows(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "results.parquet").to_pylist())


def test_it_writes_every_run_the_tables_the_gates_and_the_page(finished: Path) -> None:
    assert set(records(finished)) == JOBS
    for name in JOBS:
        folder = finished / name
        assert (folder / "model.safetensors").is_file() == (not name.startswith("probe/"))
        assert (folder / "report.html").is_file() == (not name.startswith("probe/"))
        assert not started_path(finished, name).exists()
    written = rows(finished)
    assert len(written) == 2 * 2 * 2 * 2  # arms, seeds, moments, splits
    evaluation = json.loads((finished / "finetune/tiny-store-1-seed1/evaluation.json").read_text())
    (row,) = [r for r in written if (r["arm"], r["seed"], r["moment"], r["split"]) == ("tiny", 1, "end", "test")]
    assert (row["accuracy"], row["f1"]) == (evaluation["accuracy"], evaluation["f1"])
    assert row["labels_per_class"] == 1
    assert row["knn"] == records(finished)["probe/tiny-store-seed1"]["results"]["knn"]["model"]
    gates = json.loads((finished / "gates.json").read_text())["gates"]
    assert [(gate["arm"], gate["number"]) for gate in gates] == [("tiny", number) for number in range(1, 7)]
    assert gates[5]["status"] == "not measured", "two pairs are too few"
    assert "| tiny" in (finished / "table.md").read_text()
    assert sorted(path.name for path in (finished / "labels").iterdir()) == ["store-seed0-1.csv", "store-seed1-1.csv"]
    page = (finished / "report.html").read_text()
    assert "./finetune/tiny-store-1-seed1/report.html" in page
    assert "./pretrain/tiny-store-seed0/report.html" in page


def test_pairs_see_the_same_videos_and_other_weights(finished: Path) -> None:
    for seed in (0, 1):
        pair = [finished / f"finetune/{arm}-store-1-seed{seed}" for arm in ("scratch", "tiny")]
        assert (pair[0] / "config.yaml").read_text() == (pair[1] / "config.yaml").read_text()
        inits = [json.loads((path / "environment.json").read_text())["init"] for path in pair]
        assert inits[0] is None
        assert inits[1].endswith(f"pretrain/tiny-store-seed{seed}/model.safetensors")


def test_after_a_kill_only_what_is_missing_is_done(copied: Path, study_values: dict[str, Any]) -> None:
    before, results = records(copied), rows(copied)
    lost = {"finetune/tiny-store-1-seed1", "probe/tiny-store-seed0", "finetune/scratch-store-1-seed0"}
    (copied / "finetune/tiny-store-1-seed1.json").unlink()
    (copied / "probe/tiny-store-seed0.json").write_text('{"name": "probe/tiny-st')
    # This one was killed in its evaluation: it was begun, and its last checkpoint is there.
    killed = "finetune/scratch-store-1-seed0"
    (copied / f"{killed}.json").unlink()
    begin(copied, killed, before[killed]["settings"])
    (copied / killed / "model.safetensors").unlink()
    metrics = (copied / killed / "metrics.jsonl").read_text()
    for name in ("results.json", "report.html", "gates.json"):
        (copied / name).unlink()
    assert run(study_values, copied).failures == {}
    after = records(copied)
    assert set(after) == JOBS
    for name in JOBS:
        assert (after[name] == before[name]) == (name not in lost), name
        assert after[name]["results"] == before[name]["results"], name
    assert (copied / killed / "metrics.jsonl").read_text() == metrics, "it was trained again"
    untimed = [{key: value for key, value in row.items() if key != "seconds"} for row in rows(copied)]
    assert untimed == [{key: value for key, value in row.items() if key != "seconds"} for row in results]


def test_other_settings_are_refused_unless_told(copied: Path, study_values: dict[str, Any]) -> None:
    before = records(copied)
    study_values["seeds"] = [0]
    study_values["finetune"]["overrides"]["finetune"]["learning_rate"] = 0.5
    with pytest.raises(
        StudyChangedError, match=r"2 jobs in .* experiment\.finetune\.learning_rate: 0\.003 -> 0\.5 \(2"
    ):
        run(study_values, copied)
    assert records(copied) == before
    assert run(study_values, copied, overwrite=True).failures == {}
    after = records(copied)
    for name in JOBS:
        changed = name.startswith("finetune/") and name.endswith("seed0")
        assert (settings_hash(after[name]["settings"]) != settings_hash(before[name]["settings"])) == changed, name
        assert (after[name] == before[name]) == (not changed), name


def test_a_failing_arm_leaves_the_others(
    copied: Path, study_values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `main`, whose processes are replaced by a thread, because of the status that it returns."""
    broken = tmp_path / "model.safetensors"
    broken.write_text("no weights")
    study_values["arms"]["broken"] = {"init": str(broken)}
    study_values["seeds"] = [0]
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study_values))
    before = records(copied)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "run_study", lambda *a, **k: run_study(*a, **k, isolate=False))
        assert main(["compare", str(file), "--out", str(copied)]) == 1
    error = " ".join(capsys.readouterr().err.split())
    failed = ["finetune/broken-store-1-seed0", "probe/broken-store"]
    assert "2 jobs failed, the others are done" in error
    for name in failed:
        assert f"{name}: {broken}: not a safetensors file" in error
    assert "the same command tries them again" in error
    assert records(copied) == before
    results = json.loads((copied / "results.json").read_text())
    assert sorted(results["failed"]) == failed
    assert results["jobs"] == {"done": 4, "all": 6}
    trace = (copied / "errors" / "finetune-broken-store-1-seed0.txt").read_text()
    assert "Traceback" in trace
    assert "ModelFileError" in trace
    assert "not a safetensors file" in (copied / "report.html").read_text()
    # It is tried again, and does once the file is a model.
    shutil.copy(copied / "pretrain/tiny-store-seed0/model.safetensors", broken)
    assert run(study_values, copied).failures == {}
    assert not list((copied / "errors").iterdir())
    assert set(records(copied)) == JOBS | set(failed)


def test_the_folder_of_something_else_is_left_alone(tmp_path: Path, study_values: dict[str, Any]) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds results of something else"):
        run(study_values, tmp_path)
    assert (tmp_path / "results.json").read_text() == "{}"


def test_a_mistake_is_told_before_anything_is_written(tmp_path: Path, study_values: dict[str, Any]) -> None:
    config = study_from_dict(study_values)
    with pytest.raises(ValueError, match="labels_per_class is 9"):
        run_study(replace(config, labels_per_class=[9]), tmp_path / "out", isolate=False)
    assert not list((tmp_path / "out").glob("*/*"))


def test_the_failure_names_every_job_and_where_to_look(tmp_path: Path) -> None:
    message = str(StudyIncompleteError({"finetune/a": "too hot", "probe/b": "too cold"}, tmp_path))
    assert message.splitlines()[1:3] == ["  finetune/a: too hot", "  probe/b: too cold"]
    assert str(tmp_path / "errors") in message
