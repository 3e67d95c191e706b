import errno
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sparsedense.config import MachineConfig
from sparsedense.models.model_file import read_provenance
from sparsedense.training import checkpoints as checkpoints_module
from sparsedense.training.checkpoint_files import STATE, list_checkpoints, write_checkpoint
from sparsedense.training.checkpoints import Checkpoints, DurableCheckpoints
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.run import TrainingRun, pretrain
from sparsedense.training.stop_requests import StopRequests
from tests.conftest import tiny_experiment
from tests.training.test_resume import assert_same_run


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which has its jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def signal_in_step(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, *numbers: int) -> None:
    training_step = SparseDenseModule.training_step

    def signalled(self: SparseDenseModule, clips: Any, batch_index: int) -> Tensor:
        if (self.current_epoch, batch_index) == (epoch, batch):
            for number in numbers:
                os.kill(os.getpid(), number)
        return training_step(self, clips, batch_index)

    monkeypatch.setattr(SparseDenseModule, "training_step", signalled)


@pytest.mark.parametrize(
    ("number", "place", "step"),
    [(signal.SIGINT, (0, 0), 1), (signal.SIGTERM, (1, 1), 5), (signal.SIGUSR1, (0, 2), 3)],
)
def test_asked_to_stop_a_training_ends_its_step_and_goes_on_later(
    squares_path: Path,
    pretrained: TrainingRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    place: tuple[int, int],
    step: int,
) -> None:
    """Three steps an epoch: in the first step of all, inside the second epoch, in the last step of the first."""
    queue = tmp_path / "bin" / "scontrol"
    queue.parent.mkdir()
    queue.write_text(f"#!/bin/sh\necho $@ > {tmp_path / 'queued'}\n")
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", str(queue.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with monkeypatch.context() as patch:
        signal_in_step(patch, *place, number)
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as stopped:
            pretrain(squares_path, tmp_path / "run", tiny_experiment(), progress=False)
    if number != signal.SIGINT:
        assert stopped.value.code == 128 + number  # type: ignore[attr-defined]
    assert {each: signal.getsignal(each) for each in before} == before
    assert list_checkpoints(tmp_path / "run" / "checkpoints", STATE)[0].number == step
    assert read_provenance(tmp_path / "run" / "model.safetensors")["interrupted_in_epoch"] == place[0]
    queued = tmp_path / "queued"
    assert queued.exists() is (number == signal.SIGUSR1)
    assert not queued.exists() or queued.read_text() == "requeue 4711\n"
    resumed = pretrain(squares_path, tmp_path / "run", tiny_experiment(), resume=True, progress=False)
    assert_same_run(pretrained.path, resumed.path)


def test_ctrl_c_twice_stops_at_once(squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal_in_step(monkeypatch, 0, 1, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pretrain(squares_path, tmp_path / "run", tiny_experiment(), progress=False)
    assert not list_checkpoints(tmp_path / "run" / "checkpoints", STATE), "the step was not ended"


def test_a_full_disk_stops_no_training(
    squares_path: Path, pretrained: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def filling(folder: Path, kind: str, number: int, content: dict[str, Any]) -> Path:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        return write_checkpoint(folder, kind, number, content)

    monkeypatch.setattr(checkpoints_module, "write_checkpoint", filling)
    folder = tmp_path / "run" / "checkpoints"
    told = rf"no checkpoint could be written to {folder}: No space left on device \([\d,]+ MB are free on its disk\)"
    with pytest.warns(UserWarning, match=told):
        run = pretrain(squares_path, tmp_path / "run", tiny_experiment(), progress=False)
    assert [step for step, _ in list_checkpoints(folder, STATE)] == [3], "the good one is still there"
    assert_same_run(pretrained.path, run.path)
    monkeypatch.undo()
    again = pretrain(squares_path, tmp_path / "run", tiny_experiment(), resume=True, progress=False)
    assert_same_run(pretrained.path, again.path)


class StandIn:
    """A trainer as far as the callback looks at one."""

    def __init__(self, folder: Path, *, other_says: tuple[float, float] | None = None) -> None:
        self.folder, self.global_step, self.current_epoch, self.accumulate_grad_batches = folder, 0, 0, 1
        self.is_global_zero, self.world_size, self.max_epochs = True, 1 if other_says is None else 2, 3
        self.files = DurableCheckpoints()
        reduce = lambda tensor, reduce_op: tensor + torch.tensor(other_says)  # noqa: E731
        self.strategy = SimpleNamespace(reduce=reduce, root_device="cpu")

    def save_checkpoint(self, folder: Path) -> None:
        self.files.save_checkpoint({"global_step": self.global_step}, folder)


def callback(trainer: StandIn, **machine: Any) -> Checkpoints:
    return Checkpoints(trainer.folder, MachineConfig(**machine), trainer.files, StopRequests(), {})


def steps_written(made: Checkpoints, trainer: Any, steps: int) -> list[int]:
    seen = []
    for step in range(1, steps + 1):
        trainer.global_step = step
        made.on_train_batch_start(trainer, None, None, step)  # type: ignore[arg-type]
        seen += [step] if list_checkpoints(trainer.folder, STATE)[:1] and trainer.files.written is not None else []
        trainer.files.written = None
    return seen


def test_a_state_is_written_every_so_many_steps_and_the_newest_are_kept(tmp_path: Path) -> None:
    trainer = StandIn(tmp_path)
    assert steps_written(callback(trainer, checkpoint_steps=3, checkpoints_kept=2), trainer, 10) == [3, 6, 9]
    assert [step for step, _ in list_checkpoints(tmp_path, STATE)] == [9, 6]


def test_states_of_a_future_that_was_left_do_not_count(tmp_path: Path) -> None:
    for step in (2, 40, 50):
        write_checkpoint(tmp_path, STATE, step, {})
    trainer = StandIn(tmp_path)
    steps_written(callback(trainer, checkpoint_steps=5, checkpoints_kept=2), trainer, 5)
    assert [step for step, _ in list_checkpoints(tmp_path, STATE)] == [5, 2]


def test_nothing_is_written_between_the_parts_of_an_accumulated_step(tmp_path: Path) -> None:
    trainer = StandIn(tmp_path)
    trainer.accumulate_grad_batches = 4
    assert steps_written(callback(trainer, checkpoint_steps=1), trainer, 9) == [4, 8]


@pytest.mark.parametrize(("cost_seconds", "every"), [(0.0, 60.0), (0.3, 60.0), (1.2, 120.0)])
def test_a_slow_disk_makes_states_rarer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost_seconds: float, every: float
) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    trainer = StandIn(tmp_path)
    made, save, times = callback(trainer, checkpoint_minutes=1.0), trainer.save_checkpoint, []

    def slow(folder: Path) -> None:
        nonlocal now
        times.append(now)
        save(folder)
        now += cost_seconds

    monkeypatch.setattr(trainer, "save_checkpoint", slow)
    for step in range(2000):
        now += 0.5
        trainer.global_step = step
        made.on_train_batch_start(trainer, None, None, 1)  # type: ignore[arg-type]
    gaps = [later - earlier - cost_seconds for earlier, later in pairwise(times)]
    assert gaps
    assert all(every - 1e-6 <= gap < every + 1 for gap in gaps)
    assert made.cost()["share"] <= 0.011
    assert made.cost()["written"] == len(times)


def test_all_processes_write_when_one_says_so(tmp_path: Path) -> None:
    for other, expected in (((0.0, 0.0), []), ((0.0, 1.0), [1, 2])):
        trainer = StandIn(tmp_path / str(len(expected)), other_says=other)
        assert steps_written(callback(trainer, checkpoint_minutes=1000.0), trainer, 2) == expected


@pytest.mark.parametrize("wrong", [{"checkpoint_minutes": -1.0}, {"checkpoint_steps": 0}, {"checkpoints_kept": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MachineConfig(**wrong)


@pytest.mark.parametrize(("first", "own"), [("step-2", "step-1"), ("step-2", None), (None, "step-1")])
def test_processes_that_see_other_files_do_not_go_on(tmp_path: Path, first: str | None, own: str | None) -> None:
    entered: list[int] = []
    made = Checkpoints(
        tmp_path,
        MachineConfig(),
        DurableCheckpoints(),
        StopRequests(),
        {},
        begins_from=None if own is None else Path(own),
        enter=lambda: entered.append(1),
    )
    stand_in: Any = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda _: first), global_rank=1)
    with pytest.raises(RuntimeError, match=rf"process 1 from {own or 'the beginning'}: not all machines see the same"):
        made.setup(stand_in, Any, "fit")  # type: ignore[arg-type]
    assert not entered, "nothing may be deleted yet"
    stand_in.strategy.broadcast = lambda name: name
    made.setup(stand_in, Any, "fit")  # type: ignore[arg-type]
    assert entered
