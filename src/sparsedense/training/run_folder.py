"""The folder of a run: made, checked for another run, described.

config.yaml  environment.json  metrics.jsonl  checkpoints/  model.safetensors  report.html
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparsedense.data.store import FrameStore
from sparsedense.processes import current_launch, is_main_process
from sparsedense.training.checkpoint_files import STATE, list_checkpoints, newest_checkpoint, remove_drafts

# What a run and its evaluation leave and a new run might not replace. Other files in the folder are not ours to delete.
_OVERWRITTEN = (
    "metrics.jsonl",
    "checkpoints/*.ckpt",
    "tensorboard/events.out.tfevents*",
    "model*.safetensors",
    "evaluation.json",
    "examples/*.png",
    "report.html",
)


class RunFolderError(ValueError):
    """A run folder that holds a run already, or none to resume; the message says what to do."""


@dataclass(frozen=True)
class FolderEntry:
    """How a run enters its folder.

    Attributes:
        folder: the run's.
        checkpoint: to go on from, if any.
        replaces: whether what another run left is deleted.
    """

    folder: Path
    checkpoint: Path | None
    replaces: bool

    def carry_out(self) -> None:
        """Make the folder and delete what is in the way; call it when nothing else can refuse the run."""
        if not is_main_process():
            return
        remove_drafts(checkpoint_folder(self.folder))
        for pattern in _OVERWRITTEN if self.replaces else ():
            for stale in self.folder.glob(pattern):
                stale.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)


def look_into_folder(folder: Path, *, resume: bool | Literal["auto"], overwrite: bool) -> FolderEntry:
    """How to enter a run's folder; nothing is changed yet.

    What torchrun or SLURM starts again after a failure goes on by itself: from the last checkpoint, or, where there is
    none yet, from the start.

    Args:
        folder: the run's folder.
        resume: go on from the last checkpoint; `auto` does so where there is one.
        overwrite: delete a run that is in the folder.

    Raises:
        RunFolderError: the folder holds a run already, or, with `resume`, no checkpoint, or it could not be told after
            a restart which run it holds.
        OSError: a checkpoint cannot be read.
    """
    launch = current_launch()
    if launch is not None and overwrite and launch.num_nodes > 1 and launch.job is None:
        raise RunFolderError(
            f"--overwrite of {folder} on several machines could delete this very run after a restart; give torchrun "
            f"an --rdzv-id of this job, or delete the folder and use --resume=auto"
        )
    if launch is not None and launch.job is not None and _job_of(folder) == launch.job:
        resume, overwrite = "auto", True  # what is in the folder was left by this very run
    elif launch is not None and launch.job is None and launch.restarted:
        resume = "auto"  # likely so: a state is gone on from if its settings are these, and nothing is deleted
    checkpoint = newest_checkpoint(checkpoint_folder(folder)) if resume else None
    if is_main_process():
        _check(folder, checkpoint, resume=resume, overwrite=overwrite)
    return FolderEntry(folder, checkpoint, replaces=overwrite and checkpoint is None)


def checkpoint_folder(folder: Path) -> Path:
    """Where a run keeps the states that it can go on from."""
    return folder / "checkpoints"


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a state to go on from; whether it is whole is not looked at."""
    return bool(list_checkpoints(checkpoint_folder(folder), STATE))


def describe_store(store: FrameStore) -> dict[str, Any]:
    """Name, size of frames and counts of a store, as written to `environment.json` and to the model file."""
    splits = {split: store.count_videos(split=split) for split in store.splits_present}
    return {
        "name": store.name,
        "short_side": store.short_side,
        "videos": store.count_videos(),
        "median_frames": float(np.median(store.lengths_frames())),
        "classes": len(store.class_names),
        "splits": splits,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON; other processes see it whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)


def _job_of(folder: Path) -> str | None:
    """The job that the run in a folder belongs to, if it is one."""
    environment = folder / "environment.json"
    job: str | None = json.loads(environment.read_text()).get("job") if environment.is_file() else None
    return job


def _check(folder: Path, checkpoint: Path | None, *, resume: bool | Literal["auto"], overwrite: bool) -> None:
    if checkpoint is not None:
        return
    if resume is True:
        damaged = "all checkpoints are damaged" if has_checkpoint(folder) else "there is no checkpoint yet"
        raise RunFolderError(f"{folder}: {damaged}; run without --resume")
    if ((folder / "metrics.jsonl").exists() or has_checkpoint(folder)) and not overwrite:
        raise RunFolderError(f"{folder} holds a run already; choose another --out, or pass --resume or --overwrite")
