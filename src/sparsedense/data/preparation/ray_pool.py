"""A function over jobs on a Ray cluster: results in the order of the jobs, a bounded number under way.

Every task runs its job in a process of its own kind, as `ordered_map` does here: a decoder that crashes or hangs costs
its job alone, with the same result. A job whose node is lost is run on another one.
"""

from __future__ import annotations

import importlib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sparsedense.data.preparation.ordered_pool import ProcessPool

Job = TypeVar("Job")
Result = TypeVar("Result")

_PENDING_PER_CPU = 8  # enough that one long video does not stop the other CPUs
_pool: tuple[object, ProcessPool[Any, Any]] | None = None  # in a Ray worker: kept from task to task


def ordered_map_on_ray(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    shared: Path,
    failed: Callable[[Job, str], Result],
    stall_seconds: float,
) -> Iterator[Result]:
    """Results of a function, in the order of the jobs.

    The cluster is that of `RAY_ADDRESS` or the one that this machine is a node of; where there is none, one is started
    on this machine. Its CPUs are all used.

    Args:
        function: a function that the nodes can import.
        jobs: what to run it on; taken as needed.
        shared: a folder that all nodes must see.
        failed: the result of a job whose process died or was ended; it is told which.
        stall_seconds: a process whose job neither ends nor calls `still_alive` for so long is ended.

    Raises:
        ValueError: Ray is not installed.
        OSError: a node does not see the folder.
        Exception: what the function raised, when the result of this job is due.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(logging_level="warning", log_to_driver=False)
    run = ray.remote(num_cpus=1)(_run)
    waiting = iter(jobs)
    pending: deque[tuple[Job, Any]] = deque()
    try:
        while True:
            room = _room(ray) - len(pending)
            for job in islice(waiting, max(room, 0)):
                pending.append((job, run.remote(function, failed, stall_seconds, str(shared), job)))
            if not pending:
                return
            job, reference = pending.popleft()
            yield _outcome(ray, job, reference, failed)
    finally:
        for _, reference in pending:  # nothing goes on writing
            ray.cancel(reference, force=True)
        if started:
            ray.shutdown()


def _import_ray() -> Any:  # noqa: ANN401 - a module that may be missing
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ValueError("executor 'ray' needs Ray: pip install 'sparsedense[ray]'") from error


def _room(ray: Any) -> int:  # noqa: ANN401 - a module
    """Jobs that may be under way; the cluster may grow."""
    return _PENDING_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))


def _outcome(ray: Any, job: Job, reference: object, failed: Callable[[Job, str], Result]) -> Result:  # noqa: ANN401
    try:
        result, error = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as lost:  # several times in a row: a node that went, memory that was used up
        return failed(job, f"its Ray worker was lost ({type(lost).__name__})")
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]  # what the function gave


def _run(
    function: Callable[[Job], Result],
    failed: Callable[[Job, str], Result],
    stall_seconds: float,
    shared: str,
    job: Job,
) -> tuple[Result | None, Exception | None]:
    """What a Ray worker does: one job, in a process beside it that is kept for the next one."""
    global _pool
    if not Path(shared).is_dir():
        missing = f"{shared} is not there on the node {socket.gethostname()}; all nodes must see the same folders"
        return None, OSError(missing)
    settings = (function, failed, stall_seconds)
    if _pool is None or _pool[0] != settings:
        if _pool is not None:
            _pool[1].close()
        _pool = (settings, ProcessPool(function, workers=1, failed=failed, stall_seconds=stall_seconds))
    try:
        [result] = _pool[1].run(iter([job]))
    except Exception as error:  # of any kind: it is raised again where the results are due
        return None, error
    return result, None
