from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from sparsedense.data.ordered_pool import ordered_map


def squared_after_a_while(number: int) -> int:
    time.sleep(0.02 if number % 5 == 0 else 0)
    return number * number


def squared_unless_seven(number: int) -> int:
    if number == 7:
        os._exit(1)  # as a decoder does that a broken file crashes
    return number * number


def refused(number: int) -> int:
    raise OSError(f"disk full at {number}")


def minus_one(number: int) -> int:
    return -1


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    results = ordered_map(squared_after_a_while, range(40), workers=workers, crashed=minus_one)
    assert list(results) == [number * number for number in range(40)]


def test_a_job_that_kills_its_process_costs_only_its_own_result() -> None:
    results = list(ordered_map(squared_unless_seven, range(20), workers=2, crashed=minus_one))
    assert results == [-1 if number == 7 else number * number for number in range(20)]


def test_jobs_are_taken_only_as_needed() -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = ordered_map(squared_after_a_while, jobs(), workers=2, crashed=minus_one)
    next(results)
    assert taken < 40
    results.close()  # type: ignore[attr-defined]


def test_errors_of_the_function_come_through() -> None:
    with pytest.raises(OSError, match="disk full at 0"):
        list(ordered_map(refused, range(3), workers=2, crashed=minus_one))
