"""The three trainings as one function each: a store in, a run folder with a model file out."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict, Unpack

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback

from sparsedense.config import Experiment, load_experiment, save_experiment
from sparsedense.data.store import FrameStore
from sparsedense.models.encoder import load_kinetics_weights
from sparsedense.models.model_file import load_model, save_model
from sparsedense.models.recogniser import Recogniser, build_recogniser
from sparsedense.training.callbacks import CollapseWatch, MetricsFile, ModelAfterEpochs, ProgressBar, Throughput
from sparsedense.training.clip_streams import ClipStreams, video_pools
from sparsedense.training.engine import best_checkpoint, build_trainer, fit, last_checkpoint, take_best
from sparsedense.training.machine import describe_environment, resolve_channels_last
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.quiet import quieten_lightning
from sparsedense.training.run_folder import describe_store, prepare_folder, write_json

KINETICS = "kinetics"


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Attributes:
        path: the run's folder.
        model: its model file.
        best_accuracy: the best validation accuracy, where there was a validation.
        seconds: how long it took.
    """

    path: Path
    model: Path
    best_accuracy: float | None
    seconds: float


class RunOptions(TypedDict, total=False):
    """What every training can be told beside its experiment; see `run_phase`."""

    init: str | Path | None
    resume: bool
    overwrite: bool
    keep_epochs: Sequence[int]
    progress: bool


def train(
    store: str | Path, out: str | Path, experiment: Experiment | None = None, **options: Unpack[RunOptions]
) -> TrainingRun:
    """Run the paper's curriculum of three phases on labelled and unlabelled videos together (METHOD section 4)."""
    return run_phase(Phase.TRAIN, store, out, experiment, **options)


def pretrain(
    store: str | Path, out: str | Path, experiment: Experiment | None = None, **options: Unpack[RunOptions]
) -> TrainingRun:
    """Learn an encoder without labels, by the objectives of the recipe."""
    return run_phase(Phase.PRETRAIN, store, out, experiment, **options)


def finetune(
    store: str | Path, out: str | Path, experiment: Experiment | None = None, **options: Unpack[RunOptions]
) -> TrainingRun:
    """Train a classifier on labelled videos, from a pretrained model (`init`) or from scratch."""
    return run_phase(Phase.FINETUNE, store, out, experiment, **options)


def run_phase(
    phase: Phase,
    store: str | Path,
    out: str | Path,
    experiment: Experiment | None = None,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    keep_epochs: Sequence[int] = (),
    progress: bool = True,
) -> TrainingRun:
    """Train one phase and write its run folder.

    Args:
        phase: which training.
        store: folder written by `prepare`.
        out: the run's folder.
        experiment: the settings; the recipe `sparsedense` if not given.
        init: model file whose encoder (and speed head) to start from, or `kinetics` for torchvision's weights.
        resume: go on from the last checkpoint in `out`.
        overwrite: delete a run that is in `out`.
        keep_epochs: also keep the model after these many epochs, as `model-epoch-NNN.safetensors`.
        progress: show a progress bar.

    Raises:
        RunFolderError: `out` holds a run already, or, with `resume`, no checkpoint.
        StoreError, ModelFileError, ValueError: the store, the model or a setting does not do.
    """
    quieten_lightning()
    experiment = experiment or load_experiment()
    frame_store, folder = FrameStore(store), Path(out)
    plan = TrainingPlan(phase, getattr(experiment, phase.value), experiment.objective)
    pools = video_pools(frame_store, experiment, phase)
    seed_everything(experiment.seed, workers=True, verbose=False)
    model = _initial_model(phase, frame_store, experiment, init)
    checkpoint = prepare_folder(folder, resume=resume, overwrite=overwrite)  # deletes: after all that may be refused
    save_experiment(experiment, folder / "config.yaml")
    environment = describe_environment() | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "store": describe_store(frame_store) | {"too_short": pools.too_short, "list_mismatches": pools.list_mismatches},
        "phase": phase.value,
        "init": None if init is None else str(init),
    }
    write_json(folder / "environment.json", environment)
    started = time.perf_counter()

    channels_last = resolve_channels_last(experiment.machine)
    module = SparseDenseModule(model, experiment, plan, channels_last=channels_last)
    if channels_last:
        module.to(memory_format=torch.channels_last_3d)
    provenance = environment | {"experiment": asdict(experiment)}
    throughput = Throughput()
    best = best_checkpoint(folder) if plan.config.keep == "best" and pools.can_validate else None
    callbacks: list[Callback] = [
        throughput,
        *([] if phase is Phase.FINETUNE else [CollapseWatch()]),
        MetricsFile(folder / "metrics.jsonl", throughput),
        ModelAfterEpochs(folder, tuple(keep_epochs), provenance),
        *([best] if best else []),
        last_checkpoint(folder),  # after the best one, whose state it holds
        *([ProgressBar()] if progress else []),
    ]
    trainer = build_trainer(folder, experiment.machine, plan, callbacks, progress=progress)
    fit(trainer, module, ClipStreams(frame_store, pools, experiment, plan), checkpoint, folder, provenance)
    best_accuracy = take_best(module, best)
    seconds = time.perf_counter() - started
    if trainer.is_global_zero:
        save_model(folder / "model.safetensors", module.model, provenance=provenance | {"seconds": seconds})
        write_json(folder / "environment.json", environment | {"seconds": seconds})
    return TrainingRun(folder, folder / "model.safetensors", best_accuracy, seconds)


def _initial_model(phase: Phase, store: FrameStore, experiment: Experiment, init: str | Path | None) -> Recogniser:
    class_names = () if phase is Phase.PRETRAIN else store.class_names
    dropout = experiment.objective.dropout
    clips = asdict(experiment.clips)
    if init is None or str(init) == KINETICS:
        objective = experiment.objective
        model = build_recogniser(
            experiment.model,
            class_names,
            clips=clips,
            # A head that nothing trains would only guess, and a control of it would look like a result.
            speed_head=phase is not Phase.FINETUNE and objective.speed.weight > 0,
            num_speeds=num_speeds(objective, experiment.clips),
            dropout=dropout,
        )
        if init is not None:
            load_kinetics_weights(model.encoder, "DEFAULT")
        return model
    model = load_model(init)
    # The weights decide the architecture: a recipe for another one would be silently ignored otherwise.
    if model.encoder.config != experiment.model:
        raise ValueError(
            f"{init} has the encoder {model.encoder.config}, the recipe asks for {experiment.model}; "
            f"use the recipe that it was trained with, or set --model.* to match"
        )
    if class_names and model.class_names != class_names:
        model = model.with_classes(class_names, dropout=dropout)
    model.clips = clips
    return model.train()
