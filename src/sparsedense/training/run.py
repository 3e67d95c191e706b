"""The three trainings as one function each: a store in, a run folder with a model file out."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback

from sparsedense.config import Experiment, load_experiment, save_experiment
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.models.encoder import load_kinetics_weights
from sparsedense.models.model_file import MODEL_NAME, load_model, save_model
from sparsedense.models.recogniser import Recogniser, build_recogniser
from sparsedense.processes import is_main_process
from sparsedense.training.best_epoch import BestEpoch
from sparsedense.training.busy_cores import BusyCores
from sparsedense.training.callbacks import (
    CollapseWatch,
    MetricsFile,
    ModelAfterEpochs,
    ProgressBar,
    StepSeeds,
    Throughput,
)
from sparsedense.training.checkpoints import Checkpoints, DurableCheckpoints
from sparsedense.training.clip_streams import (
    ClipStreams,
    batch_share,
    video_pools,
    warn_of_short_videos,
    warn_of_untaught_classes,
)
from sparsedense.training.engine import build_trainer, fit
from sparsedense.training.machine import (
    check_accelerator,
    describe_environment,
    prepare_process,
    resolve_channels_last,
    resolve_processes,
)
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.quiet import quieten_lightning
from sparsedense.training.run_folder import checkpoint_folder, describe_store, look_into_folder, write_json
from sparsedense.training.run_settings import place_to_go_on, run_settings
from sparsedense.training.sharding import whole_state
from sparsedense.training.stop_requests import StopRequests

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
    resume: bool | Literal["auto"]
    overwrite: bool
    keep_epochs: Sequence[int]
    progress: bool


def train(
    store: str | Path, out: str | Path, experiment: Experiment | None = None, **options: Unpack[RunOptions]
) -> TrainingRun:
    """Run the paper's curriculum of three phases on labelled and unlabelled videos together (Dave et al., 2020)."""
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
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    keep_epochs: Sequence[int] = (),
    progress: bool = True,
) -> TrainingRun:
    """Train one phase and write its run folder.

    Args:
        phase: which training.
        store: folder written by `prepare`, or the URL of one; its shards are copied as they are read.
        out: the run's folder.
        experiment: the settings; the recipe `sparsedense` if not given.
        init: model file whose encoder (and speed head) to start from, or `kinetics` for torchvision's weights.
        resume: go on from the last checkpoint in `out`; `auto` starts anew where there is none.
        overwrite: delete a run that is in `out`.
        keep_epochs: also keep the model after these many epochs, as `model-epoch-NNN.safetensors`.
        progress: show a progress bar.

    Raises:
        RunFolderError: `out` holds a run already, or, with `resume`, no checkpoint.
        SettingsChangedError: with `resume`, the run was begun with other settings, another store or another model.
        StoreError, ModelFileError, ValueError: the store, the model or a setting does not do.
    """
    quieten_lightning()
    experiment = experiment or load_experiment()
    prepare_process(experiment.machine)
    frame_store, folder = open_store(store), Path(out)
    plan = TrainingPlan(phase, getattr(experiment, phase.value), experiment.objective)
    pools = video_pools(frame_store, experiment, phase)
    check_accelerator(experiment.machine)
    batch_share(plan.config.batch_size, math.prod(resolve_processes(experiment.machine)))  # refused before all else
    seed_everything(experiment.seed, workers=True, verbose=False)
    model = _initial_model(phase, frame_store, experiment, init)
    settings = run_settings(phase, experiment, frame_store, init)
    entry = look_into_folder(folder, resume=resume, overwrite=overwrite)
    place = place_to_go_on(entry.checkpoint, settings, folder)
    environment = describe_environment() | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "store": describe_store(frame_store) | {"too_short": pools.too_short, "list_mismatches": pools.list_mismatches},
        "phase": phase.value,
        "init": None if init is None else str(init),
    }
    channels_last = resolve_channels_last(experiment.machine, experiment.model)
    module = SparseDenseModule(model, experiment, plan, channels_last=channels_last)
    if channels_last:
        module.to(memory_format=torch.channels_last_3d)
    provenance = environment | {"experiment": asdict(experiment)}
    best = BestEpoch(checkpoint_folder(folder)) if plan.config.keep == "best" and pools.can_validate else None

    def enter() -> None:
        entry.carry_out()  # deletes: after all that may be refused
        if is_main_process():
            save_experiment(experiment, folder / "config.yaml")
            write_json(folder / "environment.json", environment)
            warn_of_short_videos(pools, experiment)
            warn_of_untaught_classes(pools)

    files, requests = DurableCheckpoints(), StopRequests()
    checkpoints = Checkpoints(
        checkpoint_folder(folder),
        experiment.machine,
        files,
        requests,
        settings,
        best=best,
        begins_from=entry.checkpoint,
        enter=enter,
        seconds_before=place.seconds,
    )
    watching = _watching(phase, folder, experiment.seed, keep_epochs, provenance, progress=progress)
    callbacks = [*watching, *([best] if best else []), checkpoints]
    trainer = build_trainer(
        folder, experiment.machine, module, callbacks, files, first_step=place.step, progress=progress
    )
    streams = ClipStreams(frame_store, pools, experiment, plan, begin_at=(place.epoch, place.batches))
    fit(trainer, module, streams, entry.checkpoint, requests, folder, provenance)
    state = whole_state(module.model)
    seconds = checkpoints.run_seconds
    if trainer.is_global_zero:
        weights = state if best is None else best.weights() or state
        done = provenance | {"seconds": seconds}
        save_model(folder / MODEL_NAME, module.model, provenance=done, state=weights)
        done = {"seconds": seconds, "checkpoints": checkpoints.cost()}
        write_json(folder / "environment.json", environment | done)
    return TrainingRun(folder, folder / MODEL_NAME, None if best is None else best.accuracy, seconds)


def _watching(
    phase: Phase,
    folder: Path,
    seed: int,
    keep_epochs: Sequence[int],
    provenance: dict[str, Any],
    *,
    progress: bool,
) -> list[Callback]:
    """What measures a training and writes it down."""
    throughput = Throughput()
    return [
        StepSeeds(seed),
        throughput,
        BusyCores(),
        *([] if phase is Phase.FINETUNE else [CollapseWatch()]),
        MetricsFile(folder / "metrics.jsonl", throughput),
        ModelAfterEpochs(folder, tuple(keep_epochs), provenance),
        *([ProgressBar()] if progress else []),
    ]


def _initial_model(phase: Phase, store: FrameStore, experiment: Experiment, init: str | Path | None) -> Recogniser:
    class_names = () if phase is Phase.PRETRAIN else store.class_names
    objective, clips = experiment.objective, experiment.clips
    # A head that nothing trains would only guess, and a control of it would look like a result.
    trains_speed = phase is not Phase.FINETUNE and objective.speed.weight > 0
    speeds = num_speeds(objective, clips)
    if init is None or str(init) == KINETICS:
        model = build_recogniser(
            experiment.model,
            class_names,
            clips=asdict(clips),
            speed_head=trains_speed,
            num_speeds=speeds,
            dropout=objective.dropout,
        )
        if init is not None:
            load_kinetics_weights(model.encoder, "DEFAULT")
    else:
        model = _loaded_model(init, experiment, class_names)
        if trains_speed and (model.speed_head is None or model.speed_head.num_speeds != speeds):
            model = model.with_speeds(speeds)
    return model.train()


def _loaded_model(init: str | Path, experiment: Experiment, class_names: tuple[str, ...]) -> Recogniser:
    """The model of a file, with a classifier of the classes where there are any, and the recipe's clips and dropout."""
    model, dropout = load_model(init), experiment.objective.dropout
    # The weights decide the architecture: a recipe for another one would be silently ignored otherwise.
    if model.encoder.config != experiment.model:
        raise ValueError(
            f"{init} has the encoder {model.encoder.config}, the recipe asks for {experiment.model}; "
            f"use the recipe that it was trained with, or set --model.* to match"
        )
    if class_names and model.class_names != class_names:
        model = model.with_classes(class_names, dropout=dropout)
    elif class_names and model.classifier is not None:
        model.classifier = model.classifier.with_dropout(dropout)
    model.clips = asdict(experiment.clips)
    return model
