"""The Lightning Trainer of a run: precision, checkpoints, loggers, and what happens on Ctrl-C."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from sparsedense.config import MachineConfig
from sparsedense.models.model_file import save_model
from sparsedense.training.clip_streams import ClipStreams
from sparsedense.training.machine import resolve_precision
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase, TrainingPlan


def build_trainer(
    folder: Path, machine: MachineConfig, plan: TrainingPlan, callbacks: list[Callback], *, progress: bool
) -> Trainer:
    """The trainer of a run in a folder, as the machine's and the phase's settings say."""
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
        # The curriculum changes the pool of videos; elsewhere the loader and its workers serve all epochs.
        reload_dataloaders_every_n_epochs=1 if plan.phase is Phase.TRAIN else 0,
    )


def fit(
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


def last_checkpoint(folder: Path) -> ModelCheckpoint:
    """Keeps the state after the last finished epoch, to resume from."""
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="last",
        save_top_k=1,
        enable_version_counter=False,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
    )


def best_checkpoint(folder: Path) -> ModelCheckpoint:
    """Keeps the state of the epoch with the best validation accuracy."""
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor="validation_accuracy",
        mode="max",
        save_top_k=1,
        enable_version_counter=False,
    )


def take_best(module: SparseDenseModule, best: ModelCheckpoint | None) -> float | None:
    """Put the best epoch's weights into the module where validation chose one."""
    if best is None or not best.best_model_path:
        return None
    checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    return None if best.best_model_score is None else float(best.best_model_score)
