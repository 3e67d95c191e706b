from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsedense.config import (
    Experiment,
    MachineConfig,
    PhaseConfig,
    experiment_from_dict,
    experiment_to_dict,
    load_experiment,
    recipe_names,
    recipe_path,
    save_experiment,
)
from sparsedense.training.objectives import build_objectives


def test_the_defaults_are_the_papers() -> None:
    experiment = Experiment()
    assert (experiment.model.depth, experiment.model.width, experiment.model.last_stage_temporal_stride) == (18, 1.0, 1)
    assert (experiment.clips.length, experiment.clips.size, experiment.clips.skip_ratio) == (16, 112, 4.0)
    assert experiment.clips.min_frames == 109
    assert (experiment.train.epochs, experiment.train.batch_size, experiment.train.fraction_per_epoch) == (
        150,
        13,
        0.25,
    )
    assert (experiment.train.learning_rate, experiment.train.learning_rate_floor) == (1e-3, 1e-4)
    assert experiment.pretrain.epochs + experiment.finetune.epochs == experiment.train.epochs


def test_every_recipe_loads() -> None:
    methods = {"sparsedense", "paper-jsd", "paper-cosine", "speed", "pace", "tclr", "instance", "generator"}
    assert set(recipe_names()) == methods | {"small"}
    for name in recipe_names():
        assert isinstance(load_experiment(name), Experiment)
        first = recipe_path(name).read_text().splitlines()[0]
        assert first.startswith("# "), "the recipe says what it is"


def test_the_default_recipe_is_ours() -> None:
    assert load_experiment() == load_experiment("sparsedense")
    weights = load_experiment().objective.weights()
    assert weights["alignment"] > 0
    assert weights["contrast"] > 0


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "small"])
def test_every_recipe_trains_at_the_small_size(name: str) -> None:
    """Its objectives can be built, and it differs from the others in what is learnt alone."""
    whole, small = load_experiment(name), load_experiment(f"{name}+small")
    assert small.objective == whole.objective
    assert small.model == load_experiment("small").model
    assert small.clips.min_frames <= 100, "the shortest videos of `actors` will do"
    for experiment in (whole, small):
        built = build_objectives(experiment.objective, experiment.clips, feature_dim=8, map_positions=lambda _: 4)
        assert len(built) > 0


def test_the_second_recipe_overrides_the_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("clips: {size: 64, length: 8}\nseed: 3\n")
    second.write_text("clips: {size: 32}\n")
    joined = load_experiment(f"{first}+{second}")
    assert (joined.clips.size, joined.clips.length, joined.seed) == (32, 8, 3)


def test_a_recipe_that_is_no_mapping_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list\.yaml: a recipe is a YAML mapping of sections, got list"):
        load_experiment(path)


def test_the_recipe_paper_changes_nothing() -> None:
    assert load_experiment("paper-jsd") == Experiment()


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("clips: {size: 64}\nseed: 3\n")
    expected = replace(Experiment(), clips=replace(Experiment().clips, size=64), seed=3)
    assert load_experiment(path) == load_experiment(str(path)) == expected
    path.write_text("# nothing but a comment\n")
    assert load_experiment(path) == Experiment()


def test_an_unknown_recipe_is_told_with_the_known_ones() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"papre is neither a recipe .*\(.*generator, .*paper-jsd.*\) nor a YAML"
    ):
        load_experiment("papre")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clip": {"size": 64}}, "clip"),
        ({"clips": {"sise": 64}}, "sise"),
        ({"seeed": 1}, "seeed"),
    ],
)
def test_an_unknown_key_is_told_by_name(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"my\.yaml: .*{told}"):
        experiment_from_dict(values, source="my.yaml")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clips": {"size": "large"}}, "size"),
        ({"train": {"epochs": 1.5}}, "epochs"),
        ({"objective": {"consistency": {"kind": "kl"}}}, "consistency.kind"),
        ({"augment": {"crop_area": [0.5]}}, "crop_area"),
        ({"labels_per_class": "few"}, "labels_per_class"),
        ({"finetune": {"rate_schedule": "linear"}}, "rate_schedule"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_by_name(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"mine: .*{told}"):
        experiment_from_dict(values, source="mine")


def test_values_out_of_their_range_are_errors() -> None:
    with pytest.raises(ValueError, match=r"input \('flow'\) must be one of rgb, residual, both"):
        load_experiment("paper-jsd", model={"input": "flow"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", -1, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("accumulate", 0, "at least 1"),
        ("steps_per_epoch", 0, "at least 1, or null"),
        ("fraction_per_epoch", -1.0, "finite and above 0"),
        ("fraction_per_epoch", 0.0, "finite and above 0"),
        ("learning_rate", 0.0, "finite and above 0"),
        ("learning_rate", float("nan"), "finite and above 0"),
        ("learning_rate_floor", -1e-4, "finite and at least 0"),
        ("weight_decay", -0.1, "finite and at least 0"),
        ("gradient_clip", 0.0, "finite and above 0, or null"),
    ],
)
def test_a_phase_out_of_range_is_told_with_what_was_expected(name: str, value: float, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} \({value}\) must be {expected}"):
        load_experiment("sparsedense", train={name: value})


def test_the_ends_of_the_ranges_of_a_phase_are_allowed() -> None:
    PhaseConfig(epochs=1, batch_size=1, steps_per_epoch=1, learning_rate_floor=0.0, weight_decay=0.0, gradient_clip=0.1)
    PhaseConfig(learning_rate=1e-3, learning_rate_floor=1e-3)
    PhaseConfig(learning_rate=1e-12, rate_schedule="constant")  # which takes no notice of the floor


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "float32"])
def test_weights_of_another_precision_are_refused(precision: str) -> None:
    """Augmentation, BatchNorm's statistics and the losses are float32's."""
    with pytest.raises(ValueError, match=rf"machine\.precision \('{precision}'\) must be auto, .*bf16-mixed"):
        load_experiment("sparsedense", machine={"precision": precision})
    for allowed in ("auto", "32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16"):
        MachineConfig(precision=allowed)


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_written_reads_the_same(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, seed=7, clips={"evaluation_stride_frames": None}, machine={"devices": 2})
    save_experiment(experiment, tmp_path / "config.yaml")
    assert load_experiment(tmp_path / "config.yaml") == experiment
    assert experiment_from_dict(experiment_to_dict(experiment)) == experiment
    assert "!!python" not in (tmp_path / "config.yaml").read_text()
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert list(written) == list(experiment_to_dict(experiment)), "in the order of the sections"


def test_changes_are_merged_into_their_section() -> None:
    plain = load_experiment("sparsedense+small")
    changed = load_experiment("sparsedense+small", clips={"size": 32}, labels_per_class=2)
    assert changed.clips == replace(plain.clips, size=32)
    assert replace(changed, clips=plain.clips, labels_per_class=None) == plain


def test_a_change_does_not_touch_the_next_load() -> None:
    load_experiment("sparsedense+small", pretrain={"epochs": 1})
    assert load_experiment("sparsedense+small").pretrain.epochs > 1
