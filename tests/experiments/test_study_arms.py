from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparsedense.config import load_experiment, recipe_names
from sparsedense.experiments.study_arms import check_arms, load_arms, shared_finetuning
from sparsedense.experiments.study_config import load_study, study_from_dict, study_names


def test_what_all_share_and_what_an_arm_changes_both_reach_its_settings(
    study_values: dict[str, Any], tiny_recipe: Path
) -> None:
    study_values["arms"]["slow"] = {
        "recipe": str(tiny_recipe),
        "pretrain": {"pretrain": {"learning_rate": 0.5}},
        "finetune": {"finetune": {"learning_rate": 0.25}},
    }
    config = study_from_dict(study_values)
    scratch, tiny, slow = load_arms(config)
    assert scratch.pretrain is None
    assert scratch.init is None
    assert tiny.pretrain is not None
    assert slow.pretrain is not None
    assert tiny.pretrain.pretrain.steps_per_epoch == slow.pretrain.pretrain.steps_per_epoch == 1
    assert slow.pretrain.pretrain == replace(tiny.pretrain.pretrain, learning_rate=0.5)
    assert scratch.finetune == tiny.finetune == shared_finetuning(config)
    assert slow.finetune == replace(tiny.finetune, finetune=replace(tiny.finetune.finetune, learning_rate=0.25))


def test_a_run_takes_one_device(study_values: dict[str, Any], tiny_recipe: Path) -> None:
    study_values["finetune"]["overrides"]["machine"] = {"devices": "auto"}
    assert load_experiment(tiny_recipe, machine={"devices": "auto"}).machine.devices == "auto"
    assert shared_finetuning(study_from_dict(study_values)).machine.devices == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"finetune": {"epochs": 9}}, r"arms\.tiny\.finetune changes finetune\.epochs from 1 to 9"),
        ({"finetune": {"batch_size": 2}}, r"finetune\.batch_size from 6 to 2"),
        ({"finetune": {"steps_per_epoch": 5}}, r"finetune\.steps_per_epoch from 1 to 5"),
        ({"labels_per_class": 2}, r"labels_per_class from None to 2"),
        ({"clips": {"skip_ratio": 2.0}}, r"the shortest video"),
        ({"seed": 3}, r"seed from 0 to 3"),
        ({"finetune": {"epoch": 9}}, r"arms\.tiny\.finetune\.finetune has no key 'epoch'; its keys are epochs, "),
        ({"finetune": {"epochs": "many"}}, r"(?s)arms\.tiny\.finetune: .*finetune\.epochs.*many"),
    ],
)
def test_an_arm_cannot_train_for_longer_or_on_other_videos(
    study_values: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    study_values["arms"]["tiny"]["finetune"] = change
    with pytest.raises(ValueError, match=message):
        load_arms(study_from_dict(study_values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"finetune": {"recipe": "sparsedense", "overrides": {"finetune": {"epoch": 30}}}},
            r"^blame\.yaml: finetune\.overrides\.finetune has no key 'epoch'; its keys are epochs, batch_size, ",
        ),
        (
            {"finetune": {"recipe": "sparsedense", "overrides": {"finetune": {"epochs": 0}}}},
            r"^blame\.yaml: finetune\.overrides: epochs \(0\) must be at least 1",
        ),
        ({"pretrain": {"model": {"widht": 0.5}}}, r"^blame\.yaml: pretrain\.model has no key 'widht'"),
        (
            {"arms": {"scratch": {}, "a": {"recipe": "speed", "pretrain": {"objectives": {}}}}},
            r"^blame\.yaml: arms\.a\.pretrain has no key 'objectives'; its keys are .*objective",
        ),
        (
            {"arms": {"scratch": {}, "a": {"recipe": "speed", "pretrain": {"seed": "one"}}}},
            r"(?s)^blame\.yaml: arms\.a\.pretrain: .*seed.*one",
        ),
        ({"arms": {"scratch": {}, "a": {"recipe": "spede"}}}, r"^blame\.yaml: spede is neither a recipe"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_the_place(
    study_values: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_arms(study_from_dict(study_values | values), "blame.yaml")


def test_all_arms_have_one_network(study_values: dict[str, Any]) -> None:
    study_values["arms"]["tiny"]["pretrain"] = {"model": {"input": "residual"}}
    with pytest.raises(ValueError, match=r"arms\.tiny: .* pretrains the encoder .*residual.*, but the fine-tuning has"):
        load_arms(study_from_dict(study_values))


def test_a_model_file_is_known_by_its_content(study_values: dict[str, Any], tmp_path: Path) -> None:
    study_values["arms"]["mine"] = {"init": str(tmp_path / "model.safetensors")}
    config = study_from_dict(study_values)
    with pytest.raises(FileNotFoundError, match=r"arms\.mine\.init: .*model\.safetensors is no file"):
        load_arms(config)
    fingerprints = []
    for content in ("one", "two", "one"):
        (tmp_path / "model.safetensors").write_text(content)
        fingerprints.append(load_arms(config)[-1].init_fingerprint)
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_a_recipe_that_does_not_exist_is_named(study_values: dict[str, Any]) -> None:
    study_values["arms"]["tiny"]["recipe"] = "nowhere"
    with pytest.raises(FileNotFoundError, match="nowhere is neither a recipe"):
        load_arms(study_from_dict(study_values))


@pytest.mark.parametrize("name", study_names())
def test_a_shipped_study_differs_in_what_pretraining_asks_only(name: str) -> None:
    config = load_study(name)
    scratch, *others = load_arms(config)
    assert scratch.name == config.baseline
    assert scratch.pretrain is None
    methods = set(recipe_names()) - {"small"}
    assert {arm.name for arm in others} == {"ablation": methods, "few_labels": {"sparsedense"}}[name]
    assert {arm.finetune for arm in others} == {scratch.finetune}
    pretrainings = [arm.pretrain for arm in others if arm.pretrain is not None]
    assert len(pretrainings) == len(others)
    assert {experiment.pretrain for experiment in pretrainings} == {pretrainings[0].pretrain}
    assert {replace(experiment.augment, shared_crop=True) for experiment in pretrainings} == {
        replace(scratch.finetune.augment, shared_crop=True)
    }
    objectives = {(experiment.objective, experiment.clips) for experiment in pretrainings}
    assert len(objectives) == len(others)
