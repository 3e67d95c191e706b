"""The bar over all jobs of a study: how many are done, what runs, how long still."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_MOST_NAMES = 2


class TimeLeft:
    """Guesses how long the jobs that are left will take from those that are done, kind by kind.

    Args:
        parallel_runs: jobs at a time.
    """

    def __init__(self, parallel_runs: int) -> None:
        self._parallel_runs = parallel_runs
        self._seconds: dict[str, list[float]] = {}

    def add(self, kind: str, seconds: float) -> None:
        """Learn how long a job took."""
        self._seconds.setdefault(kind, []).append(seconds)

    def seconds(self, kinds: Sequence[str], running_seconds: Sequence[float] = ()) -> float | None:
        """Seconds that jobs of these kinds will take; None before any job is done.

        A kind of which none is done is taken for as long as the mean job.

        Args:
            kinds: kind of each job that is not done, the running ones too.
            running_seconds: how long the running ones have taken.
        """
        if not self._seconds:
            return None
        known = {kind: fmean(seconds) for kind, seconds in self._seconds.items()}
        usual = fmean(known.values())
        total = sum(known.get(kind, usual) for kind in kinds) - sum(running_seconds)
        return max(0.0, total) / min(self._parallel_runs, max(1, len(kinds)))


class JobBar:
    """What `job_bar` yields: tell it of the running and of the finished jobs."""

    def __init__(self, bar: Progress, total: int, done: int, parallel_runs: int) -> None:
        self._bar, self._done, self._total = bar, done, total
        self._started: dict[str, float] = {}
        self.time_left = TimeLeft(parallel_runs)
        self._task = bar.add_task("compare", total=total, completed=done, note="")

    def show(self, running: Sequence[str], kinds_left: Sequence[str]) -> None:
        """Show what runs and how long it will take: the kinds of all jobs that are not done, running ones too."""
        now = time.monotonic()
        self._started = {name: self._started.get(name, now) for name in running}
        left = self.time_left.seconds(kinds_left, [now - start for start in self._started.values()])
        parts = [", ".join(running[:_MOST_NAMES]) + (" ..." if len(running) > _MOST_NAMES else "")]
        parts += [] if left is None else [f"about {_rough(left)} left"]
        self._bar.update(self._task, completed=self._done, note="; ".join(part for part in parts if part))

    def tell(self, line: str) -> None:
        """Count a job as done and write a line about it above the bar."""
        self._done += 1
        self._bar.update(self._task, completed=self._done, note="")
        self._bar.console.print(f"{self._done}/{self._total} {line}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def job_bar(total: int, done: int, parallel_runs: int, console: Console | None = None) -> Iterator[JobBar]:
    """Show a bar while the block runs.

    Args:
        total: number of jobs.
        done: how many of them were done before.
        parallel_runs: jobs at a time.
        console: where to draw; the terminal's error stream if not given, so that output can be piped.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    console = console or Console(stderr=True)
    with Progress(*columns, TextColumn("{task.fields[note]}", markup=False), console=console) as bar:
        yield JobBar(bar, total, done, parallel_runs)


def _rough(seconds: float) -> str:
    """75 -> '1 min', 8000 -> '2 h 13 min'."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "1 min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
