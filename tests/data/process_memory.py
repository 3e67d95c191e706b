"""Memory of processes on Linux, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

HAS_PROC = Path("/proc/self/smaps_rollup").exists()


def children() -> list[int]:
    """Process ids of this process's children."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def anonymous_mb(pid: int | None = None) -> float:
    """Memory of a process that is no file's: what grows where something leaks; mapped shards do not count."""
    lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
