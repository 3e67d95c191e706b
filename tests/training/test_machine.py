import platform
import subprocess
import sys
from typing import Any

import pytest
import torch

from sparsedense.config import MachineConfig
from sparsedense.models import precision
from sparsedense.models.encoder import EncoderConfig
from sparsedense.processes import Launch
from sparsedense.training import machine
from sparsedense.training.machine import (
    check_accelerator,
    describe_environment,
    resolve_channels_last,
    resolve_fused_optimiser,
    resolve_precision,
    resolve_processes,
    resolve_workers,
    uses_cuda,
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, cuda_bf16: bool = False, cpu_bf16: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or cuda_bf16
    )
    monkeypatch.setattr(precision, "cpu_gains_by_bfloat16", lambda: cpu_bf16)


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bfloat16_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    expected = "bf16-mixed" if native else "32-true"
    pretend(monkeypatch, cuda=False, cpu_bf16=native)
    assert resolve_precision(MachineConfig()) == expected
    pretend(monkeypatch, cuda=True, cuda_bf16=native, cpu_bf16=not native)
    assert resolve_precision(MachineConfig()) == expected
    assert resolve_precision(MachineConfig(accelerator="cpu")) == ("32-true" if native else "bf16-mixed")


def test_a_precision_that_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, cpu_bf16=True)
    assert resolve_precision(MachineConfig(precision="32-true")) == "32-true"


def test_channels_last_goes_with_a_gpu_bfloat16_avx512_or_a_narrow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = EncoderConfig(), EncoderConfig(width=0.25)
    pretend(monkeypatch, cuda=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert resolve_channels_last(MachineConfig(), wide)
    assert not resolve_channels_last(MachineConfig(), EncoderConfig(backbone="r3d_18"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not resolve_channels_last(MachineConfig(), wide)
    assert resolve_channels_last(MachineConfig(), narrow)
    assert not resolve_channels_last(MachineConfig(channels_last=False), narrow)
    assert resolve_channels_last(MachineConfig(precision="bf16-mixed"), wide)
    assert resolve_channels_last(MachineConfig(channels_last=True), wide)
    pretend(monkeypatch, cuda=True)
    assert resolve_channels_last(MachineConfig(), wide)
    assert not resolve_channels_last(MachineConfig(channels_last=False), wide)
    assert not resolve_channels_last(MachineConfig(accelerator="cpu"), wide)


def test_the_optimiser_is_fused_but_with_scaled_gradients() -> None:
    assert resolve_fused_optimiser(MachineConfig(precision="bf16-mixed"))
    assert resolve_fused_optimiser(MachineConfig(precision="32-true"))
    assert not resolve_fused_optimiser(MachineConfig(precision="16-mixed"))
    assert not resolve_fused_optimiser(MachineConfig(precision="bf16-mixed"), clips_gradients=True)
    assert resolve_fused_optimiser(MachineConfig(precision="32-true"), clips_gradients=True)
    assert not resolve_fused_optimiser(MachineConfig(fused_optimiser=False))


PAGE_FAULTS = """
import resource, sys
import torch
from sparsedense.config import MachineConfig
from sparsedense.training.machine import prepare_process
prepare_process(MachineConfig(threads=1, keep_freed_memory=sys.argv[1] == "keep"))
def step():
    blocks = [torch.ones(10_000_000) for _ in range(3)]  # 40 MB: glibc takes no such block from its heap by itself
for _ in range(8):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, torch.get_num_threads())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators decide for themselves")
def test_memory_that_a_step_frees_serves_the_next() -> None:
    faults = {}
    for how in ("keep", "give"):
        out = subprocess.run(
            [sys.executable, "-c", PAGE_FAULTS, how], check=True, capture_output=True, text=True
        ).stdout.split()
        faults[how], threads = map(int, out)
        assert threads == 1
    assert faults["keep"] < 20
    assert faults["give"] > 50 * max(faults["keep"], 1)


def test_cuda_is_used_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    assert [uses_cuda(MachineConfig(accelerator=name)) for name in ("auto", "gpu", "cuda", "cpu")] == [True] * 3 + [
        False
    ]
    pretend(monkeypatch, cuda=False)
    assert not uses_cuda(MachineConfig())


@pytest.mark.parametrize("name", ["gpu", "cuda", "mps", "gpus"])
def test_an_accelerator_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: False)
    monkeypatch.setattr("lightning.pytorch.accelerators.MPSAccelerator.is_available", lambda: False)
    told = f"^--machine.accelerator {name}: no such device was found on this machine; use cpu or auto$"
    with pytest.raises(ValueError, match=told):
        check_accelerator(MachineConfig(accelerator=name))


def test_an_accelerator_that_is_there_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: True)
    for name in ("auto", "cpu", "gpu", "cuda"):
        check_accelerator(MachineConfig(accelerator=name))


@pytest.mark.parametrize(("cores", "devices", "workers"), [(1, 1, 0), (2, 1, 1), (8, 1, 1), (2, 2, 0), (4, 2, 1)])
def test_clips_are_read_beside_the_network_where_there_is_a_core_for_it(
    monkeypatch: pytest.MonkeyPatch, cores: int, devices: int, workers: int
) -> None:
    monkeypatch.setattr(machine, "available_cores", lambda: cores)
    monkeypatch.setattr(machine, "current_launch", lambda: None)
    assert resolve_workers(MachineConfig(accelerator="cpu", devices=devices)) == workers
    assert resolve_workers(MachineConfig(accelerator="cpu", devices=devices, num_workers=3)) == 3


def test_a_gpu_is_fed_by_more_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    monkeypatch.setattr(machine, "current_launch", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    workers = []
    for cores in (2, 8, 64):
        monkeypatch.setattr(machine, "available_cores", lambda cores=cores: cores)
        workers.append(resolve_workers(MachineConfig()))
    assert workers == [0, 3, 8]


@pytest.mark.parametrize(
    ("visible", "variables", "workers"),
    [
        (8, {"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "32"}, 7),  # bound to cores of its own
        (32, {"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "32"}, 7),  # the job's cores, for all of them
        (128, {"SLURM_CPUS_PER_TASK": "6", "SLURM_CPUS_ON_NODE": "24"}, 5),  # those of the machine: no cgroups
        (8, {"SLURM_CPUS_PER_TASK": "8"}, 7),
        (1, {"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "4"}, 0),  # an srun that was not told the cores, bound
        (4, {"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "4"}, 0),  # the same, with its cores for all of them
        (6, {"SLURM_CPUS_ON_NODE": "24"}, 5),  # bound, asked for by --cpus-per-gpu
        (24, {"SLURM_CPUS_ON_NODE": "24"}, 5),
        (24, {}, 5),
    ],
)
def test_srun_tells_whether_the_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch, visible: int, variables: dict[str, str], workers: int
) -> None:
    pretend(monkeypatch, cuda=True)
    monkeypatch.setattr(machine, "available_cores", lambda: visible)
    monkeypatch.setattr(machine, "current_launch", lambda: Launch("srun", 0, 8, 2, "job", False))
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve_workers(MachineConfig()) == workers


def test_processes_of_torchrun_share_the_cores_of_a_slurm_task(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    monkeypatch.setattr(machine, "available_cores", lambda: 16)
    monkeypatch.setattr(machine, "current_launch", lambda: Launch("torchrun", 0, 8, 2, "job", False))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "16")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert resolve_workers(MachineConfig()) == 3


def test_the_environment_names_versions_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/sparsedense", "train", "store"])
    described = describe_environment()
    assert described["command"] == "sparsedense train store", "no path of the machine"
    assert described["torch"] == torch.__version__.split("+")[0] or described["torch"] == torch.__version__
    assert described["cores"] >= 1
    assert isinstance(described["gpu"], list)
    assert {"sparsedense", "torchvision", "lightning", "av", "python", "platform", "cpu"} <= set(described)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, (1, 1)), ({"devices": 2, "num_nodes": 3}, (2, 3)), ({"devices": "0,1"}, (2, 1)), ({"devices": "3"}, (3, 1))],
)
def test_the_configuration_tells_the_processes(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(machine, "current_launch", lambda: None)
    assert resolve_processes(MachineConfig(accelerator="cpu", **settings)) == expected


def test_all_gpus_are_used_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    monkeypatch.setattr(machine, "current_launch", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert resolve_processes(MachineConfig()) == (4, 1)
    assert resolve_processes(MachineConfig(devices=1)) == (1, 1)
    assert resolve_processes(MachineConfig(accelerator="cpu")) == (1, 1)


def test_a_launcher_decides_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch("torchrun", 0, 8, 2, "job", False)
    monkeypatch.setattr(machine, "current_launch", lambda: launch)
    assert resolve_processes(MachineConfig()) == (4, 2)
    assert resolve_processes(MachineConfig(devices=4, num_nodes=2)) == (4, 2)
    with pytest.raises(ValueError, match=r"machine\.devices is 2, but torchrun started 8 processes on 2 machines"):
        resolve_processes(MachineConfig(devices=2))
    with pytest.raises(ValueError, match=r"machine\.num_nodes is 1"):
        resolve_processes(MachineConfig(num_nodes=1))
