"""What a job of a study does in its process: train or measure, and return the numbers that its record keeps."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import Evaluation
from sparsedense.evaluation.probe import probe
from sparsedense.experiments.finetuning import FineTuning, finetune_and_judge, use_threads, without_workers
from sparsedense.experiments.job_records import JobRecord, begin
from sparsedense.experiments.study_jobs import StudyJob
from sparsedense.report.page import write_report
from sparsedense.training.machine import resolve_workers, uses_cuda
from sparsedense.training.run import pretrain

MOMENTS = ("first_epoch", "end")


@dataclass(frozen=True)
class StudyWork:
    """Does jobs; a callable of plain values, so that another process can have it.

    Attributes:
        out: the study's folder.
        threads: threads of torch a process; None leaves them to torch.
    """

    out: Path
    threads: int | None

    def __call__(self, job: StudyJob) -> JobRecord:
        """Do a job in its folder; a killed run of the same settings goes on from its last checkpoint."""
        started = time.perf_counter()
        use_threads(self.threads)
        resume = begin(self.out, job.name, job.settings)
        if self.threads is not None and not uses_cuda(job.experiment.machine):
            job = replace(job, experiment=without_workers(job.experiment))
        results = {"pretrain": _pretrain, "probe": _probe, "finetune": _finetune}[job.kind](job, self.out, resume)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        return JobRecord(job.name, job.settings, results, time.perf_counter() - started, finished)


def _pretrain(job: StudyJob, out: Path, resume: bool) -> dict[str, Any]:
    going_on: Literal["auto", False] = "auto" if resume else False
    run = pretrain(job.store, out / job.name, job.experiment, resume=going_on, overwrite=True, progress=False)
    write_report(run.path)
    return {"run": job.name}


def _probe(job: StudyJob, out: Path, resume: bool) -> dict[str, Any]:
    assert job.init is not None
    found = probe(
        job.init,
        job.store,
        split="test",
        labels_per_class=job.labels_per_class,
        clips_per_video=job.clips_per_video,
        robustness=False,
        seed=job.experiment.seed,
        num_workers=resolve_workers(job.experiment.machine),
    )
    return asdict(found)


def _finetune(job: StudyJob, out: Path, resume: bool) -> dict[str, Any]:
    has_validation = len(FrameStore(job.store).videos(split="val", labelled=True)) > 0
    splits = ("val", "test") if has_validation else ("test",)
    run = FineTuning(job.store, out / job.name, job.init, job.experiment, job.clips_per_video, splits)
    judged = finetune_and_judge(run, resume=resume)
    write_report(run.folder)
    moments = zip(MOMENTS, (judged.first, judged.last), strict=True)
    return {
        "run": job.name,
        **{moment: {split: _scores(found) for split, found in splits.items()} for moment, splits in moments},
    }


def _scores(evaluation: Evaluation) -> dict[str, float | int]:
    return {"accuracy": evaluation.accuracy, "f1": evaluation.f1, "videos": evaluation.videos}
