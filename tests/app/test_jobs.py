import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparsedense.app.jobs import Job, JobQueue, Step
from sparsedense.app.limits import Limits, RefusedError
from sparsedense.video.errors import UnreadableVideoError

Make = Callable[[str], Job]


class Gate:
    """Work that goes on when it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = threading.Event()

    def __call__(self, job: Job, step: Step) -> None:
        self.begun.append(job.name)
        step.begin("waiting for the gate")
        while not self.open.wait(0.005):
            step.check(0.5)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def queue(gate: Gate) -> Iterator[JobQueue]:
    made = JobQueue(gate, Limits(waiting=2, kept=2, leave_seconds=0.1))
    yield made
    gate.open.set()
    made.close()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def job(name: str) -> Job:
        (tmp_path / name).mkdir()
        made = Job(name=name, folder=tmp_path / name, source=tmp_path / name / "upload")
        made.watch()
        return made

    return job


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that within 5 s"
        time.sleep(0.005)


def test_one_runs_and_the_others_see_their_place(queue: JobQueue, gate: Gate, make: Make) -> None:
    jobs = [make(name) for name in "abc"]
    for job in jobs:
        queue.add(job)
        until(lambda: bool(gate.begun))
    assert [queue.place(job) for job in jobs] == [0, 1, 2]
    assert [job.state for job in jobs] == ["working", "waiting", "waiting"]
    assert not queue.is_idle.is_set()
    gate.open.set()
    until(lambda: all(job.state == "done" for job in jobs))
    assert gate.begun == ["a", "b", "c"]
    until(queue.is_idle.is_set)


def test_too_many_may_not_wait(queue: JobQueue, gate: Gate, make: Make) -> None:
    queue.add(make("a"))
    until(lambda: gate.begun == ["a"])
    queue.add(make("b"))
    queue.add(make("c"))
    with pytest.raises(RefusedError, match="2 videos wait already") as refused:
        queue.add(make("d"))
    assert refused.value.status == 503


def test_what_nobody_watches_any_more_is_stopped_and_the_next_one_begins(
    queue: JobQueue, gate: Gate, make: Make
) -> None:
    first, second, third = make("a"), make("b"), make("c")
    for job in (first, second, third):
        queue.add(job)
        until(lambda: gate.begun == ["a"])
    second.leave()  # while it waits
    until(lambda: queue.place(third) == 1)  # who has left does not count
    first.leave()  # while it runs
    until(lambda: gate.begun == ["a", "c"])
    assert (first.state, second.state) == ("cancelled", "cancelled")


def test_who_comes_back_soon_loses_nothing(queue: JobQueue, gate: Gate, make: Make) -> None:
    job = make("a")
    queue.add(job)
    until(lambda: gate.begun == ["a"])
    job.leave()
    job.watch()
    time.sleep(0.2)
    assert job.state == "working"


def test_a_removed_job_stops_and_its_files_go(queue: JobQueue, gate: Gate, make: Make) -> None:
    job = make("a")
    queue.add(job)
    until(lambda: gate.begun == ["a"])
    queue.remove(job)
    until(lambda: not job.folder.exists())
    with pytest.raises(RefusedError, match="not here any more") as refused:
        queue.find(job.job_id)
    assert refused.value.status == 404


def test_the_oldest_go_when_too_many_are_kept(queue: JobQueue, gate: Gate, make: Make) -> None:
    gate.open.set()
    jobs = []
    for name in "abcd":
        jobs.append(make(name))
        queue.add(jobs[-1])
        until(lambda: jobs[-1].state == "done")
        jobs[-1].leave()
    assert [job.folder.exists() for job in jobs] == [False, False, True, True]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RefusedError(422, "It is broken."), "It is broken."),
        (UnreadableVideoError("/secret/place/upload", "no frame"), "The video cannot be read: no frame."),
        (ZeroDivisionError("/secret/place"), "The analysis failed by a fault of the program"),
    ],
)
def test_a_failure_is_told_without_paths_and_the_next_job_runs(error: Exception, message: str, make: Make) -> None:
    def work(job: Job, _step: Step) -> None:
        if job.name == "a":
            raise error

    queue = JobQueue(work, Limits())
    first, second = make("a"), make("b")
    queue.add(first)
    queue.add(second)
    until(lambda: second.state == "done")
    queue.close()
    assert first.state == "failed"
    assert message in first.message
    assert "secret" not in first.message


def test_closing_stops_what_runs(make: Make) -> None:
    gate = Gate()
    queue = JobQueue(gate, Limits())
    job = make("a")
    queue.add(job)
    until(lambda: gate.begun == ["a"])
    queue.close()
    assert job.state == "cancelled"
