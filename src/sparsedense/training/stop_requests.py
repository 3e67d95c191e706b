"""Signals that ask a training to stop: it ends the step that it is at, writes a checkpoint, and stops.

SIGINT     Ctrl-C; pressed again, it stops at once
SIGTERM    `kill`, a batch system that takes the machine away
SIGUSR1    the warning before the time limit of a job, `#SBATCH --signal=USR1@120`
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # SIGUSR1 is missing on Windows
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class TrainingStopped(Exception):
    """A training that was asked to stop has stopped, with a checkpoint behind it.

    Attributes:
        signal: what asked.
    """

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(f"stopped by {by.name}")
        self.signal = by


class StopRequests:
    """Notes the first of the signals; whoever trains looks at `signal` where stopping is safe."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @contextmanager
    def handlers_restored(self) -> Iterator[None]:
        """Give the handlers back at the end of the block that they have at its beginning."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            yield
        finally:
            if _in_main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals; one that this process ignores (a child of `compare` ignores Ctrl-C) stays ignored."""
        if not _in_main_thread():  # others cannot have handlers
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal is signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
        # Not `print`: it may be in the middle of printing.
        os.write(2, f"\n{self.signal.name}: ending the step, then writing a checkpoint{again}\n".encode())


def requeue_job() -> None:
    """Ask SLURM to start this job again, as Lightning does; nothing where this is no job of SLURM's."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID")
    if array is not None:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if job is None:
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"warning: job {job} could not be queued again ({error}); submit it yourself", file=sys.stderr)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
