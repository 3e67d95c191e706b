"""What is wrong in a run folder is named with its file and the way out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsedense.report.errors import ReportError
from sparsedense.report.read_run import read_metrics, read_run

MakeRun = Callable[..., Path]


def test_everything_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run", epochs=10))
    assert run.config["recipe"] == "demo"
    assert run.train_curve("loss").epochs == list(range(10))
    assert run.validation_curve("accuracy").epochs == [6, 7, 8, 9]
    assert run.first_supervised_epoch() == 6
    assert not run.train_curve("no_such_quantity")
    assert run.evaluation is not None
    assert [example.correct for example in run.evaluation.examples] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "train", "epoch": 1, "lo', "is not valid JSON"),
        ("[1, 2]", "must hold a JSON object, not list"),
        ('{"epoch": 1}', "has no 'kind'"),
        ('{"kind": "train", "epoch": "one"}', "'epoch' must be a number, got 'one'"),
    ],
)
def test_a_broken_metrics_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "epoch": 0, "loss": 1.0}\n\n' + line + "\n")
    with pytest.raises(ReportError) as caught:
        read_metrics(path)
    assert f"{path}, line 3" in str(caught.value)
    assert message in str(caught.value)


def test_a_run_that_finished_no_epoch(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("\n")
    with pytest.raises(ReportError, match=r"metrics.jsonl is empty.*sparsedense train"):
        read_run(tmp_path)


def test_a_repeated_epoch_counts_once_with_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"kind": "train", "epoch": epoch, "loss": loss} for epoch, loss in ((0, 3.0), (1, 2.0), (1, 1.5), (2, 1.0))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = read_metrics(path)[0]["loss"]
    assert (curve.epochs, curve.values) == ([0, 1, 2], [3.0, 1.5, 1.0])


def _drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda evaluation: evaluation.pop(key)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("accuracy"), r"has no 'accuracy'"),
        (_drop("videos"), r"has no 'videos'"),
        (lambda e: e.update(f1="high"), r"'f1' must be a number, got 'high'"),
        (lambda e: e["per_class"][2].pop("recall"), r"per_class\[2\] has no 'recall'"),
        (lambda e: e["confusion"].pop(), r"'confusion' must be 16 rows of 16 numbers"),
        (lambda e: e["confusion"][3].append(1), r"'confusion' must be 16 rows of 16 numbers"),
        (lambda e: e["examples"][1].update(image="examples/none.png"), r"none.png cannot be read"),
        (lambda e: e["examples"][1].update(image="../secret.png"), r"lies outside"),
        (lambda e: e["examples"][1].update(image="config.yaml"), r"neither a PNG nor a JPEG"),
    ],
)
def test_a_damaged_evaluation_is_named(
    make_run: MakeRun, tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = make_run(tmp_path / "run")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    damage(evaluation)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    with pytest.raises(ReportError, match=message) as caught:
        read_run(folder)
    assert "run `sparsedense evaluate` again" in str(caught.value)


def test_a_damaged_configuration_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "config.yaml").write_text("a: [1, 2\n")
    with pytest.raises(ReportError, match=r"config.yaml is not valid YAML"):
        read_run(folder)
    (folder / "config.yaml").write_text("- a\n- b\n")
    with pytest.raises(ReportError, match=r"config.yaml must hold a mapping of settings, not list"):
        read_run(folder)
