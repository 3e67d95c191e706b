from pathlib import Path
from typing import Any

import pytest

from sparsedense.config import nested_update
from sparsedense.data.store import FrameStore
from sparsedense.experiments.job_records import settings_hash
from sparsedense.experiments.study_arms import load_arms
from sparsedense.experiments.study_config import study_from_dict
from sparsedense.experiments.study_folds import Fold
from sparsedense.experiments.study_jobs import StudyJob, StudyPlan, plan_study


@pytest.fixture
def folds(squares: FrameStore) -> list[Fold]:
    return [Fold("store", squares, "1"), Fold("other", squares, "2")]


def planned(values: dict[str, Any], folds: list[Fold]) -> StudyPlan:
    config = study_from_dict(values)
    return plan_study(config, load_arms(config), folds, Path("out"))


def by_name(plan: StudyPlan) -> dict[str, StudyJob]:
    return {job.name: job for job in plan.jobs}


def test_every_arm_store_seed_and_number_of_labels_has_its_run(study_values: dict[str, Any], folds: list[Fold]) -> None:
    plan = planned(study_values | {"labels_per_class": [3, None]}, folds)
    jobs = by_name(plan)
    assert len(jobs) == len(plan.jobs) == 2 * 2 * (2 + 2 + 2)  # stores x seeds x (pretraining, probe, 2 x 2 runs)
    run = jobs["finetune/tiny-other-all-seed1"]
    assert (run.experiment.seed, run.experiment.labels_per_class) == (1, None)
    assert run.needs == "pretrain/tiny-other-seed1"
    assert run.init == Path("out/pretrain/tiny-other-seed1/model.safetensors")
    assert jobs["finetune/scratch-store-3-seed0"].init is None
    assert jobs["probe/tiny-store-seed0"].needs == "pretrain/tiny-store-seed0"
    names = [job.name for job in plan.jobs]
    assert all(names.index(job.needs) < names.index(job.name) for job in plan.jobs if job.needs is not None)


def test_a_pair_has_the_same_steps_labels_and_seed(study_values: dict[str, Any], folds: list[Fold]) -> None:
    jobs = by_name(planned(study_values, folds))
    for seed in (0, 1):
        pair = [jobs[f"finetune/{arm}-store-1-seed{seed}"].experiment for arm in ("scratch", "tiny")]
        assert pair[0] == pair[1]


def test_one_pretraining_may_serve_all_seeds(study_values: dict[str, Any], folds: list[Fold]) -> None:
    plan = planned(study_values | {"seeds": [4, 5], "pretrain_per_seed": False}, folds[:1])
    assert [job.name for job in plan.jobs if job.kind == "pretrain"] == ["pretrain/tiny-store-seed4"]
    assert [job.name for job in plan.jobs if job.kind == "probe"] == ["probe/tiny-store-seed4"]
    needed = {job.name: job.needs for job in plan.jobs if job.kind == "finetune"}
    assert needed["finetune/tiny-store-1-seed5"] == "pretrain/tiny-store-seed4"


def test_arms_that_pretrain_alike_share_it(study_values: dict[str, Any], folds: list[Fold]) -> None:
    study_values["arms"]["frozen"] = study_values["arms"]["tiny"] | {"finetune": {"finetune": {"weight_decay": 0.1}}}
    plan = planned(study_values | {"seeds": [0]}, folds[:1])
    assert [job.name for job in plan.jobs if job.kind != "finetune"] == [
        "pretrain/tiny-store-seed0",
        "probe/tiny-store-seed0",
    ]
    cells = {cell.arm: cell for cell in plan.cells}
    assert cells["frozen"].pretrain == cells["tiny"].pretrain
    assert cells["frozen"].probe == cells["tiny"].probe
    assert cells["frozen"].finetune != cells["tiny"].finetune


def test_a_model_file_is_probed_once_a_store(study_values: dict[str, Any], folds: list[Fold], tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_text("weights")
    study_values["arms"] = {"scratch": None, "mine": {"init": str(model)}}
    plan = planned(study_values, folds)
    assert [job.name for job in plan.jobs if job.kind == "probe"] == ["probe/mine-store", "probe/mine-other"]
    assert {job.init for job in plan.jobs if job.name.startswith("finetune/mine")} == {model}
    assert not any(job.kind == "probe" for job in planned(study_values | {"probe": False}, folds).jobs)


def test_only_what_decides_a_result_changes_its_settings(study_values: dict[str, Any], folds: list[Fold]) -> None:
    def settings(change: dict[str, Any]) -> dict[str, str]:
        jobs = planned(nested_update(study_values, change), folds[:1]).jobs
        return {job.name: settings_hash(job.settings) for job in jobs if "tiny" in job.name}

    before = settings({})
    for change, changed in (
        ({"finetune": {"overrides": {"machine": {"num_workers": 3}}}, "parallel_runs": 2}, set()),
        ({"finetune": {"overrides": {"finetune": {"learning_rate": 0.5}}}}, {"finetune"}),
        ({"pretrain": {"pretrain": {"epochs": 5}}}, {"pretrain", "probe", "finetune"}),
        ({"clips_per_video": 5}, {"probe", "finetune"}),
        ({"probe_labels_per_class": 2}, {"probe"}),
    ):
        after = settings(change)
        assert before.keys() == after.keys()
        assert {name.partition("/")[0] for name in before if before[name] != after[name]} == changed, change


def test_another_store_is_another_result(study_values: dict[str, Any], squares: FrameStore) -> None:
    first, second = (by_name(planned(study_values, [Fold("store", squares, mark)])) for mark in "ab")
    assert all(settings_hash(first[name].settings) != settings_hash(second[name].settings) for name in first)


def test_names_that_run_into_each_other_are_told(study_values: dict[str, Any], squares: FrameStore) -> None:
    study_values["arms"]["tiny-a"] = study_values["arms"]["tiny"] | {"pretrain": {"pretrain": {"learning_rate": 0.5}}}
    folds = [Fold("b", squares, "1"), Fold("a-b", squares, "2")]
    with pytest.raises(ValueError, match="two jobs are called pretrain/tiny-a-b-seed0"):
        planned(study_values, folds)
