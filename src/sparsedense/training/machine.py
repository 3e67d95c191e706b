"""What this machine can do: precision, memory layout, and a description of it for the run's folder."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sparsedense.config import MachineConfig


def resolve_precision(config: MachineConfig) -> str:
    """Lightning's name of the precision to train with.

    `auto` is bfloat16 autocast where the arithmetic is native: a CUDA device that supports it, or a CPU with
    AVX512-BF16 or AMX. Elsewhere bfloat16 is emulated and several times slower than float32.
    """
    if config.precision != "auto":
        return config.precision
    if uses_cuda(config):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if cpu_computes_bfloat16() else "32-true"


def resolve_channels_last(config: MachineConfig) -> bool:
    """Whether tensors lie channels-last."""
    if config.channels_last != "auto":
        return config.channels_last
    return uses_cuda(config) or "bf16" in resolve_precision(config)


def uses_cuda(config: MachineConfig) -> bool:
    """Whether the run will be on a CUDA device."""
    return config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def cpu_computes_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively."""
    # The public function came with torch 2.7; before it there was only the private one.
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported())


def describe_environment() -> dict[str, Any]:
    """Versions, machine and command, as written to `environment.json`."""
    return {
        **{name: version(name) for name in ("sparsedense", "torch", "torchvision", "lightning", "av")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
