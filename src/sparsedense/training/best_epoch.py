"""The weights of the epoch with the best validation accuracy."""

from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from sparsedense.training.checkpoint_files import (
    BEST,
    is_whole,
    list_checkpoints,
    read_checkpoint,
    remove_checkpoints,
    warn_of_disk,
    write_checkpoint,
)
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.sharding import whole_state


class BestEpoch(Checkpoint):
    """Keeps the model's weights of the epoch with the best validation accuracy, the first of several.

    Args:
        folder: of the checkpoints.

    Attributes:
        accuracy: the best so far, None before the first validation.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.accuracy: float | None = None
        self._file: Path | None = None
        self._unwritten: dict[str, Tensor] | None = None
        self._epoch = -1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's weights where none was better."""
        assert isinstance(pl_module, SparseDenseModule)
        accuracy = float(trainer.callback_metrics["validation_accuracy"])
        if self.accuracy is None or accuracy > self.accuracy:
            self.accuracy, self._epoch, self._file = accuracy, trainer.current_epoch, None
            weights = whole_state(pl_module.model)
            self._unwritten = {name: value.detach().cpu().clone() for name, value in weights.items()}
        if self._unwritten is not None and trainer.is_global_zero:
            self._write()

    def weights(self) -> dict[str, Tensor] | None:
        """The model's weights of the best epoch; None where there is none, and in all processes but the first."""
        if self._unwritten is None and self._file is not None:
            return cast(dict[str, Tensor], read_checkpoint(self._file)["weights"])
        return self._unwritten

    def remove_old(self, epoch: int, *, keep: int) -> None:
        """Delete what no kept state refers to: states of different epochs have different best epochs, or the same."""
        reached = [path for number, path in list_checkpoints(self._folder, BEST) if number <= epoch]
        kept = {self._file, *reached[:keep]}
        remove_checkpoints(self._folder, BEST, keep=[path for path in kept if path is not None])

    def state_dict(self) -> dict[str, Any]:
        """Which epoch is the best, and the name of its file; its weights where they could not be written."""
        name = None if self._file is None else self._file.name
        return {"accuracy": self.accuracy, "epoch": self._epoch, "file": name, "unwritten": self._unwritten}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            OSError: the best weights so far are not there any more.
        """
        self.accuracy, self._epoch = state_dict["accuracy"], state_dict["epoch"]
        self._unwritten = state_dict["unwritten"]
        self._file = None if state_dict["file"] is None else self._folder / state_dict["file"]
        if self._file is not None and not is_whole(self._file):
            raise OSError(
                f"{self._file}, the weights of the best epoch so far, is damaged or missing; put it back, or begin "
                f"anew with --overwrite"
            )

    def _write(self) -> None:
        try:
            self._file = write_checkpoint(self._folder, BEST, self._epoch, {"weights": self._unwritten})
        except OSError as error:
            warn_of_disk(self._folder, error)  # tried again after the next epoch
        else:
            self._unwritten = None
