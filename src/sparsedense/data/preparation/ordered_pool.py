"""A function over jobs in worker processes: results in the order of the jobs, a bounded number under way.

Each process is known by its job. So one that dies, or gets no further, costs this job alone, and is replaced.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ctypes import c_uint64
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_PENDING_PER_WORKER = 8  # enough that one long video does not stop the other workers
_START_SECONDS = 300.0  # to start a process and import the function on a machine that is very busy
_beats: Any = None  # in a worker: its counter of signs of life, shared with the parent


def ordered_map(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int,
    failed: Callable[[Job, str], Result],
    stall_seconds: float = float("inf"),
) -> Iterator[Result]:
    """Results of a function, in the order of the jobs.

    Args:
        function: a function that worker processes can import.
        jobs: what to run it on; taken as needed.
        workers: number of processes; 0 runs in this process, where nothing can be said about the death of a job.
        failed: the result of a job whose process died (as in a decoder that a broken file crashes) or was ended; it is
            told which.
        stall_seconds: a process whose job neither ends nor calls `still_alive` for so long is ended.

    Raises:
        RuntimeError: worker processes cannot be started.
        Exception: what the function raised, when the result of this job is due.
    """
    if workers == 0:
        yield from map(function, jobs)
        return
    pool = ProcessPool(function, workers=workers, failed=failed, stall_seconds=stall_seconds)
    try:
        yield from pool.run(iter(jobs))
    finally:
        pool.close()


def still_alive() -> None:
    """A sign of life of a job that takes long; outside a worker it does nothing."""
    if _beats is not None:
        _beats.value += 1


@dataclass(slots=True, eq=False)
class _Task(Generic[Job, Result]):
    """A job under way, and what became of it: a result, or an error."""

    job: Job
    done: bool = False
    result: Result | None = None
    error: Exception | None = None


class _Worker(Generic[Job, Result]):
    """A process and the task that it works on."""

    def __init__(self, function: Callable[[Job], Result]) -> None:
        # Spawned, not forked: a fork of a process with running threads (torch, an interactive session) may lock up.
        context = get_context("spawn")
        self._beats = context.RawValue(c_uint64, 0)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function, self._beats), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.task: _Task[Job, Result] | None = None
        self._seen = (0, time.monotonic())

    def give(self, task: _Task[Job, Result]) -> None:
        self.task = task
        self._seen = (self._beats.value, time.monotonic())
        with suppress(BrokenPipeError, ConnectionResetError):  # it died while it was idle; the end of its pipe says so
            self.pipe.send(task.job)

    def stalled_for(self) -> float:
        """Seconds since the last sign of life."""
        count, now = self._beats.value, time.monotonic()
        if count != self._seen[0]:
            self._seen = (count, now)
        return now - self._seen[1]

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessPool(Generic[Job, Result]):
    """Worker processes, and the tasks whose results were not given out yet; see `ordered_map` for the arguments."""

    def __init__(
        self,
        function: Callable[[Job], Result],
        *,
        workers: int,
        failed: Callable[[Job, str], Result],
        stall_seconds: float,
    ) -> None:
        self._function = function
        self._failed = failed
        self._stall_seconds = stall_seconds
        self._pending: deque[_Task[Job, Result]] = deque()
        self._workers: list[_Worker[Job, Result]] = [_Worker(function) for _ in range(workers)]

    def run(self, jobs: Iterator[Job]) -> Iterator[Result]:
        """Results in the order of the jobs; when all are given out, there may be a next run."""
        more = True
        while True:
            more = more and self._hand_out(jobs)
            while self._pending and self._pending[0].done:
                yield _outcome(self._pending.popleft())
            if not more and not self._pending:
                return
            self._wait()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()

    def _hand_out(self, jobs: Iterator[Job]) -> bool:
        """Give jobs to idle workers; False when there are no more jobs."""
        for worker in self._workers:
            full = len(self._pending) >= len(self._workers) * _PENDING_PER_WORKER
            if not worker.ready or worker.task is not None or full:
                continue
            try:
                task: _Task[Job, Result] = _Task(next(jobs))
            except StopIteration:
                return False
            self._pending.append(task)
            worker.give(task)
        return True

    def _wait(self) -> None:
        """Wait for results, for the death of a process, or until it is time to look for stalled ones."""
        seconds = min(5.0, self._stall_seconds / 4)
        ready = connection.wait([worker.pipe for worker in self._workers], timeout=seconds)
        for position, worker in enumerate(self._workers):
            if worker.pipe in ready:
                self._receive(position, worker)
            elif worker.task is not None and worker.stalled_for() > self._stall_seconds:
                self._replace(position, worker, f"no frame for {self._stall_seconds:g} seconds")
            elif not worker.ready and worker.stalled_for() > _START_SECONDS:
                raise RuntimeError(f"a worker process did not start within {_START_SECONDS:g} seconds")

    def _receive(self, position: int, worker: _Worker[Job, Result]) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            if not worker.ready:
                raise RuntimeError(
                    "worker processes cannot be started; in a script, put the call under `if __name__ == '__main__':`, "
                    "or use workers=0"
                ) from None
            self._replace(position, worker, f"the decoder crashed ({_death(worker.process.exitcode)})")
            return
        if not worker.ready:
            worker.ready = True
        elif worker.task is not None:
            worker.task.result, worker.task.error = message
            worker.task.done = True
            worker.task = None

    def _replace(self, position: int, worker: _Worker[Job, Result], reason: str) -> None:
        """Put a new process in place of one that is dead or stuck, and settle its task."""
        worker.end()
        if worker.task is not None:
            worker.task.result = self._failed(worker.task.job, reason)
            worker.task.done = True
        self._workers[position] = _Worker(self._function)


def _outcome(task: _Task[Job, Result]) -> Result:
    if task.error is not None:
        raise task.error
    return task.result  # type: ignore[return-value]  # a task that is done has one


def _death(exit_code: int | None) -> str:
    """How a process ended: the name of the signal where there was one."""
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit status {exit_code}"


def _work(pipe: connection.Connection, function: Callable[[Any], Any], beats: Any) -> None:  # noqa: ANN401 - ctypes
    """What a worker process does: jobs in, results or errors out, until the parent ends it."""
    global _beats
    _beats = beats
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send("ready")
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        still_alive()
        message: tuple[Any, Exception | None]
        try:
            message = (function(job), None)
        except Exception as error:  # of any kind: it is raised again in the parent
            message = (None, error)
        pipe.send(message)


def _end_with_parent() -> None:
    """End a worker whose parent was killed, so that nothing goes on writing into a store that a new run takes over."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
