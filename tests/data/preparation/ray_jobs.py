"""A file of its own, which the nodes of a Ray cluster import."""

from __future__ import annotations

import os
import time


def squared_with_mishaps(number: int) -> int:
    """A job that kills its process, one that gets no further, and one that is refused."""
    if number == 3:
        os._exit(1)
    if number == 5:
        time.sleep(100)
    if number == 99:
        raise OSError("disk full at 99")
    return number * number


def told(number: int, reason: str) -> str:
    return f"{number}: {reason}"


def squared_slowly(number: int) -> int:
    time.sleep(0.3)
    return number * number
