import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from sparsedense.training import busy_cores
from sparsedense.training.busy_cores import BusyCores, ProcessorTime, cores_of_others, processor_time

MODULE = cast(LightningModule, None)


def trainer(epoch: int = 0, processes: int = 1, device: str = "cpu") -> Trainer:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return cast(Trainer, SimpleNamespace(current_epoch=epoch, world_size=processes, strategy=strategy))


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[ProcessorTime]:
    """What the callback reads, one after the other, on 4 cores with 4 threads."""
    told: list[ProcessorTime] = []

    def read() -> ProcessorTime:
        return told.pop(0)

    monkeypatch.setattr(busy_cores, "processor_time", read)
    monkeypatch.setattr(busy_cores, "_own_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(busy_cores, "_has_quota", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(time, "perf_counter", lambda: told[0].moment if told else 0.0)
    return told


def watch(trainings: Trainer, epochs: int) -> list[str]:
    watched = BusyCores()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched.on_train_start(trainings, MODULE)
        for _ in range(epochs):
            watched.on_train_epoch_end(trainings, MODULE)
    return [str(warning.message) for warning in caught]


def test_time_of_others_is_all_but_ones_own() -> None:
    assert cores_of_others(ProcessorTime(10, 100, 50), ProcessorTime(20, 140, 75)) == pytest.approx(1.5)
    assert cores_of_others(ProcessorTime(10, 100, 50), ProcessorTime(20, 110, 75)) == 0  # the clocks differ a little


def test_warns_once_with_what_to_do(moments: list[ProcessorTime]) -> None:
    moments += [ProcessorTime(0, 0, 0), ProcessorTime(10, 35, 20), ProcessorTime(20, 70, 40)]
    (message,) = watch(trainer(epoch=3), epochs=2)
    assert "epoch 3: other programs took 1.5 of the 4 cores" in message
    assert "--machine.threads 2" in message


def test_at_least_one_thread_is_advised(moments: list[ProcessorTime]) -> None:
    moments += [ProcessorTime(0, 0, 0), ProcessorTime(10, 39, 2)]
    (message,) = watch(trainer(), epochs=1)
    assert "--machine.threads 1" in message


def test_is_silent_where_others_do_little(moments: list[ProcessorTime]) -> None:
    moments += [ProcessorTime(0, 0, 0), ProcessorTime(10, 40, 38)]
    assert watch(trainer(), epochs=1) == []


def test_is_silent_where_cores_are_free(moments: list[ProcessorTime], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    moments += [ProcessorTime(0, 0, 0), ProcessorTime(10, 40, 20)]
    assert watch(trainer(), epochs=1) == []


def test_short_epochs_are_taken_together(moments: list[ProcessorTime]) -> None:
    # The first look, after 3 s, reads the clock alone.
    moments += [ProcessorTime(0, 0, 0), ProcessorTime(3, 10, 2)]
    watched = BusyCores()
    watched.on_train_start(trainer(), MODULE)
    watched.on_train_epoch_end(trainer(), MODULE)
    assert len(moments) == 1
    moments[0] = ProcessorTime(6, 20, 4)
    with pytest.warns(UserWarning, match=r"other programs took 2\.7"):
        watched.on_train_epoch_end(trainer(), MODULE)


@pytest.mark.parametrize(
    ("processes", "threads", "device", "quota"),
    [(2, 4, "cpu", False), (1, 1, "cpu", False), (1, 4, "cuda", False), (1, 4, "cpu", True)],
)
def test_looks_at_nothing_where_the_answer_would_not_help(
    monkeypatch: pytest.MonkeyPatch, processes: int, threads: int, device: str, quota: bool
) -> None:
    """Several processes, nobody who waits, the network on a GPU, a container with a share of the cores."""

    def never() -> ProcessorTime:
        raise AssertionError("must not be read")

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(busy_cores, "processor_time", never)
    monkeypatch.setattr(busy_cores, "_has_quota", lambda: quota)
    assert watch(trainer(processes=processes, device=device), epochs=2) == []


@pytest.mark.parametrize(
    ("name", "content", "limited"),
    [
        ("cpu.max", "max 100000\n", False),
        ("cpu.max", "200000 100000\n", True),
        ("cpu/cpu.cfs_quota_us", "-1\n", False),
        ("cpu/cpu.cfs_quota_us", "50000\n", True),
        ("memory.max", "max\n", False),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, name: str, content: str, limited: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert busy_cores._has_quota(tmp_path) is limited


def test_time_of_children_is_ones_own_while_they_run_and_afterwards() -> None:
    spin = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    before = processor_time()
    with subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = processor_time()
        child.communicate(b"\n")
    ended = processor_time()
    for after in (running, ended):
        assert after.own - before.own >= 0.45
        assert after.all_programs - before.all_programs >= 0.45


def test_a_child_that_has_just_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def cpu_times(self) -> Any:
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil.Process, "children", lambda _self, recursive: [Ended()])
    assert processor_time().own > 0


def test_cores_numbered_otherwise_than_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_cores, "_own_cores", lambda: [5, 4095])
    assert processor_time().all_programs > 0
