from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsedense.data.preparation.ordered_pool import ordered_map, still_alive


def squared_after_a_while(number: int) -> int:
    time.sleep(0.02 if number % 5 == 0 else 0)
    return number * number


def squared_unless_seven(number: int) -> int:
    if number == 7:
        os._exit(1)  # as a decoder does that a broken file crashes
    if number == 11:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def slow_or_stuck(number: int) -> int:
    if number == 3:
        time.sleep(60)  # as a decoder that hangs
    for _ in range(12 if number == 5 else 0):  # slow, but it gets on
        time.sleep(0.1)
        still_alive()
    return number


def refused(number: int) -> int:
    raise OSError(f"disk full at {number}")


def told(number: int, reason: str) -> str:
    return f"{number}: {reason}"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    results = ordered_map(squared_after_a_while, range(40), workers=workers, failed=told)
    assert list(results) == [number * number for number in range(40)]


def test_a_job_that_kills_its_process_costs_only_its_own_result() -> None:
    results = list(ordered_map(squared_unless_seven, range(20), workers=2, failed=told))
    expected: list[object] = [number * number for number in range(20)]
    expected[7] = "7: the decoder crashed (exit status 1)"
    expected[11] = "11: the decoder crashed (SIGSEGV)"
    assert results == expected


def test_a_job_that_gets_no_further_is_ended_and_a_slow_one_is_not() -> None:
    results = ordered_map(slow_or_stuck, range(8), workers=2, failed=told, stall_seconds=0.6)
    assert list(results) == [0, 1, 2, "3: no frame for 0.6 seconds", 4, 5, 6, 7]


def test_jobs_are_taken_only_as_needed() -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = ordered_map(squared_after_a_while, jobs(), workers=2, failed=told)
    next(results)
    assert taken < 40
    results.close()  # type: ignore[attr-defined]


def test_errors_of_the_function_come_through() -> None:
    with pytest.raises(OSError, match="disk full at 0"):
        list(ordered_map(refused, range(3), workers=2, failed=told))


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from sparsedense.data.preparation.ordered_pool import ordered_map\n"
        "def work(number):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(ordered_map(work, [0], workers=1, failed=lambda job, reason: None))\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        if not _runs(worker):
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker went on without its parent")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False
