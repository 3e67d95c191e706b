"""A few jobs at a time, each in a process of its own, so that one that dies takes nothing with it.

A slot keeps its process from job to job, because starting one (importing torch) takes seconds. Nothing here imports it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, Protocol, TypeVar

POLL_SECONDS = 1.0  # how often the bar moves while no job ends

Result = TypeVar("Result")


class Runnable(Protocol):
    """What the slots need to know of a job."""

    @property
    def name(self) -> str:
        """Unique name."""

    @property
    def needs(self) -> str | None:
        """Name of the job whose result it needs, None where it needs none."""


class JobFailedError(RuntimeError):
    """A job that could not be done, because its process died or because the job that it needs failed."""


class JobSlot:
    """Room for one job at a time.

    Args:
        environment: environment variables of its process.
        isolate: in a process of its own; False takes a thread of this process, where none can be started.
    """

    def __init__(self, environment: Mapping[str, str], *, isolate: bool = True) -> None:
        self._environment, self._isolate = dict(environment), isolate
        self._executor: Executor | None = None
        self._process_id: int | None = None

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:  # noqa: ANN401 - the job's own
        """Start a job, in a new process where the last one died."""
        if self._executor is None:
            self._start()
        assert self._executor is not None
        return self._executor.submit(work, *arguments)

    def close(self, *, kill: bool = False) -> None:
        """Wait for the job, or end its process."""
        if kill:
            for child in active_children():
                if child.pid == self._process_id:
                    child.kill()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._process_id = None

    def _start(self) -> None:
        if not self._isolate:
            self._executor = ThreadPoolExecutor(1)
            return
        # Spawned, because a process that has used threads must not be forked.
        self._executor = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_begin_process, initargs=(self._environment,)
        )
        self._process_id = self._executor.submit(os.getpid).result()


def run_jobs(
    jobs: Sequence[Runnable],
    work: Callable[[Any], Result],
    slots: Sequence[JobSlot],
    *,
    finished: Callable[[Any, Result | BaseException], None],
    watch: Callable[[Sequence[Any]], None] = lambda running: None,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Do all jobs, a job after the one that it needs; one that fails does not stop the others.

    Args:
        jobs: in the order in which to start them. A job whose `needs` is not among them has what it needs.
        work: does a job; called in the slot's process, so it and the job must be picklable.
        slots: as many jobs run at a time.
        finished: told of each job and its result, or the exception that ended it.
        watch: told of the running jobs, again and again.
        poll_seconds: how often `watch` is called while no job ends.
    """
    waiting, unfinished = list(jobs), {job.name for job in jobs}
    failed: set[str] = set()
    free, running = list(slots), dict[Future[Result], tuple[Runnable, JobSlot]]()

    def end(job: Runnable, outcome: Result | BaseException) -> None:
        unfinished.discard(job.name)
        if isinstance(outcome, BaseException):
            failed.add(job.name)
        finished(job, outcome)

    while waiting or running:
        for job in [job for job in waiting if job.needs in failed]:
            waiting.remove(job)
            end(job, JobFailedError(f"not tried, because it needs {job.needs}, which failed"))
        for job in [job for job in waiting if job.needs not in unfinished][: len(free)]:
            waiting.remove(job)
            slot = free.pop()
            running[slot.submit(work, job)] = (job, slot)
        watch([job for job, _ in running.values()])
        for future in wait(running, timeout=poll_seconds, return_when=FIRST_COMPLETED).done:
            job, slot = running.pop(future)
            free.append(slot)
            outcome: Result | BaseException = _outcome(future, slot)
            end(job, outcome)


@contextmanager
def job_slots(environments: Sequence[Mapping[str, str]], *, isolate: bool = True) -> Iterator[list[JobSlot]]:
    """One slot for each environment; their processes end with the block, at once where it is left by an error."""
    slots = [JobSlot(environment, isolate=isolate) for environment in environments]
    complete = False
    try:
        yield slots
        complete = True
    finally:
        for slot in slots:
            slot.close(kill=not complete)  # Ctrl-C too: no process may go on writing


def _outcome(future: Future[Result], slot: JobSlot) -> Result | BaseException:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        slot.close()
        return JobFailedError(
            "its process died; the usual reason is too little memory: lower parallel_runs or the batch size"
        )
    return future.result() if error is None else error


def _begin_process(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process then
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave at once when the parent is killed: nobody would take the result, and a new start may do the job again."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
