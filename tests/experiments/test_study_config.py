from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsedense.config import nested_update
from sparsedense.experiments.study_arms import check_arms
from sparsedense.experiments.study_config import (
    load_study,
    study_from_dict,
    study_names,
    study_path,
)

VALUES: dict[str, Any] = {"arms": {"scratch": None, "ours": {"recipe": "demo"}}, "finetune": {"recipe": "demo"}}


def test_the_defaults_are_the_protocol() -> None:
    config = study_from_dict(VALUES)
    assert config.seeds == [0, 1, 2, 3, 4]
    assert config.labels_per_class == [3, 10, None]
    assert (config.baseline, config.clips_per_video, config.probe, config.pretrain_per_seed) == (
        "scratch",
        10,
        True,
        True,
    )
    assert config.arms["scratch"].recipe is None
    assert config.arms["ours"].recipe == "demo"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sedes": [1]}, r"^study has no key 'sedes'; its keys are arms, finetune, stores, "),
        ({"arms": {"scratch": {}, "a": {"recip": "demo"}}}, r"^study: arms\.a has no key 'recip'; its keys are recipe"),
        ({"arms": {"scratch": {}, "a": "demo"}}, r"arms\.a must be a mapping .* not 'demo'"),
        ({"arms": {"scratch": {}, "a": {"recipe": 3}}}, r"(?s)arms\.a: .*\"recipe\".*3"),
        ({"arms": ["scratch"]}, r"arms must be a mapping of names"),
        ({"arms": {"scratch": {}}}, r"arms \(scratch\): a comparison needs at least two arms"),
        ({"arms": {"scratch": {}, "a b": {}}}, r"'a b' must be made of letters"),
        ({"arms": {"scratch": {}, "../a": {}}}, r"'\.\./a' must be made of letters"),
        ({"arms": {"scratch": {}, "a": {"recipe": "x", "init": "y"}}}, r"a has both recipe and init"),
        ({"arms": {"scratch": {}, "a": {"pretrain": {"seed": 1}}}}, r"a\.pretrain changes a recipe, but"),
        ({"baseline": "random"}, r"the baseline 'random' is not among them; add `random: \{\}`"),
        ({"finetune": {}}, r"finetune\.recipe"),
        ({"finetune": {"recipe": "demo", "foo": 1}}, r"foo"),
        ({"seeds": []}, r"seeds \(\): at least one is needed"),
        ({"seeds": [1, 1]}, r"seeds \(1, 1\): every value must be there only once"),
        ({"seeds": ["a"]}, r"(?s)seeds.*int"),
        ({"labels_per_class": [3, 0]}, r"labels_per_class \(3, 0\): counts must be at least 1, or null"),
        ({"stores": ["a", "a"]}, r"stores \(a, a\): name the same store twice"),
        ({"clips_per_video": 0}, r"clips_per_video \(0\): must be at least 1"),
        ({"parallel_runs": 0}, r"parallel_runs \(0\): must be at least 1"),
    ],
)  # fmt: skip
def test_what_does_not_do_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_from_dict(VALUES | change)


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(VALUES | {"stores": "runs/store", "seeds": [4]}))
    config = load_study(path, parallel_runs=2, stores=["other"])
    assert (config.stores, config.seeds, config.parallel_runs) == (["other"], [4], 2)
    assert load_study(path).stores == ["runs/store"]
    for text, message in (("seed: [1]\n", "mine.yaml"), ("[1]", "must hold a mapping"), ("a: [", "not valid YAML")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_study(path)


def test_a_name_is_that_of_a_shipped_study_or_a_file(tmp_path: Path) -> None:
    assert "ablation" in study_names()
    assert study_path("ablation").is_file()
    for name in study_names():
        assert "scratch" in load_study(name, stores=["store"]).arms
        assert study_path(name).read_text().startswith("# "), "the study says what it is"
    with pytest.raises(FileNotFoundError, match=r"neither a study of this package \(ablation.*\) nor a YAML file"):
        study_path("few_label")
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml does not exist; .*\(ablation, few_labels\)"):
        study_path(tmp_path / "absent.yaml")


def test_the_example_in_the_docs_is_a_study(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs" / "experiments.md"
    section = docs.read_text().partition("## A comparison of your own\n")[2]
    (tmp_path / "mine.yaml").write_text(section.split("```")[1].removeprefix("yaml"))
    (tmp_path / "model.safetensors").touch()
    config = load_study(tmp_path / "mine.yaml")
    assert list(config.arms) == ["scratch", "sparsedense", "speed", "mine"]
    mine = replace(config.arms["mine"], init=str(tmp_path / "model.safetensors"))
    check_arms(replace(config, arms={**config.arms, "mine": mine}), "mine.yaml")


def test_updating_goes_section_by_section_and_leaves_the_base() -> None:
    base = {"pretrain": {"epochs": 6, "keep": "last"}, "seed": 0, "model": {"depth": 10}}
    updated = nested_update(base, {"pretrain": {"epochs": 8}, "seed": {"odd": 1}, "new": 2})
    assert updated == {
        "pretrain": {"epochs": 8, "keep": "last"}, "seed": {"odd": 1}, "model": {"depth": 10}, "new": 2,
    }  # fmt: skip
    assert base["pretrain"] == {"epochs": 6, "keep": "last"}
