"""What `sparsedense compare` is told: arms x paired seeds x label counts, as YAML.

stores: runs/store
arms:
  scratch: {}
  sparsedense: {recipe: sparsedense}
  speed: {recipe: speed, pretrain: {pretrain: {epochs: 20}}}
  mine: {init: runs/mine/model.safetensors}
finetune: {recipe: sparsedense, overrides: {finetune: {epochs: 30, keep: last}}}
seeds: [0, 1, 2, 3, 4]
labels_per_class: [3, 10, null]
"""

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sparsedense.config import shipped_path

STUDIES = Path(__file__).parent / "files"
BASELINE = "scratch"
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ArmConfig:
    """Where one arm's weights come from, and what it alone does differently.

    Attributes:
        recipe: recipe to pretrain by: a shipped name or a YAML file; `null` pretrains nothing.
        init: model file to start from instead; with `recipe` `null` too, the arm starts from scratch.
        pretrain: values of the recipe to change, by section: `{objective: {speed: {weight: 0}}}`.
        finetune: values of the shared fine-tuning to change, by section; the number of steps must stay.
    """

    recipe: str | None = None
    init: str | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SharedFinetuning:
    """The fine-tuning of all arms, the same number of steps for each.

    Attributes:
        recipe: a shipped name or a YAML file.
        overrides: values of the recipe to change, by section: `{finetune: {epochs: 30}}`.
    """

    recipe: str
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyConfig:
    """Arms x paired seeds x label counts, on one store or on several.

    Attributes:
        arms: by name.
        finetune: shared by all arms.
        stores: folders that `prepare` made; several are folds, as in leave-one-subject-out, and a pair is a store and
            a seed.
        baseline: the arm that the others are compared to.
        pretrain: values to change in the recipe of every arm, by section: one network, one length for all.
        seeds: a seed draws the labelled videos, the classifier and the order of the data.
        labels_per_class: labelled training videos a class; `null` is all of them.
        pretrain_per_seed: whether every seed has a pretraining of its own, or the first seed's serves all.
        clips_per_video: clips a video of the evaluation.
        probe: measure kNN, linear probe and speed controls of every pretrained encoder.
        probe_labels_per_class: labelled training videos a class that the probe may use; `null` is all of them.
        parallel_runs: runs at a time, each with its part of the cores.
    """

    arms: dict[str, ArmConfig]
    finetune: SharedFinetuning
    stores: list[str] = field(default_factory=list)
    baseline: str = BASELINE
    pretrain: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    labels_per_class: list[int | None] = field(default_factory=lambda: [3, 10, None])
    pretrain_per_seed: bool = True
    clips_per_video: int = 10
    probe: bool = True
    probe_labels_per_class: int | None = None
    parallel_runs: int = 1

    def __post_init__(self) -> None:
        for name, problem in (
            ("arms", _arms_problem(self.arms, self.baseline)),
            ("seeds", _list_problem(self.seeds)),
            ("labels_per_class", _list_problem(self.labels_per_class) or _labels_problem(self.labels_per_class)),
            ("stores", "name the same store twice" if len(set(self.stores)) < len(self.stores) else ""),
            ("clips_per_video", "must be at least 1" if self.clips_per_video < 1 else ""),
            ("parallel_runs", "must be at least 1" if self.parallel_runs < 1 else ""),
        ):
            if problem:
                raise ValueError(f"{name} ({_shown(getattr(self, name))}): {problem}")


def study_names() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def study_path(name_or_path: str | Path) -> Path:
    """File of a shipped study, or the file itself.

    Raises:
        FileNotFoundError: neither a shipped study nor a file.
    """
    if Path(name_or_path).suffix in (".yaml", ".yml") and not Path(name_or_path).is_file():
        raise FileNotFoundError(
            f"{name_or_path} does not exist; give the YAML file of a study, or the name of a shipped one "
            f"({', '.join(study_names())})"
        )
    return shipped_path(STUDIES, name_or_path, kind="study")


def load_study(name_or_path: str | Path, **changes: object) -> StudyConfig:
    """Read and check a study.

    Args:
        name_or_path: name of a shipped study or a YAML file; paths in it are taken from the current folder.
        changes: values to change, by name.

    Raises:
        FileNotFoundError: there is no such study.
        ValueError: a key is unknown or missing, or a value does not do; the message names the file and the key.
    """
    path = study_path(name_or_path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a mapping with the keys arms, finetune, ..., not {type(values).__name__}")
    return study_from_dict(values | changes, source=str(path))


def study_from_dict(values: Mapping[str, Any], *, source: str = "study") -> StudyConfig:
    """Check a nested dictionary and make a study of it.

    Raises:
        ValueError: a key is unknown or missing, or a value does not do; the message names the source and the key.
    """
    rest = dict(values)
    arms = rest.pop("arms", None)
    if not isinstance(arms, dict):
        raise ValueError(f"{source}: arms must be a mapping of names, such as `scratch: {{}}`, not {arms!r}")
    if isinstance(rest.get("stores"), str | Path):
        rest["stores"] = [str(rest["stores"])]
    parsed = {
        str(name): ArmConfig(**_checked(ArmConfig, {} if arm is None else arm, f"{source}: arms.{name}"))
        for name, arm in arms.items()
    }
    fields = _checked(StudyConfig, rest, source, skip={"arms"})
    try:
        return StudyConfig(arms=parsed, **fields)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _checked(kind: type, values: object, place: str, skip: Collection[str] = ()) -> dict[str, Any]:
    """Arguments of a dataclass, each checked for its name and its type."""
    from jsonargparse import ArgumentError, ArgumentParser

    if not isinstance(values, dict):
        raise ValueError(f"{place} must be a mapping with the keys {', '.join(_keys(kind))}, not {values!r}")
    for key in values:
        if key not in _keys(kind):
            raise ValueError(f"{place} has no key {key!r}; its keys are {', '.join(_keys(kind))}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, as_group=False, skip=set(skip))
    try:
        return dict(vars(parser.instantiate(parser.parse_object(values))))
    except ArgumentError as error:
        raise ValueError(f"{place}: {error}") from error


def _keys(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _arms_problem(arms: Mapping[str, ArmConfig], baseline: str) -> str:
    if baseline not in arms:
        return f"the baseline {baseline!r} is not among them; add `{baseline}: {{}}` or name another baseline"
    if len(arms) < 2:
        return "a comparison needs at least two arms"
    for name, arm in arms.items():
        if not _FOLDER_NAME.fullmatch(name):
            return f"{name!r} must be made of letters, digits, '.', '_' and '-', because folders are named after it"
        if arm.recipe is not None and arm.init is not None:
            return f"{name} has both recipe and init; a recipe pretrains, init takes a model that is there"
        if arm.pretrain and arm.recipe is None:
            return f"{name}.pretrain changes a recipe, but the arm has none; set {name}.recipe"
    return ""


def _list_problem(values: list[Any]) -> str:
    if not values:
        return "at least one is needed"
    return "every value must be there only once" if len(set(values)) < len(values) else ""


def _labels_problem(counts: list[int | None]) -> str:
    return "counts must be at least 1, or null for all labels" if any(c is not None and c < 1 for c in counts) else ""


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
