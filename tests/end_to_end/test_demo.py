"""The demo from start to end, as small as it can be: every stage runs, and what it promises to write is there."""

import json
import shutil
from pathlib import Path

import pytest

from sparsedense.config import load_experiment
from sparsedense.experiments.demo import DemoSize, run_demo

SEEDS = (0, 1)


@pytest.mark.end_to_end
def test_demo_writes_results_and_report(tmp_path: Path) -> None:
    experiment = load_experiment(
        "sparsedense+small",
        labels_per_class=1,
        model={"width": 0.0625},
        clips={"size": 16},
        pretrain={"epochs": 1, "steps_per_epoch": 2},
        finetune={"epochs": 2, "steps_per_epoch": 2},
        objective={"speed": {"weight": 1.0}},
        machine={"num_workers": 0},
    )
    size = DemoSize(
        train_per_class=1, val_per_class=0, test_per_class=1, unlabelled=4, clips_per_video=2, short_side=24
    )
    out = tmp_path / "demo"
    returned = run_demo(out, experiment=experiment, seeds=SEEDS, size=size, progress=False)
    results = json.loads((out / "results.json").read_text())
    assert results == json.loads(json.dumps(returned))
    for arm in ("scratch", "pretrained"):
        for metric in ("accuracy", "f1", "accuracy_first_epoch"):
            values = results["arms"][arm][metric]
            assert len(values) == len(SEEDS)
            assert all(0.0 <= value <= 1.0 for value in values)
    assert set(results["knn"]) == {"random", "untrained", "pretrained"}
    assert results["test_videos"] == len(
        json.loads((out / "finetune/scratch-seed0/evaluation.json").read_text())["class_names"]
    )
    assert set(results["seconds"]) >= {"actors", "prepare", "pretrain", "finetune and evaluate"}
    # What they say of a network after two steps is chance; `tests/evaluation/test_controls.py` is about their values.
    assert set(results["controls"]["speed_accuracy"]) == {"real", "frozen", "shuffled", "reencoded"}
    page = (out / "report.html").read_text()
    assert "<html" in page
    assert (out / "pretrain" / "report.html").is_file()
    assert (out / "finetune" / "pretrained-seed1" / "report.html").is_file()
    # As if it had been killed while it fine-tuned: one run broke off, one was not begun.
    made = (out / "pretrain" / "metrics.jsonl").stat().st_mtime_ns
    (out / "finetune" / "scratch-seed1" / "model.safetensors").unlink()
    shutil.rmtree(out / "finetune" / "pretrained-seed1")
    again = run_demo(out, experiment=experiment, seeds=SEEDS, size=size, resume=True, progress=False)
    assert again["arms"] == returned["arms"]
    assert again["knn"] == returned["knn"]
    assert (out / "pretrain" / "metrics.jsonl").stat().st_mtime_ns == made, "it was finished"
    with pytest.raises(ValueError, match=r"was begun with other settings: seeds: \[0, 1\] -> \[0\]"):
        run_demo(out, experiment=experiment, seeds=(0,), size=size, resume=True, progress=False)


@pytest.mark.end_to_end
def test_demo_never_deletes_what_is_not_a_demo(tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        run_demo(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="there is no demo to resume"):
        run_demo(tmp_path, resume=True)
    assert kept.read_text() == "years of work"
