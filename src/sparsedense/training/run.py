"""The three trainings as one function each: a store in, a run folder with a model file out."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from sparsedense.config import Experiment, load_experiment, save_experiment
from sparsedense.data.store import FrameStore
from sparsedense.models.encoder import load_kinetics_weights
from sparsedense.models.model_file import load_model, save_model
from sparsedense.models.recogniser import Recogniser, build_recogniser
from sparsedense.training.callbacks import MetricsFile, ModelAfterEpochs, ProgressBar, Throughput
from sparsedense.training.clip_streams import ClipStreams, video_pools
from sparsedense.training.machine import describe_environment, resolve_channels_last, resolve_precision
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.quiet import quieten_lightning

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


class RunFolderError(Exception):
    """A run folder that holds a run already, or none to resume; the message says what to do."""


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
    """Learn an encoder without labels, by speed and consistency: the curriculum's first third."""
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
        experiment: the settings; the recipe `paper` if not given.
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
    experiment = experiment or load_experiment("paper")
    frame_store, folder = FrameStore(store), Path(out)
    plan = TrainingPlan(phase, getattr(experiment, phase.value), experiment.objective)
    pools = video_pools(frame_store, experiment, phase)
    checkpoint = _prepare_folder(folder, resume=resume, overwrite=overwrite)
    seed_everything(experiment.seed, workers=True, verbose=False)
    model = _initial_model(phase, frame_store, experiment, init)
    save_experiment(experiment, folder / "config.yaml")
    environment = _describe(frame_store, pools.too_short) | {
        "phase": phase.value,
        "init": None if init is None else str(init),
    }
    _write_json(folder / "environment.json", environment)
    started = time.perf_counter()

    channels_last = resolve_channels_last(experiment.machine)
    module = SparseDenseModule(model, experiment, plan, channels_last=channels_last)
    if channels_last:
        module.to(memory_format=torch.channels_last_3d)
    provenance = environment | {"experiment": asdict(experiment)}
    throughput = Throughput()
    has_validation = phase is not Phase.PRETRAIN and len(pools.validation) > 0
    best = _best_checkpoint(folder) if has_validation else None
    callbacks: list[Callback] = [throughput, MetricsFile(folder / "metrics.jsonl", throughput)]
    callbacks += [ModelAfterEpochs(folder, tuple(keep_epochs), provenance), _last_checkpoint(folder)]
    callbacks += [best] if best else []
    callbacks += [ProgressBar()] if progress else []
    trainer = _trainer(folder, experiment, plan, callbacks, progress=progress)
    _fit(trainer, module, ClipStreams(frame_store, pools, experiment, plan), checkpoint, folder, provenance)
    best_accuracy = _take_best(module, best)
    seconds = time.perf_counter() - started
    if trainer.is_global_zero:
        save_model(folder / "model.safetensors", module.model, provenance=provenance | {"seconds": seconds})
        _write_json(folder / "environment.json", environment | {"seconds": seconds})
    return TrainingRun(folder, folder / "model.safetensors", best_accuracy, seconds)


def _prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Make the folder; the checkpoint to go on from, if any."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if resume:
        if not checkpoint.is_file():
            raise RunFolderError(f"{folder}: there is no checkpoints/last.ckpt to resume; run without --resume")
        return checkpoint
    metrics = folder / "metrics.jsonl"
    if metrics.exists() and not overwrite:
        raise RunFolderError(f"{folder} holds a run already; choose another --out, or pass --resume or --overwrite")
    for stale in (metrics, checkpoint, *folder.glob("checkpoints/best*.ckpt")):
        stale.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return None


def _initial_model(phase: Phase, store: FrameStore, experiment: Experiment, init: str | Path | None) -> Recogniser:
    class_names = () if phase is Phase.PRETRAIN else store.class_names
    dropout = experiment.objective.dropout
    clips = asdict(experiment.clips)
    if init is None or str(init) == KINETICS:
        model = build_recogniser(experiment.model, class_names, clips=clips, dropout=dropout)
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


def _trainer(
    folder: Path, experiment: Experiment, plan: TrainingPlan, callbacks: list[Callback], *, progress: bool
) -> Trainer:
    machine = experiment.machine
    return Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        precision=resolve_precision(machine),  # type: ignore[arg-type]
        max_epochs=plan.config.epochs,
        gradient_clip_val=plan.config.gradient_clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder, name="tensorboard", version=""),
        default_root_dir=folder,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,  # DrawSampler shares the draws itself
        reload_dataloaders_every_n_epochs=1,  # each epoch draws anew, and the curriculum changes the pool
    )


def _fit(
    trainer: Trainer,
    module: SparseDenseModule,
    streams: ClipStreams,
    checkpoint: Path | None,
    folder: Path,
    provenance: dict[str, Any],
) -> None:
    """Train; on Ctrl-C write the weights as they are before stopping."""
    try:
        trainer.fit(module, datamodule=streams, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning ends the program itself after Ctrl-C. The last finished epoch's checkpoint is on disk by then.
        if trainer.is_global_zero:
            interrupted = provenance | {"interrupted_in_epoch": trainer.current_epoch}
            save_model(folder / "model.safetensors", module.model, provenance=interrupted)
        raise KeyboardInterrupt from None


def _last_checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="last",
        save_top_k=1,
        enable_version_counter=False,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
    )


def _best_checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor="validation_accuracy",
        mode="max",
        save_top_k=1,
        enable_version_counter=False,
    )


def _take_best(module: SparseDenseModule, best: ModelCheckpoint | None) -> float | None:
    """Put the best epoch's weights into the module where validation chose one."""
    if best is None or not best.best_model_path:
        return None
    checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    return None if best.best_model_score is None else float(best.best_model_score)


def _describe(store: FrameStore, too_short: int) -> dict[str, Any]:
    splits = {str(split): len(store.videos(split=str(split))) for split in sorted(set(store.splits.tolist()))}
    return describe_environment() | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "store": {
            "name": store.path.name,
            "videos": len(store.videos()),
            "classes": len(store.class_names),
            "splits": splits,
            "too_short": too_short,
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
