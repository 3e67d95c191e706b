"""What watches a training: throughput and waiting, the metrics file, the model file after chosen epochs."""

import contextlib
import json
import os
import random
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from torch import Tensor

from sparsedense.data.preparation.durable_files import complete_file, sync_file
from sparsedense.evaluation.representation import effective_rank, feature_std
from sparsedense.models.model_file import save_model
from sparsedense.training.gather import gather_rows
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.sharding import whole_state

_SPREAD = ("feature_std", "effective_rank")  # of the features, by `CollapseWatch`
COLLAPSED_RANK = 1.5  # a random network's features, all of one sign, have an effective rank of 3 and more


class StepSeeds(Callback):
    """Seeds every generator of random numbers before each batch, by the seed, the epoch, the batch and the process.

    So dropout, and whatever else draws at random, does not depend on what ran before: a run that goes on draws as the
    uninterrupted one.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        # Without devices torch would note, with a stack trace, how to seed them if they came: 1.5 ms a step.
        self._seed_torch = (
            torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
        )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 - Lightning's signature
        """Seed those of Python, NumPy and PyTorch."""
        key = (self._seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        first, second = np.random.SeedSequence(key).generate_state(2, np.uint64).tolist()
        random.seed(first)
        np.random.seed(second % 2**32)  # noqa: NPY002 - other libraries draw from it
        self._seed_torch(first)


class Throughput(Callback):
    """Measures clips per second and the share of the time that training waits for data, over each epoch.

    Waiting is the time between the end of a step and the start of the next: the loader's, seen from the network.
    """

    def __init__(self) -> None:
        self._epoch_started = self._step_ended = time.perf_counter()
        self._waited_seconds, self._clips = 0.0, 0
        self.epoch_summary: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        self._epoch_started = self._step_ended = time.perf_counter()
        self._waited_seconds, self._clips = 0.0, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 - Lightning's signature
        """Add the time since the last step ended."""
        self._waited_seconds += time.perf_counter() - self._step_ended

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401 - Lightning's signature
        batch_idx: int,
    ) -> None:
        """Count the step's clips and show the figures."""
        assert isinstance(pl_module, SparseDenseModule)
        clips = len(batch["dense"]) + len(batch.get("sparse", ()))
        self._clips += clips * trainer.world_size
        self._step_ended = time.perf_counter()
        seconds = max(self._step_ended - self._epoch_started, 1e-9)
        self.epoch_summary = {"clips_per_second": self._clips / seconds, "data_wait": self._waited_seconds / seconds}
        for name, value in self.epoch_summary.items():
            pl_module.log(name, value, prog_bar=True, on_step=True, on_epoch=False, batch_size=1)


class MetricsFile(Callback):
    """Appends a line of JSON for the training part and one for the validation part of each epoch.

    Args:
        path: the file, `metrics.jsonl` of the run.
        throughput: where clips per second and the share of waiting come from.
    """

    def __init__(self, path: Path, throughput: Throughput) -> None:
        self._path, self._throughput = path, throughput
        self._unwritten: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what an interrupted run wrote of epochs that will be done again, and a line that was cut short."""
        if trainer.is_global_zero and self._path.is_file():
            kept = [line for line in _whole_lines(self._path) if json.loads(line)["epoch"] < trainer.current_epoch]
            with complete_file(self._path) as draft:
                draft.write_text("".join(kept))
                sync_file(draft)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's means and schedule; Lightning calls this after the epoch's validation."""
        assert isinstance(pl_module, SparseDenseModule)
        means = pl_module.epoch_means.means()
        # In every process: what is asked for first is put together from all of them.
        metrics = {name: _number(value) for name, value in trainer.callback_metrics.items()}
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_metrics(means, step=trainer.global_step)
        weights, factors = pl_module.plan.weights(trainer.current_epoch), pl_module.plan.objective.weights()
        epoch = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        self._append(
            {"kind": "train", **epoch}
            | means
            | {name: metrics[name] for name in _SPREAD if name in metrics}
            | {f"weight_{name}": weight for name, weight in weights.items() if factors.get(name, 1.0) > 0}
            | {"learning_rate": pl_module.plan.rate(trainer.current_epoch)}
            | self._throughput.epoch_summary
        )
        prefix = "validation_"
        validated = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
        if validated:
            self._append({"kind": "validation", **epoch, **validated})
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Lines that a full disk has kept from being written."""
        return {"unwritten": self._unwritten}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self._unwritten = list(state_dict["unwritten"])

    def _append(self, record: dict[str, Any]) -> None:
        self._unwritten.append(json.dumps(record) + "\n")

    def _write(self) -> None:
        """Add the lines to the file, all or none; where the disk is full they wait for the next epoch."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        try:
            with self._path.open("a") as file:
                file.write("".join(self._unwritten))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # nothing was made, where the disk took not even the name
                os.truncate(self._path, size)
            warnings.warn(
                f"{self._path} could not be written ({error}); tried again after the next epoch", stacklevel=2
            )
        else:
            self._unwritten.clear()


def _whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


class CollapseWatch(Callback):
    """Measures after each epoch how many directions the features use, and warns where they have collapsed.

    The features are those of the dense clips of the epoch's last steps. Collapse shows in the first epochs, hours
    before a fine-tuning would tell.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log `feature_std` and `effective_rank`."""
        assert isinstance(pl_module, SparseDenseModule)
        features_ND = gather_rows(pl_module.recent_features())
        if len(features_ND) < 2:
            return
        std, rank = feature_std(features_ND), effective_rank(features_ND)
        pl_module.log_dict({"feature_std": std, "effective_rank": rank}, sync_dist=True)
        if rank < COLLAPSED_RANK and trainer.is_global_zero:
            warnings.warn(
                f"epoch {trainer.current_epoch}: the features use {rank:.2f} directions (effective rank) of "
                f"{features_ND.shape[1]}: they have collapsed, all clips look alike. Raise objective.contrast.weight "
                f"or objective.alignment.weight, or lower the learning rate",
                stacklevel=2,
            )


class ModelAfterEpochs(Callback):
    """Writes `model-epoch-NNN.safetensors` after the given numbers of epochs (1 is the first)."""

    def __init__(self, run: Path, epochs: tuple[int, ...], provenance: dict[str, Any]) -> None:
        self._run, self._epochs, self._provenance = run, frozenset(epochs), provenance

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file where this is one of the epochs."""
        assert isinstance(pl_module, SparseDenseModule)
        done = trainer.current_epoch + 1
        if done not in self._epochs:
            return
        state = whole_state(pl_module.model)
        if trainer.is_global_zero:
            path = self._run / f"model-epoch-{done:03d}.safetensors"
            save_model(path, pl_module.model, provenance=self._provenance | {"epochs_done": done}, state=state)


class ProgressBar(RichProgressBar):
    """Lightning's bar without the version number, with short names."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Loss, clips/s, share of waiting, accuracy."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        names = {"clips_per_second": "clips/s", "data_wait": "data wait", "validation_accuracy": "accuracy"}
        return {names.get(str(name), str(name)): value for name, value in items.items()}


def _number(value: Tensor | float) -> float:
    return float(value)
