"""Run a study: arms x paired seeds x label counts with equal steps, what is missing only, and write what it found.

    OUT/experiment.yaml  labels/  pretrain/  probe/  finetune/  errors/
        results.parquet  results.json  gates.json  table.md  report.html

A finished job has a record and is not done again; a killed one goes on from its checkpoint.
"""

import json
import os
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from sparsedense.experiments.finetuning import threads_for
from sparsedense.experiments.folder_lock import folder_lock
from sparsedense.experiments.gates import Gate
from sparsedense.experiments.job_progress import JobBar, job_bar
from sparsedense.experiments.job_records import (
    JobRecord,
    read_record,
    settings_hash,
    started_path,
    write_atomically,
    write_record,
)
from sparsedense.experiments.job_slots import JobFailedError, job_slots, run_jobs
from sparsedense.experiments.study_arms import load_arms, shared_finetuning
from sparsedense.experiments.study_config import StudyConfig
from sparsedense.experiments.study_folds import Fold, open_folds, write_label_lists
from sparsedense.experiments.study_gates import pretraining_runs, study_gates
from sparsedense.experiments.study_jobs import StudyJob, StudyPlan, plan_study
from sparsedense.experiments.study_results import StudyResults, collect_results, write_rows
from sparsedense.experiments.study_table import markdown
from sparsedense.experiments.study_work import StudyWork
from sparsedense.report.page import write_report
from sparsedense.settings_changes import changes
from sparsedense.training.machine import describe_environment

_MOST_CHANGES = 6


class StudyChangedError(ValueError):
    """The folder holds results of other settings; the message says what changed."""


class StudyIncompleteError(ValueError):
    """Some jobs could not be done; the message lists them with their reasons."""

    def __init__(self, failures: Mapping[str, str], out: Path) -> None:
        listed = "".join(f"\n  {name}: {reason}" for name, reason in failures.items())
        super().__init__(
            f"{len(failures)} jobs failed, the others are done:{listed}\n"
            f"Details lie in {out / 'errors'}; the same command tries them again"
        )


@dataclass
class StudyOutcome:
    """What a study found.

    Attributes:
        results: rows and summaries.
        gates: six for each arm but the baseline.
        failures: name and reason of each job that could not be done.
        test_videos: the test videos in words.
        report: the page.
    """

    results: StudyResults
    gates: list[Gate]
    failures: dict[str, str]
    test_videos: str
    report: Path


def run_study(config: StudyConfig, out: str | Path, *, overwrite: bool = False, isolate: bool = True) -> StudyOutcome:
    """Do the jobs that are missing and write results, gates, table and page.

    Args:
        config: the study.
        out: its folder; what is finished in it is not done again.
        overwrite: do jobs again that were done with other settings.
        isolate: run jobs in processes of their own; False runs one at a time in a thread, where none can be started.

    Raises:
        StudyChangedError: jobs in the folder were done with other settings, and `overwrite` is false.
        FileExistsError: the folder holds something else, or another process works in it.
        ValueError, StoreError: an arm or a store does not do; see `load_arms` and `open_folds`.
    """
    folder = Path(out)
    if (folder / "results.json").exists() and not (folder / "experiment.yaml").exists():
        raise FileExistsError(
            f"{folder} holds results of something else than `sparsedense compare`; choose another --out"
        )
    folds = open_folds(config.stores)
    plan = plan_study(config, load_arms(config), folds, folder)
    with folder_lock(folder):
        records = _finished(plan, folder, overwrite=overwrite)
        study = _Study(config, folds, plan, folder, records)
        study.prepare()
        study.run(isolate=isolate)
        results, gates = study.save()
        return StudyOutcome(results, gates, study.failures, study.test_videos, write_report(folder))


@dataclass
class _Study:
    """A study at work: what is done and what failed so far."""

    config: StudyConfig
    folds: list[Fold]
    plan: StudyPlan
    out: Path
    records: dict[str, JobRecord]
    failures: dict[str, str] = field(default_factory=dict)
    videos_per_class: dict[int | None, float] = field(default_factory=dict)

    @property
    def test_videos(self) -> str:
        counts = [fold.labelled_videos("test") for fold in self.folds]
        stores = f" of {len(counts)} stores" if len(counts) > 1 else ""
        return f"{sum(counts)} test videos{stores}"

    def prepare(self) -> None:
        """Write what is known before the first job: the settings, the lists of labelled videos, the machine."""
        config = self.config
        experiment = shared_finetuning(config)
        for fold in self.folds:
            counts = write_label_lists(
                self.out, fold, experiment, seeds=config.seeds, labels_per_class=config.labels_per_class
            )
            for labels, count in counts.items():
                self.videos_per_class[labels] = self.videos_per_class.get(labels, 0.0) + count / len(self.folds)
        write_atomically(self.out / "experiment.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
        write_atomically(self.out / "environment.json", json.dumps(describe_environment(), indent=2) + "\n")

    def run(self, *, isolate: bool) -> None:
        """Do the jobs that have no record."""
        missing = [job for job in self.plan.jobs if job.name not in self.records]
        kinds = {job.name: job.kind for job in missing}
        parallel_runs = self.config.parallel_runs if isolate else 1
        work = StudyWork(self.out, threads_for(parallel_runs))
        with (
            job_bar(len(self.plan.jobs), len(self.records), parallel_runs) as bar,
            job_slots(_environments(parallel_runs), isolate=isolate) as slots,
        ):
            for record in self.records.values():
                bar.time_left.add(record.settings["kind"], record.seconds)

            def watch(running: Sequence[StudyJob]) -> None:
                bar.show([job.name for job in running], list(kinds.values()))

            def finished(job: StudyJob, outcome: JobRecord | BaseException) -> None:
                del kinds[job.name]
                self._take(job, outcome, bar)
                self.save()

            run_jobs(missing, work, slots, finished=finished, watch=watch)

    def save(self) -> tuple[StudyResults, list[Gate]]:
        """Write what was found so far."""
        config, out = self.config, self.out
        results = collect_results(self.plan.cells, self.records, baseline=config.baseline)
        gates = study_gates(
            self.plan, self.records, results, out, baseline=config.baseline, labels_per_class=config.labels_per_class
        )
        write_rows(out / "results.parquet", results.rows)
        write_atomically(out / "results.json", json.dumps(self._as_json(results), indent=1) + "\n")
        write_atomically(out / "gates.json", json.dumps({"gates": [asdict(gate) for gate in gates]}, indent=1) + "\n")
        write_atomically(out / "table.md", markdown(results, config.baseline, self.test_videos))
        return results, gates

    def _take(self, job: StudyJob, outcome: JobRecord | BaseException, bar: JobBar) -> None:
        errors = self.out / "errors" / f"{job.name.replace('/', '-')}.txt"
        if isinstance(outcome, JobRecord):
            write_record(self.out, outcome)
            self.records[job.name] = outcome
            errors.unlink(missing_ok=True)
            bar.time_left.add(job.kind, outcome.seconds)
            bar.tell(f"{job.name}: {_in_short(outcome)} ({outcome.seconds:.0f} s)")
            return
        if not isinstance(outcome, JobFailedError):
            # Begun afresh next time: the checkpoint may be the reason.
            started_path(self.out, job.name).unlink(missing_ok=True)
        write_atomically(errors, "".join(traceback.format_exception(outcome)))
        self.failures[job.name] = _reason(outcome)
        bar.tell(f"{job.name} failed: {self.failures[job.name]}")

    def _as_json(self, results: StudyResults) -> dict[str, Any]:
        config = self.config
        seconds: dict[str, float] = {}
        for record in self.records.values():
            kind = record.settings["kind"]
            seconds[kind] = seconds.get(kind, 0.0) + record.seconds
        return {
            "kind": "study",
            "arms": list(config.arms),
            "baseline": config.baseline,
            "stores": [
                {"name": fold.name, "classes": len(fold.store.class_names)}
                | {split: fold.labelled_videos(split) for split in ("train", "val", "test")}
                for fold in self.folds
            ],
            "seeds": config.seeds,
            "labels": [
                {"labels_per_class": labels, "videos_per_class": count}
                for labels, count in self.videos_per_class.items()
            ],
            "clips_per_video": config.clips_per_video,
            "summaries": [asdict(summary) for summary in results.summaries],
            "probes": results.probes,
            "pretrain": {
                arm: [n for n in pretraining_runs(self.plan, arm) if n in self.records] for arm in config.arms
            },
            "runs": [job.name for job in self.plan.jobs if job.kind != "probe" and job.name in self.records],
            "failed": self.failures,
            "jobs": {"done": len(self.records), "all": len(self.plan.jobs)},
            "seconds": {kind: round(total, 1) for kind, total in seconds.items()},
        }


def _finished(plan: StudyPlan, out: Path, *, overwrite: bool) -> dict[str, JobRecord]:
    """Records of the jobs that need not be done.

    Raises:
        StudyChangedError: some were done with other settings.
    """
    records, changed, jobs = dict[str, JobRecord](), Counter[str](), 0
    for job in plan.jobs:
        record = read_record(out, job.name)
        if record is None:
            continue
        if settings_hash(record.settings) != settings_hash(job.settings):
            jobs += 1
            changed.update(changes(record.settings, job.settings).values())
        elif job.kind != "pretrain" or (out / job.name / "model.safetensors").is_file():
            records[job.name] = record
    if changed and not overwrite:
        causes = {line: count for line, count in changed.items() if not line.startswith("init:")} or dict(changed)
        listed = "; ".join(f"{line} ({count} jobs)" for line, count in list(causes.items())[:_MOST_CHANGES])
        more = f"; and {len(causes) - _MOST_CHANGES} more" if len(causes) > _MOST_CHANGES else ""
        raise StudyChangedError(
            f"{jobs} jobs in {out} were done with other settings: {listed}{more}. Choose another --out, or pass "
            f"--overwrite to do these jobs again"
        )
    return records


def _environments(parallel_runs: int) -> list[dict[str, str]]:
    """Environment variables of each slot: several GPUs are dealt out among the runs."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]
    if len(gpus) < 2:
        return [{} for _ in range(parallel_runs)]
    return [{"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(parallel_runs)]


def _in_short(record: JobRecord) -> str:
    results = record.results
    if "end" in results:
        return f"accuracy {results['end']['test']['accuracy']:.1%}"
    if "knn" in results:
        return f"kNN {results['knn']['model']:.1%}, untrained {results['knn']['untrained']:.1%}"
    return "done"


def _reason(error: BaseException) -> str:
    """The first line of what went wrong; the whole lies in `errors/`."""
    text = str(error).strip()
    line = text.splitlines()[0] if text else "no message"
    return line if isinstance(error, JobFailedError | ValueError) else f"{type(error).__name__}: {line}"
