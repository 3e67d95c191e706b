"""A function over jobs in worker processes: results in the order of the jobs, a bounded number under way."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_PENDING_PER_WORKER = 8  # enough that one long video does not stop the other workers


def ordered_map(
    function: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int, crashed: Callable[[Job], Result]
) -> Iterator[Result]:
    """Results of a function, in the order of the jobs.

    Args:
        function: a function that worker processes can import.
        jobs: what to run it on; taken as needed.
        workers: number of processes; 1 runs in this process.
        crashed: the result of a job whose process dies, as in a decoder that a broken file crashes. It is asked only
            for a job that dies in a process of its own; other jobs that were under way are run again.

    Raises:
        RuntimeError: worker processes cannot be started.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    pool = _OrderedPool(function, workers=workers, crashed=crashed)
    try:
        for job in jobs:
            pool.submit(job)
            if len(pool.pending) >= workers * _PENDING_PER_WORKER:
                yield pool.next_result()
        while pool.pending:
            yield pool.next_result()
    finally:
        pool.close()


class _OrderedPool(Generic[Job, Result]):
    """A process pool that gives results in order and survives the death of its processes."""

    def __init__(self, function: Callable[[Job], Result], *, workers: int, crashed: Callable[[Job], Result]) -> None:
        self._function = function
        self._workers = workers
        self._crashed = crashed
        self._executor = _start(workers)
        self.pending: deque[tuple[Job, Future[Result]]] = deque()

    def submit(self, job: Job) -> None:
        self.pending.append((job, self._future(job)))

    def next_result(self) -> Result:
        job, future = self.pending.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            # Some job under way killed its process and with it the pool. This one is tried alone, the others again.
            self._executor.shutdown()
            result = self._run_alone(job)
            self._executor = _start(self._workers)
            self.pending = deque(
                (job, future if _succeeded(future) else self._future(job)) for job, future in self.pending
            )
            return result

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)

    def _future(self, job: Job) -> Future[Result]:
        try:
            return self._executor.submit(self._function, job)
        except BrokenProcessPool as error:
            broken: Future[Result] = Future()
            broken.set_exception(error)
            return broken

    def _run_alone(self, job: Job) -> Result:
        with _start(1) as executor:
            try:
                return executor.submit(self._function, job).result()
            except BrokenProcessPool:
                return self._crashed(job)


def _start(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a fork of a process with running threads (torch, an interactive session) may lock up.
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        executor.submit(os.getpid).result()
    except BrokenProcessPool as error:
        executor.shutdown()
        raise RuntimeError(
            "worker processes cannot be started; in a script, put the call under `if __name__ == '__main__':`, "
            "or use workers=1"
        ) from error
    return executor


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which ends the workers in an orderly way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _succeeded(future: Future[Result]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
