"""The arms of a study with their settings read, and checked to be comparable: one network, equal steps."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsedense.config import Experiment, experiment_from_dict, experiment_to_dict, load_experiment, nested_update
from sparsedense.experiments.study_config import ArmConfig, StudyConfig


@dataclass(frozen=True)
class Arm:
    """One way to come to weights, and the fine-tuning from there.

    Attributes:
        name: the arm's name.
        pretrain: settings of its pretraining, None where it has none.
        init: model file that it starts from instead.
        init_fingerprint: digest of that file.
        finetune: settings of its fine-tuning; seed and labels are set for each run.
    """

    name: str
    pretrain: Experiment | None
    init: Path | None
    init_fingerprint: str | None
    finetune: Experiment


def load_arms(config: StudyConfig) -> list[Arm]:
    """Read the recipes of all arms.

    Raises:
        ValueError: an arm has another network or other steps than the rest, or a changed value does not do; names the
            arm and the setting.
        FileNotFoundError: a recipe or a model file does not exist.
    """
    _check_keys("pretrain", config.pretrain, experiment_to_dict(Experiment()))
    shared = shared_finetuning(config)
    return [_load(config, name, arm, shared) for name, arm in config.arms.items()]


def check_arms(config: StudyConfig, source: str) -> None:
    """Read the recipes of all arms, so that a mistake is told before any store is opened, with the study's name.

    Raises:
        ValueError, FileNotFoundError: as `load_arms`, with the source before the message.
    """
    try:
        load_arms(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def shared_finetuning(config: StudyConfig) -> Experiment:
    """Settings of the fine-tuning that all arms share.

    Raises:
        ValueError: the recipe or a changed value does not do; names the key.
        FileNotFoundError: the recipe does not exist.
    """
    return _on_one_device(_changed("finetune.overrides", config.finetune.recipe, config.finetune.overrides))


def _changed(place: str, recipe: str, changes: Mapping[str, Any]) -> Experiment:
    """A recipe with the changes that stand at a place of the study, which an error names."""
    _check_keys(place, changes, experiment_to_dict(Experiment()))
    with _told_at(place):
        return load_experiment(recipe, **changes)


def _check_keys(place: str, changes: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if key not in known:
            raise ValueError(f"{place} has no key {key!r}; its keys are {', '.join(known)}")
        if isinstance(value, Mapping) and isinstance(known[key], Mapping):
            _check_keys(f"{place}.{key}", value, known[key])


@contextmanager
def _told_at(place: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _load(config: StudyConfig, name: str, arm: ArmConfig, shared: Experiment) -> Arm:
    finetune = _finetuning(name, arm, shared)
    pretrain = None
    if arm.recipe is not None:
        changes = nested_update(config.pretrain, arm.pretrain)
        pretrain = _on_one_device(_changed(f"arms.{name}.pretrain", arm.recipe, changes))
        if pretrain.model != finetune.model:
            raise ValueError(
                f"arms.{name}: {arm.recipe} pretrains the encoder {pretrain.model}, but the fine-tuning has "
                f"{finetune.model}; give all arms one network by `pretrain: {{model: ...}}`"
            )
    if arm.init is None:
        return Arm(name, pretrain, None, None, finetune)
    init = Path(arm.init)
    if not init.is_file():
        raise FileNotFoundError(f"arms.{name}.init: {init} is no file; give the model.safetensors of a run")
    with init.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return Arm(name, pretrain, init, fingerprint, finetune)


def _finetuning(name: str, arm: ArmConfig, shared: Experiment) -> Experiment:
    """The shared settings with the arm's own changes, which must leave the steps and the videos as they are."""
    if not arm.finetune:
        return shared
    place, values = f"arms.{name}.finetune", experiment_to_dict(shared)
    _check_keys(place, arm.finetune, values)
    with _told_at(place):
        own = experiment_from_dict(nested_update(values, arm.finetune), source="the shared fine-tuning so changed")
    before, after = _what_must_be_equal(shared), _what_must_be_equal(own)
    for key, value in before.items():
        if after[key] != value:
            raise ValueError(
                f"{place} changes {key} from {value} to {after[key]}, but all arms must take the same "
                f"number of steps on the same videos; change it for all arms under `finetune`"
            )
    return own


def _what_must_be_equal(experiment: Experiment) -> dict[str, Any]:
    phase, machine = experiment.finetune, experiment.machine
    return {
        "finetune.epochs": phase.epochs,
        "finetune.batch_size": phase.batch_size,
        "finetune.steps_per_epoch": phase.steps_per_epoch,
        "model": experiment.model,
        "the shortest video (clips)": experiment.clips.min_frames,
        "labels_per_class": experiment.labels_per_class,
        "seed": experiment.seed,
        "machine.devices": machine.devices,
        "machine.num_nodes": machine.num_nodes,
    }


def _on_one_device(experiment: Experiment) -> Experiment:
    """One device a run unless the settings say otherwise: several runs side by side use a machine better."""
    machine = experiment.machine
    return replace(experiment, machine=replace(machine, devices=1)) if machine.devices == "auto" else experiment
