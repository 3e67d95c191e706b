"""When a training writes its state: every few minutes or steps, after each epoch, and when it is asked to stop.

A state is written between two steps of the optimiser, where nothing is half done. With the settings, the seed and the
store it decides all that comes: clips, augmentation and dropout are drawn by the position in the epoch, not by what ran
before.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from sparsedense.config import MachineConfig
from sparsedense.training.best_epoch import BestEpoch
from sparsedense.training.checkpoint_files import (
    STATE,
    list_checkpoints,
    read_checkpoint,
    remove_checkpoints,
    warn_of_disk,
    write_checkpoint,
)
from sparsedense.training.stop_requests import StopRequests, TrainingStopped, requeue_job

COST_SHARE = 0.01  # of the time goes into checkpoints inside epochs, at most: where writing is slow, they are rarer


class DurableCheckpoints(CheckpointIO):
    """Lightning's way to the files of `checkpoint_files`; a disk that is full stops no training.

    Attributes:
        written: the last file, None where writing failed.
    """

    def __init__(self) -> None:
        self.written: Path | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ANN401 - Lightning's signature
        """Write a state into a folder; called in the first process only."""
        self.written = None
        try:
            self.written = write_checkpoint(Path(path), STATE, checkpoint["global_step"], checkpoint)
        except OSError as error:
            warn_of_disk(Path(path), error)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = None,  # noqa: ANN401 - Lightning's signature
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a state."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a state."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Writes states and keeps the newest.

    Args:
        folder: of the files.
        machine: how often, and how many are kept.
        files: what writes them; the trainer's plugin.
        requests: whether to stop.
        settings: of the run, to compare with when it goes on.
        best: the best epoch's weights, kept as long as a state refers to them.
        begins_from: the state that this process goes on from, if any.
        enter: called once all processes are known to go on from the same; only then may an old run be deleted.
        seconds_before: time that the run took before it was interrupted.
    """

    def __init__(
        self,
        folder: Path,
        machine: MachineConfig,
        files: DurableCheckpoints,
        requests: StopRequests,
        settings: dict[str, Any],
        *,
        best: BestEpoch | None = None,
        begins_from: Path | None = None,
        enter: Callable[[], None] = lambda: None,
        seconds_before: float = 0.0,
    ) -> None:
        self._folder, self._machine, self._files, self._requests = folder, machine, files, requests
        self._settings, self._best, self._seconds_before = settings, best, seconds_before
        self._begins_from = None if begins_from is None else begins_from.name
        self._enter = enter
        self._started = self._last_ended = time.perf_counter()
        self._batches_done = 0
        self._slowest_seconds, self._written, self._seconds = 0.0, 0, 0.0

    @property
    def run_seconds(self) -> float:
        """Time of the whole run, what it took before an interruption included."""
        return self._seconds_before + time.perf_counter() - self._started

    def cost(self) -> dict[str, float]:
        """Checkpoints of this process: how many, how long they took, and the share of its time."""
        share = self._seconds / max(time.perf_counter() - self._started, 1e-9)
        return {"written": self._written, "seconds": round(self._seconds, 3), "share": round(share, 5)}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that all processes go on from the same state: each has looked into the folder by itself.

        Raises:
            RuntimeError: they do not.
        """
        first = trainer.strategy.broadcast(self._begins_from)
        if first != self._begins_from:
            raise RuntimeError(
                f"the first process goes on from {first or 'the beginning'}, process {trainer.global_rank} from "
                f"{self._begins_from or 'the beginning'}: not all machines see the same files in {self._folder}; wait "
                f"until they do, then start again"
            )
        self._enter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen; only now, because Lightning sets handlers of its own before.

        States of later steps than the run goes on from are damaged, or it would have gone on from them.
        """
        if trainer.is_global_zero:
            reached = [path for number, path in list_checkpoints(self._folder, STATE) if number <= trainer.global_step]
            remove_checkpoints(self._folder, STATE, keep=reached)
        self._requests.listen()
        self._last_ended = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 - Lightning's signature
        """Write where it is time to, or stop: all of the steps before is done here, the slow copies included."""
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        stop, due = self._agreed(trainer, self._requests.signal is not None, self._is_due(trainer))
        if stop or due:
            self._batches_done = batch_idx
            self._write(trainer)
            self._batches_done = 0
        if stop:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, after all that belongs to the epoch; stop where it was asked for."""
        self._write(trainer)
        stop, _ = self._agreed(trainer, self._requests.signal is not None, False)
        if stop and trainer.max_epochs is not None and trainer.current_epoch + 1 < trainer.max_epochs:
            self._stop(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add where the run is and what it was made with."""
        batches = self._batches_done
        epoch = trainer.current_epoch + (0 if batches else 1)
        place = {"epoch": epoch, "batches": batches, "seconds": self.run_seconds}
        checkpoint["run"] = {"settings": self._settings, **place}
        if batches:
            _forget_begun_batch(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"])

    def _is_due(self, trainer: Trainer) -> bool:
        every = self._machine.checkpoint_steps
        if every is not None and trainer.global_step % every == 0:
            return True
        wanted = max(60 * self._machine.checkpoint_minutes, self._slowest_seconds / COST_SHARE)
        return time.perf_counter() - self._last_ended >= wanted

    def _write(self, trainer: Trainer) -> None:
        started = time.perf_counter()
        trainer.save_checkpoint(self._folder)
        if trainer.is_global_zero and self._files.written is not None:
            self._remove_old(trainer.global_step, trainer.current_epoch)
            self._written += 1
        self._last_ended = time.perf_counter()
        seconds = self._last_ended - started
        self._seconds += seconds
        self._slowest_seconds = max(self._slowest_seconds, seconds)

    def _remove_old(self, step: int, epoch: int) -> None:
        """Keep the newest; those of later steps, from before the run went on at an earlier one, do not count."""
        reached = [path for number, path in list_checkpoints(self._folder, STATE) if number < step]
        kept = [self._files.written, *reached[: self._machine.checkpoints_kept - 1]]
        remove_checkpoints(self._folder, STATE, keep=[path for path in kept if path is not None])
        if self._best is not None:
            self._best.remove_old(epoch, keep=self._machine.checkpoints_kept)

    def _agreed(self, trainer: Trainer, stop: bool, due: bool) -> tuple[bool, bool]:
        """What any of the processes says: their clocks and signals differ, but they must write together."""
        if trainer.world_size == 1:
            return stop, due
        said = torch.tensor([float(stop), float(due)], device=trainer.strategy.root_device)
        total = trainer.strategy.reduce(said, reduce_op="sum")
        assert isinstance(total, torch.Tensor)
        anyone_stop, anyone_due = (total > 0).tolist()
        return anyone_stop, anyone_due

    def _stop(self, trainer: Trainer) -> None:
        by = self._requests.signal or signal.SIGTERM  # another process was asked
        if by.name == "SIGUSR1" and trainer.is_global_zero:
            requeue_job()
        raise TrainingStopped(by)


def _forget_begun_batch(progress: dict[str, Any]) -> None:
    """Make Lightning's counters those of the end of the batch before, with which it goes on as if nothing had been.

    The state is written when the next batch is at hand and nothing has been done with it.
    """
    for count in (progress["total"], progress["current"]):
        count["ready"] = count["started"] = count["completed"]
    progress["is_last_batch"] = False
