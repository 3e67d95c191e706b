"""A file of its own, so that worker processes need not import what the tests need."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sparsedense.data.preparation.ingest import IngestJob, IngestResult, ingest


def ingest_or_die(job: IngestJob) -> IngestResult:
    """What a decoder does that crashes on one of the files and hangs on another."""
    if Path(job.path).stem == "1":
        os.kill(os.getpid(), signal.SIGSEGV)
    if Path(job.path).stem == "3":
        time.sleep(100)
    return ingest(job)
