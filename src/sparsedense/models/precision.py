"""In which numbers a network computes: float32, or bfloat16 where the processor is faster in it."""

import platform
from functools import cache
from pathlib import Path

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def answering_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The numbers that a network computes its answers in.

    Args:
        precision: `float32`, `bfloat16`, or `auto` for the `faster_dtype`.
        device: where the network is.

    Raises:
        ValueError: the precision is none of these.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not known; use one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return faster_dtype(device)
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def faster_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CUDA device that supports it and on the CPUs that `cpu_gains_by_bfloat16` names, else float32.

    Elsewhere bfloat16 is emulated, and several times slower than float32.
    """
    if device.type == "cuda":
        gains = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        gains = device.type == "cpu" and cpu_gains_by_bfloat16()
    return torch.bfloat16 if gains else torch.float32


def cpu_gains_by_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 faster than float32: one with AMX, or AMD's with AVX512-BF16.

    Intel's cores with AVX512-BF16 and without AMX have half the units for it: on a Xeon of family 6, model 207, whose
    virtual machine hides AMX, a product of 1024x1024 matrices runs at 106 GFLOP/s in bfloat16 and at 201 in float32 on
    one core (torch 2.14), and every convolution of our networks is slower too.
    """
    # The public function came with torch 2.7; before it there was only the private one, which knows no AMX.
    if not hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu._is_avx512_bf16_supported()) and not _is_intel()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16")) or (bool(capabilities.get("avx512_bf16")) and not _is_intel())


@cache
def cpu_name() -> str:
    """What the processor calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _is_intel() -> bool:
    return "intel" in cpu_name().lower()
