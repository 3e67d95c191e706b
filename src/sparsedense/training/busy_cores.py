"""Tells where other programs take the cores from a training on a CPU.

The threads of an operation wait for each other at its end. Where one of them has to give its core to another program
for a moment, all wait, spinning: with one other busy process on two cores the demo's recipe trained a tenth as fast
(docs/training_speed.md).
"""

import time
import warnings
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

LEAST_SECONDS = 5.0  # what is shorter says little: the system counts in hundredths of a second
_FREE_CORES = 0.3  # that others may take beyond the free ones: every system does a little all the time


class ProcessorTime(NamedTuple):
    """Seconds of processor time until a moment.

    Attributes:
        moment: of `time.perf_counter`.
        all_programs: on the cores that this process may use.
        own: of this process and its children, wherever they ran.
    """

    moment: float
    all_programs: float
    own: float


class BusyCores(Callback):
    """Warns, once in a training by one process, where its threads and other programs want more cores than there are."""

    def __init__(self) -> None:
        self._before: ProcessorTime | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        # A single thread waits for nobody; of several processes, each would take the others for other programs; and
        # where a quota limits this process, the cores that it sees are not those that it has.
        on_cpu = trainer.strategy.root_device.type == "cpu"
        if on_cpu and trainer.world_size == 1 and torch.get_num_threads() > 1 and not _has_quota():
            self._before = processor_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the time since then, or since the last look."""
        if self._before is None or time.perf_counter() - self._before.moment < LEAST_SECONDS:
            return
        now, cores, threads = processor_time(), len(_own_cores()), torch.get_num_threads()
        others = cores_of_others(self._before, now)
        self._before = now
        if threads + others > cores + _FREE_CORES:
            self._before = None
            warnings.warn(
                f"epoch {trainer.current_epoch}: other programs took {others:.1f} of the {cores} cores that the "
                f"{threads} threads of this training share. Threads that wait for each other are then many times as "
                f"slow; stop the other programs, or train with --machine.threads {max(1, int(cores - others))}",
                stacklevel=2,
            )


def processor_time() -> ProcessorTime:
    """The processor time used until now."""
    every, own = psutil.cpu_times(percpu=True), _own_cores()
    # Some containers list their cores alone, and number them anew.
    listed = [every[core] for core in own] if max(own) < len(every) else every
    # Not `guest`: it is part of `user`. Not `steal`: no program of this machine took it.
    names = ("user", "nice", "system", "irq", "softirq")
    busy = sum(getattr(core, name, 0.0) for core in listed for name in names)
    return ProcessorTime(time.perf_counter(), busy, _own_seconds())


def cores_of_others(before: ProcessorTime, after: ProcessorTime) -> float:
    """How many cores other programs used between two moments, on average."""
    used = (after.all_programs - before.all_programs) - (after.own - before.own)
    return max(0.0, used / (after.moment - before.moment))


def _has_quota(folder: Path = Path("/sys/fs/cgroup")) -> bool:
    """Whether a container's processor time is limited, by Linux's control groups of version 2 or 1."""
    for name, unlimited in (("cpu.max", "max"), ("cpu/cpu.cfs_quota_us", "-1")):
        try:
            quota = (folder / name).read_text().split()
        except OSError:
            continue
        return bool(quota) and quota[0] != unlimited
    return False


def _own_cores() -> list[int]:
    process = psutil.Process()
    # macOS binds no process to cores.
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(psutil.cpu_count() or 1))


def _own_seconds() -> float:
    process = psutil.Process()
    times = process.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system  # children that have ended
    for child in process.children(recursive=True):
        try:
            running = child.cpu_times()
        except psutil.NoSuchProcess:  # ended since: counted above from the next look on
            continue
        seconds += running.user + running.system + running.children_user + running.children_system
    return seconds
