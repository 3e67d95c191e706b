"""The Lightning Trainer of a run: precision, checkpoints, loggers, and what happens when it is asked to stop."""

import signal
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from sparsedense.config import MachineConfig
from sparsedense.models.model_file import MODEL_NAME, save_model
from sparsedense.training.checkpoints import DurableCheckpoints
from sparsedense.training.clip_streams import ClipStreams
from sparsedense.training.machine import resolve_precision
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase
from sparsedense.training.sharding import whole_state
from sparsedense.training.stop_requests import StopRequests, TrainingStopped
from sparsedense.training.strategy import trainer_options


def build_trainer(
    folder: Path,
    machine: MachineConfig,
    module: SparseDenseModule,
    callbacks: list[Callback],
    files: DurableCheckpoints,
    *,
    first_step: int,
    progress: bool,
) -> Trainer:
    """The trainer of a run in a folder, as the machine's and the phase's settings say."""
    plan, options = module.plan, trainer_options(machine, module)
    return Trainer(
        accelerator=machine.accelerator,
        **(options | {"plugins": [files, *(options.get("plugins") or [])]}),
        precision=resolve_precision(machine),  # type: ignore[arg-type]
        max_epochs=plan.config.epochs,
        gradient_clip_val=plan.config.gradient_clip,
        accumulate_grad_batches=plan.config.accumulate,
        callbacks=callbacks,
        # What an interrupted run logged of steps that are done again is not shown.
        logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=first_step or None),
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
    requests: StopRequests,
    folder: Path,
    provenance: dict[str, Any],
) -> None:
    """Train; where it is asked to stop, write the weights as they are too.

    Raises:
        KeyboardInterrupt: by Ctrl-C.
        SystemExit: by another signal, with the status that the signal would have given.
    """
    try:
        with requests.handlers_restored():
            trainer.fit(module, datamodule=streams, ckpt_path=checkpoint, weights_only=True)
    except TrainingStopped as stopped:
        _save_interrupted(trainer, module, folder, provenance)
        if stopped.signal is signal.SIGINT:
            raise KeyboardInterrupt from None
        print(f"{stopped} after step {trainer.global_step}; the same command with --resume goes on", file=sys.stderr)
        raise SystemExit(128 + stopped.signal) from None
    except SystemExit:  # Lightning ends the program itself after a second Ctrl-C
        _save_interrupted(trainer, module, folder, provenance)
        raise KeyboardInterrupt from None


def _save_interrupted(trainer: Trainer, module: SparseDenseModule, folder: Path, provenance: dict[str, Any]) -> None:
    state = whole_state(module.model)
    if trainer.is_global_zero:
        interrupted = provenance | {"interrupted_in_epoch": trainer.current_epoch}
        save_model(folder / MODEL_NAME, module.model, provenance=interrupted, state=state)
