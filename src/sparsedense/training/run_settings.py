"""What decides a run, written into its checkpoints: a run that goes on must have been begun with the same."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sparsedense.config import Experiment, experiment_from_dict, experiment_to_dict
from sparsedense.data.store import FrameStore
from sparsedense.processes import is_main_process
from sparsedense.settings_changes import changes
from sparsedense.training.checkpoint_files import read_checkpoint
from sparsedense.training.plan import Phase, TrainingPlan

_MOST_CHANGES = 6


class Place(NamedTuple):
    """Where a run goes on.

    Attributes:
        epoch: the epoch.
        batches: how many of it are done.
        step: steps of the optimiser that were done in all.
        seconds: that it took.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    seconds: float = 0.0


class SettingsChangedError(ValueError):
    """A run that was begun with other settings than those given to go on with; the message names them."""


def run_settings(phase: Phase, experiment: Experiment, store: FrameStore, init: str | Path | None) -> dict[str, Any]:
    """The phase's settings, and digests of the store and of the model that it starts from.

    How the machine is used is left out: a run may go on with other workers, devices or checkpoints.
    """
    others = {"machine", *(other.value for other in Phase if other is not phase)}
    if phase is Phase.PRETRAIN:
        others |= {"labels_per_class", "labelled_list", "validation_clips"}
    values = {key: value for key, value in experiment_to_dict(experiment).items() if key not in others}
    return {"phase": phase.value, "experiment": values, "store": _store_digest(store.path), "init": _init_digest(init)}


def place_to_go_on(checkpoint: Path | None, settings: Mapping[str, Any], run: Path) -> Place:
    """Where a checkpoint leads to; the beginning without one.

    Raises:
        SettingsChangedError: it was made with other settings.
    """
    if checkpoint is None:
        return Place()
    content = read_checkpoint(checkpoint, lazily=True)
    told = content["run"]
    epoch, batches = told["epoch"], told["batches"]
    check_settings(told["settings"], settings, epochs_begun=epoch + (batches > 0), run=run)
    return Place(epoch, batches, content["global_step"], told["seconds"])


def check_settings(old: Mapping[str, Any], new: Mapping[str, Any], *, epochs_begun: int, run: Path) -> None:
    """Refuse to go on with other settings.

    More or fewer epochs are no other settings where those that were begun are the same with both; a note tells them.

    Args:
        old: from the checkpoint.
        new: given now.
        epochs_begun: number of epochs that were finished or begun.
        run: the run's folder.

    Raises:
        SettingsChangedError: something differs.
    """
    changed = changes(old, new)
    epochs = f"experiment.{old['phase']}.epochs"
    if not changed:
        return
    if list(changed) == [epochs] and _same_past(old, new, epochs_begun):
        if is_main_process():
            print(f"{run} goes on with {changed[epochs].rpartition('.')[2]}")
        return
    listed = list(changed.values())
    more = [f"and {len(listed) - _MOST_CHANGES} more"] if len(listed) > _MOST_CHANGES else []
    raise SettingsChangedError(
        f"{run} was begun with other settings: {'; '.join([*listed[:_MOST_CHANGES], *more])}. Go on with those in "
        f"{run / 'config.yaml'}, choose another --out, or pass --overwrite in place of --resume to begin anew"
    )


def _same_past(old: Mapping[str, Any], new: Mapping[str, Any], epochs_begun: int) -> bool:
    """Whether weights, rate and pool of the first epochs are the same in both."""
    before, after = (_plan(settings) for settings in (old, new))
    return epochs_begun <= after.config.epochs and all(
        before.weights(past) == after.weights(past)
        and before.rate(past) == after.rate(past)
        and before.draws_labelled_only(past) == after.draws_labelled_only(past)
        for past in range(epochs_begun)
    )


def _plan(settings: Mapping[str, Any]) -> TrainingPlan:
    experiment = experiment_from_dict(dict(settings["experiment"]), source="the checkpoint's settings")
    phase = Phase(settings["phase"])
    return TrainingPlan(phase, getattr(experiment, phase.value), experiment.objective)


def _store_digest(path: Path) -> str:
    digest = hashlib.sha256()
    for name in ("store.json", "manifest.parquet"):
        with (path / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _init_digest(init: str | Path | None) -> str | None:
    """Digest of a model's weights: its header tells when it was written too, which decides nothing."""
    if init is None or not Path(init).is_file():
        return None if init is None else str(init)
    with Path(init).open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")  # safetensors: a length, a header so long, the weights
        file.seek(header_bytes, os.SEEK_CUR)
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
