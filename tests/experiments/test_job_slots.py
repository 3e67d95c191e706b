"""Jobs in processes of their own. The work is light, so that a process starts quickly."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sparsedense.experiments.job_slots import JobFailedError, JobSlot, job_slots, run_jobs


@dataclass(frozen=True)
class Job:
    name: str
    needs: str | None = None
    action: str = "return"


def work(job: Job) -> str:
    if job.action == "raise":
        raise ValueError(f"{job.name} does not work")
    if job.action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.action == "sleep":
        time.sleep(60)
    return os.environ.get("SLOT", "") or job.name


def outcomes(jobs: list[Job], slots: list[JobSlot]) -> dict[str, str | BaseException]:
    found: dict[str, str | BaseException] = {}

    def finished(job: Job, outcome: str | BaseException) -> None:
        assert job.name not in found
        found[job.name] = outcome

    run_jobs(jobs, work, slots, finished=finished, poll_seconds=0.05)
    return found


def test_a_job_that_fails_takes_only_those_that_need_it_with_it() -> None:
    jobs = [
        Job("pretrain", action="raise"), Job("other"), Job("finetune", needs="pretrain"),
        Job("report", needs="finetune"), Job("free", needs="done before"), Job("after", needs="other"),
    ]  # fmt: skip
    with job_slots([{}], isolate=False) as slots:
        found = outcomes(jobs, slots)
    assert isinstance(found["pretrain"], ValueError)
    assert str(found["finetune"]) == "not tried, because it needs pretrain, which failed"
    assert str(found["report"]) == "not tried, because it needs finetune, which failed"
    assert [found[name] for name in ("other", "free", "after")] == ["other", "free", "after"]


def test_a_job_waits_for_the_one_that_it_needs_and_no_more_run_than_there_are_slots() -> None:
    ended, running, most = list[str](), list[str](), 0
    lock = threading.Lock()

    def noted(job: Job) -> str:
        nonlocal most
        with lock:
            assert job.needs is None or job.needs in ended
            running.append(job.name)
            most = max(most, len(running))
        time.sleep(0.01)
        with lock:
            running.remove(job.name)
            ended.append(job.name)
        return job.name

    jobs = [Job(str(number), needs=str(number - 4) if number >= 4 else None) for number in reversed(range(12))]
    seen: list[int] = []
    failures: list[str | BaseException] = []

    def finished(job: Job, outcome: str | BaseException) -> None:
        failures.extend([outcome] if isinstance(outcome, BaseException) else [])

    with job_slots([{}, {}, {}], isolate=False) as slots:
        run_jobs(jobs, noted, slots, finished=finished, watch=lambda now: seen.append(len(now)), poll_seconds=0.05)
    assert failures == []
    assert sorted(ended) == sorted(job.name for job in jobs)
    assert most == 3
    assert max(seen) == 3


def test_a_process_that_dies_leaves_the_others_and_its_slot_usable() -> None:
    jobs = [Job("a", action="die"), Job("b"), Job("c", needs="b"), Job("d")]
    with job_slots([{"SLOT": "first"}, {"SLOT": "second"}]) as slots:
        found = outcomes(jobs, slots)
    assert isinstance(found["a"], JobFailedError)
    assert "its process died" in str(found["a"])
    assert {found[name] for name in "bcd"} <= {"first", "second"}
    assert os.environ.get("SLOT") is None, "the job ran in this process"


def test_leaving_by_an_error_ends_the_processes_at_once() -> None:
    started, calls = time.monotonic(), list[object]()

    def stop(running: object) -> None:
        calls.append(running)
        if len(calls) > 3:  # by then the job runs
            raise KeyboardInterrupt

    jobs = [Job("long", action="sleep")]
    with pytest.raises(KeyboardInterrupt), job_slots([{}]) as slots:
        run_jobs(jobs, work, slots, finished=lambda job, outcome: None, watch=stop, poll_seconds=0.2)
    assert time.monotonic() - started < 30


CHILD = """
import os, sys, time
from pathlib import Path
from sparsedense.experiments.job_slots import job_slots, run_jobs
from tests.experiments.test_job_slots import Job

def beat(job):
    while True:
        Path(sys.argv[1]).write_text(str(time.monotonic()))
        time.sleep(0.05)

if __name__ == "__main__":
    with job_slots([{}]) as slots:
        run_jobs([Job("beat")], beat, slots, finished=lambda job, outcome: None)
"""


def test_a_job_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script, heart = tmp_path / "script.py", tmp_path / "heart"
    script.write_text(CHILD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, str(script), str(heart)], env=environment)
    try:
        wait_until(heart.exists)
    finally:
        parent.kill()
        parent.wait()

    def is_still() -> bool:
        last = heart.read_text()
        time.sleep(0.5)
        return heart.read_text() == last

    wait_until(is_still)


def wait_until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
