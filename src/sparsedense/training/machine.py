"""What this machine can do: precision, memory layout, and a description of it for the run's folder."""

import ctypes
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sparsedense.config import MachineConfig
from sparsedense.models.encoder import R2PLUS1D, EncoderConfig
from sparsedense.models.precision import cpu_name, faster_dtype
from sparsedense.processes import current_launch

_WORKERS_OF_A_GPU = 8  # at most
_LONG_NAMES = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_NARROW = 0.5  # width below which channels-last pays in float32 on a CPU
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_INT = 2**31 - 1


def resolve_precision(config: MachineConfig) -> str:
    """Lightning's name of the precision to train with.

    `auto` is bfloat16 autocast where the device is faster in it (`models.precision.faster_dtype`).
    """
    if config.precision != "auto":
        return _LONG_NAMES.get(config.precision, config.precision)
    device = torch.device("cuda" if uses_cuda(config) else "cpu")
    return "bf16-mixed" if faster_dtype(device) == torch.bfloat16 else "32-true"


def resolve_channels_last(config: MachineConfig, encoder: EncoderConfig) -> bool:
    """Whether tensors lie channels-last.

    On a CPU in float32 that pays for narrow networks, whose few channels leave the blocked kernels half empty, and with
    AVX-512 for R(2+1)D of any width, whose convolutions are then those of pictures (docs/training_speed.md). With AVX2
    a layer of 64 to 144 channels on 16x56x56, as at width 1, took 2.4 times as long backward as in the contiguous
    layout. `sparsedense tune` measures both.
    """
    if config.channels_last != "auto":
        return config.channels_last
    ours = encoder.backbone == R2PLUS1D
    pays = ours and (encoder.width < _NARROW or torch.backends.cpu.get_cpu_capability() == "AVX512")
    return pays or uses_cuda(config) or "bf16" in resolve_precision(config)


def resolve_fused_optimiser(config: MachineConfig, *, clips_gradients: bool = False) -> bool:
    """Whether one kernel updates all weights."""
    if config.fused_optimiser != "auto":
        return config.fused_optimiser
    # Lightning refuses to clip, with any 16-bit precision, what a fused optimiser might have to unscale.
    precision = resolve_precision(config)
    return precision != "16-mixed" and not (clips_gradients and precision == "bf16-mixed")


def check_accelerator(config: MachineConfig) -> None:
    """Refuse an accelerator that this machine lacks.

    Raises:
        ValueError: it is not there, or Lightning does not know its name.
    """
    from lightning.pytorch.accelerators import AcceleratorRegistry

    name = config.accelerator
    kinds = {"auto": ["cpu"], "gpu": ["cuda", "mps"]}.get(name, [name])
    known = [AcceleratorRegistry[kind]["accelerator"] for kind in kinds if kind in AcceleratorRegistry]
    if not any(accelerator.is_available() for accelerator in known):
        raise ValueError(f"--machine.accelerator {name}: no such device was found on this machine; use cpu or auto")


def prepare_process(config: MachineConfig) -> None:
    """Set the number of threads and how memory is kept; call it before the first tensor is made.

    A step frees its activations and the next one asks for as much. glibc gives large blocks back to the system each
    time, and on a virtual machine fetching 200 MB of fresh pages can take ten times as long as filling them. Kept, they
    are fetched once.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.keep_freed_memory and sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(option, _LARGEST_INT)


def resolve_processes(config: MachineConfig) -> tuple[int, int]:
    """Processes on each machine, and machines.

    Raises:
        ValueError: the configuration asks for others than torchrun or srun started.
    """
    launch, asked = current_launch(), _device_count(config)
    nodes = None if config.num_nodes == "auto" else config.num_nodes
    if launch is None:
        every = max(1, torch.cuda.device_count()) if uses_cuda(config) else 1
        return asked or every, nodes or 1
    for name, wanted, started in (("devices", asked, launch.per_node), ("num_nodes", nodes, launch.num_nodes)):
        if wanted not in (None, started):
            raise ValueError(
                f"machine.{name} is {wanted}, but {launch.launcher} started {launch.num_processes} processes on "
                f"{launch.num_nodes} machines; leave machine.{name} at auto, or start {wanted}"
            )
    return launch.per_node, launch.num_nodes


def resolve_sync_batchnorm(config: MachineConfig) -> bool:
    """Whether several processes share BatchNorm's statistics.

    Each layer waits for all processes, twice a step. On two cores, the demo's recipe trains 0.9 times as fast in two
    processes as in one with it (benchmarks/processes.py).
    """
    if config.sync_batchnorm != "auto":
        return config.sync_batchnorm
    return config.strategy == "fsdp" or uses_cuda(config)


def resolve_workers(config: MachineConfig) -> int:
    """Processes that read clips beside each training process.

    On its only core a worker would but take turns with the network, and in a group all would wait for that.
    """
    if config.num_workers != "auto":
        return config.num_workers
    cores = cores_per_process(resolve_processes(config)[0])
    return min(_WORKERS_OF_A_GPU if uses_cuda(config) else 1, max(0, cores - 1))


def cores_per_process(processes_per_node: int) -> int:
    """Cores of each of the processes of this machine, where they share evenly what they do not have to themselves."""
    cores, launch = available_cores(), current_launch()
    if launch is None or launch.launcher != "srun":
        return cores // processes_per_node
    # srun binds each process to cores of its own, leaves those of the job to all of them, or, without affinity and
    # cgroups, those of the whole machine. The mask of this process does not tell which; that it lacks some of the job's
    # cores on this machine does. No process has more than were asked for it.
    of_process = int(os.environ.get("SLURM_CPUS_PER_TASK", "0"))
    of_job = int(os.environ.get("SLURM_CPUS_ON_NODE", of_process * processes_per_node))
    share = cores if cores < of_job else cores // processes_per_node
    return min(share, of_process or share)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device_count(config: MachineConfig) -> int | None:
    """Number of devices that the configuration names, in Lightning's ways to name them; none for all there are."""
    devices = str(config.devices).strip()
    if devices in ("auto", "-1"):
        return None
    return int(devices) if devices.isdigit() else len([device for device in devices.split(",") if device])


def uses_cuda(config: MachineConfig) -> bool:
    """Whether the run will be on a CUDA device."""
    return config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def describe_environment() -> dict[str, Any]:
    """Versions, machine, job and command, as written to `environment.json`."""
    launch = current_launch()
    return {
        **{name: version(name) for name in ("sparsedense", "torch", "torchvision", "lightning", "av")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "job": None if launch is None else launch.job,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
