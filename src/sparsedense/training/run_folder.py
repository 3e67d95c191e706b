"""The folder of a run: made, checked for another run, described.

config.yaml  environment.json  metrics.jsonl  checkpoints/  model.safetensors  report.html
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sparsedense.data.store import FrameStore

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


def prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Make the folder of a run; returns the checkpoint to go on from, if any.

    Raises:
        RunFolderError: the folder holds a run already, or, with `resume`, no checkpoint.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if resume:
        if not checkpoint.is_file():
            raise RunFolderError(f"{folder}: there is no checkpoints/last.ckpt to resume; run without --resume")
        return checkpoint
    metrics = folder / "metrics.jsonl"
    if metrics.exists() and not overwrite:
        raise RunFolderError(f"{folder} holds a run already; choose another --out, or pass --resume or --overwrite")
    for pattern in _OVERWRITTEN if overwrite else ("checkpoints/*.ckpt",):
        for stale in folder.glob(pattern):
            stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return None


def describe_store(store: FrameStore) -> dict[str, Any]:
    """Name, size of frames and counts of a store, as written to `environment.json` and to the model file."""
    splits = {split: store.count_videos(split=split) for split in store.splits_present}
    return {
        "name": store.path.name,
        "short_side": store.short_side,
        "videos": store.count_videos(),
        "median_frames": float(np.median(store.lengths_frames())),
        "classes": len(store.class_names),
        "splits": splits,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n")
