"""The videos that are watched, and the line in which their analyses wait: one runs at a time."""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsedense.app.inspection import VideoFacts
from sparsedense.app.limits import Limits, RefusedError
from sparsedense.video.errors import UnreadableVideoError

WAITING, WORKING, DONE, FAILED, CANCELLED = "waiting", "working", "done", "failed", "cancelled"
_ENDED = (DONE, FAILED, CANCELLED)


class CancelledError(Exception):
    """An analysis that nobody waits for any more."""


@dataclass
class Job:
    """One video and what is known of it; the worker writes, requests read.

    Attributes:
        name: what people call the video; never a path.
        folder: of its files; nobody else's.
        source: the file to analyse, once it is there.
        facts: what the file is; None for a video of a store until its frames are a file.
        video_id: row of the store that it comes from; None for an upload.
        job_id: what requests call it; it cannot be guessed.
        state: "waiting", "working", "done", "failed" or "cancelled".
        stage: what is being done.
        progress: share of the stage that is done, where that is known.
        message: why it failed.
        playable: the file that browsers play, once it is there.
        converted: whether that is not the upload itself.
        answers: what is known, by part.
        features_D: of the video, once they are there.
    """

    name: str
    folder: Path
    source: Path
    facts: VideoFacts | None = None
    video_id: int | None = None
    job_id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: str = WAITING
    stage: str = ""
    progress: float | None = None
    message: str = ""
    playable: Path | None = None
    converted: bool = False
    answers: dict[str, Any] = field(default_factory=dict)
    features_D: Any = None
    watchers: int = 0
    left_at: float = field(default_factory=time.monotonic)
    is_unwanted: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in _ENDED

    def is_abandoned(self, leave_seconds: float) -> bool:
        """Whether nobody wants it, or nobody has watched it for so long."""
        return self.is_unwanted or (self.watchers == 0 and time.monotonic() - self.left_at > leave_seconds)

    def watch(self) -> None:
        """Somebody waits for it."""
        self.watchers += 1

    def leave(self) -> None:
        """Somebody waits no longer."""
        self.watchers -= 1
        self.left_at = time.monotonic()


class Step:
    """What the worker tells of a job, and where it learns that it should stop.

    Args:
        job: the job.
        stopped: whether to stop.
    """

    def __init__(self, job: Job, stopped: Callable[[], bool]) -> None:
        self._job, self._stopped = job, stopped

    def begin(self, stage: str) -> None:
        """A new stage begins.

        Raises:
            CancelledError: it should stop.
        """
        self.check()
        self._job.stage, self._job.progress = stage, None

    def check(self, progress: float | None = None) -> None:
        """Go on, or not.

        Args:
            progress: share of the stage that is done.

        Raises:
            CancelledError: it should stop.
        """
        if self._stopped():
            raise CancelledError
        if progress is not None:
            self._job.progress = min(max(progress, 0.0), 1.0)


class JobQueue:
    """Jobs by id, and the thread that does one after the other.

    Args:
        work: does a job; it may raise `RefusedError` and what a video can do wrong.
        limits: how many wait and are kept.

    Attributes:
        is_idle: set while no job runs or waits.
    """

    def __init__(self, work: Callable[[Job, Step], None], limits: Limits) -> None:
        self._work, self._limits = work, limits
        self._jobs: dict[str, Job] = {}  # in the order of their arrival
        self._changed = threading.Condition()
        self._is_closed = False
        self.is_idle = threading.Event()
        self.is_idle.set()
        self._thread = threading.Thread(target=self._run, name="sparsedense-analysis", daemon=True)
        self._thread.start()

    def check_room(self) -> None:
        """Make sure that one more may wait.

        Raises:
            RefusedError: too many wait.
        """
        with self._changed:
            num_waiting = len(self._waiting())
        if num_waiting >= self._limits.waiting:
            raise RefusedError(503, f"{self._limits.waiting} videos wait already; try again when some are done.")

    def add(self, job: Job) -> None:
        """Put a job at the end of the line.

        Raises:
            RefusedError: too many wait.
        """
        with self._changed:
            self.check_room()
            self._jobs[job.job_id] = job
            self._forget_oldest()
            self.is_idle.clear()
            self._changed.notify_all()

    def find(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            RefusedError: there is none, or no longer.
        """
        with self._changed:
            job = self._jobs.get(job_id)
        if job is None:
            raise RefusedError(404, "This video is not here any more. Give it again.")
        return job

    def place(self, job: Job) -> int:
        """How many are before a job, the one that runs included."""
        with self._changed:
            ahead = [*(each for each in self._jobs.values() if each.state == WORKING), *self._waiting()]
            return ahead.index(job) if job in ahead and job.state == WAITING else 0

    def remove(self, job: Job) -> None:
        """Stop and forget a job and delete its files."""
        with self._changed:
            job.is_unwanted = True
            if job.state != WORKING:  # else the worker's files go when it has stopped
                self._forget(job)

    def close(self) -> None:
        """Stop what runs and the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _waiting(self) -> list[Job]:
        leave = self._limits.leave_seconds
        return [job for job in self._jobs.values() if job.state == WAITING and not job.is_abandoned(leave)]

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._is_closed:
                for job in [job for job in self._jobs.values() if job.state == WAITING]:
                    if job.is_abandoned(self._limits.leave_seconds):
                        self._end(job, CANCELLED, "Nobody waited for it any more.")
                        continue
                    job.state = WORKING
                    return job
                self.is_idle.set()
                self._changed.wait()
        return None

    def _do(self, job: Job) -> None:
        step = Step(job, lambda: self._is_closed or job.is_abandoned(self._limits.leave_seconds))
        state, message = DONE, ""
        try:
            self._work(job, step)
        except CancelledError:
            state, message = CANCELLED, "The analysis was stopped because nobody waited for it any more."
        except RefusedError as error:
            state, message = FAILED, error.message
        except UnreadableVideoError as error:
            state, message = FAILED, f"The video cannot be read: {error.reason}."
        except Exception:  # the thread must live on for the next job; the fault is shown in full in the terminal
            logging.getLogger("uvicorn.error").exception("the analysis of %r failed", job.name)
            state, message = FAILED, "The analysis failed by a fault of the program; the terminal tells more."
        with self._changed:
            self._end(job, state, message)

    def _end(self, job: Job, state: str, message: str) -> None:
        job.stage, job.progress, job.message, job.state = "", None, message, state
        if job.is_unwanted:
            self._forget(job)

    def _forget_oldest(self) -> None:
        ended = [job for job in self._jobs.values() if job.has_ended]
        too_many = len(ended) + 1 - self._limits.kept
        for job in [job for job in ended if not job.watchers][: max(0, too_many)]:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.job_id, None)
        shutil.rmtree(job.folder, ignore_errors=True)
