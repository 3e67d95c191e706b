"""The jobs of a study: what to train and to measure, from which settings, in which folders below the study's.

For every store and seed: pretrain each arm, probe what it learnt, fine-tune it with each number of labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sparsedense.config import Experiment, experiment_to_dict
from sparsedense.experiments.job_records import as_json, settings_hash
from sparsedense.experiments.study_arms import Arm
from sparsedense.experiments.study_config import StudyConfig
from sparsedense.experiments.study_folds import Fold, label_name

JobKind = Literal["pretrain", "probe", "finetune"]

# What does not decide the result of a job: the settings of other trainings, and how the machine is used.
_NOT_OF: dict[str, tuple[str, ...]] = {
    "pretrain": ("machine", "train", "finetune", "labels_per_class", "validation_clips"),
    "finetune": ("machine", "train", "pretrain"),
}


@dataclass(frozen=True)
class StudyJob:
    """One job: plain values, so that another process can do it.

    Attributes:
        name: unique; also the job's folder below the study's.
        kind: what to do.
        store: the store's folder.
        settings: all that decides the result.
        experiment: settings of the training; a probe takes the seed and the machine's from it.
        init: model file to start from or to probe; None is from scratch.
        needs: name of the pretraining that makes `init`, where a job of the study does.
        labels_per_class: labelled training videos a class of a probe; None is all.
        clips_per_video: clips a video of the evaluation.
    """

    name: str
    kind: JobKind
    store: Path
    settings: dict[str, Any]
    experiment: Experiment
    init: Path | None = None
    needs: str | None = None
    labels_per_class: int | None = None
    clips_per_video: int = 1


@dataclass(frozen=True)
class Cell:
    """One arm on one store with one seed, and the names of the jobs that tell how it did."""

    arm: str
    store: str
    seed: int
    pretrain: str | None
    probe: str | None
    finetune: dict[int | None, str]


@dataclass
class StudyPlan:
    """All jobs in the order in which to start them, and which arm, store and seed they belong to.

    Pair by pair, so that an early look compares like with like.
    """

    jobs: list[StudyJob] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)


def plan_study(config: StudyConfig, arms: Sequence[Arm], folds: Sequence[Fold], out: Path) -> StudyPlan:
    """Lay out all jobs; arms whose pretrainings have the same settings share one.

    Raises:
        ValueError: two different jobs would get one name.
    """
    plan, by_name, by_hash = StudyPlan(), dict[str, StudyJob](), dict[str, StudyJob]()

    def add(job: StudyJob) -> StudyJob:
        if job.name not in by_name:
            by_name[job.name] = job
            plan.jobs.append(job)
        elif by_name[job.name].settings != job.settings:
            raise ValueError(
                f"two jobs are called {job.name}, because the names of arms and stores run into each other; "
                f"rename an arm"
            )
        return by_name[job.name]

    for fold in folds:
        for seed in config.seeds:
            for arm in arms:
                pretrain = _pretraining(config, arm, fold, seed)
                if pretrain is not None:
                    pretrain = add(by_hash.setdefault(settings_hash(pretrain.settings), pretrain))
                start = _Start.of(arm, pretrain, out)
                probe = None
                if config.probe and start.init is not None:
                    probe = add(_probe(config, arm, fold, pretrain, start)).name
                finetunings = {
                    labels: add(_finetuning(config, arm, fold, seed, labels, start)).name
                    for labels in config.labels_per_class
                }
                plan.cells.append(Cell(arm.name, fold.name, seed, start.needs, probe, finetunings))
    return plan


@dataclass(frozen=True)
class _Start:
    """The weights that an arm starts from: their file, their origin as a digest, the job that makes them."""

    init: Path | None
    origin: str | None
    needs: str | None

    @classmethod
    def of(cls, arm: Arm, pretrain: StudyJob | None, out: Path) -> "_Start":
        if pretrain is None:
            return cls(arm.init, arm.init_fingerprint, None)
        return cls(out / pretrain.name / "model.safetensors", settings_hash(pretrain.settings), pretrain.name)


def _pretraining(config: StudyConfig, arm: Arm, fold: Fold, seed: int) -> StudyJob | None:
    if arm.pretrain is None:
        return None
    own_seed = seed if config.pretrain_per_seed else config.seeds[0]
    experiment = replace(arm.pretrain, seed=own_seed)
    return StudyJob(
        f"pretrain/{arm.name}-{fold.name}-seed{own_seed}",
        "pretrain",
        fold.store.path,
        _settings("pretrain", fold, experiment),
        experiment,
    )


def _probe(config: StudyConfig, arm: Arm, fold: Fold, pretrain: StudyJob | None, start: _Start) -> StudyJob:
    made_by = f"{arm.name}-{fold.name}" if pretrain is None else pretrain.name.removeprefix("pretrain/")
    seed = config.seeds[0] if pretrain is None else pretrain.experiment.seed
    settings = {
        "kind": "probe",
        "store": fold.fingerprint,
        "init": start.origin,
        "seed": seed,
        "labels_per_class": config.probe_labels_per_class,
        "clips_per_video": config.clips_per_video,
    }
    return StudyJob(
        f"probe/{made_by}",
        "probe",
        fold.store.path,
        settings,
        replace(arm.finetune, seed=seed),
        init=start.init,
        needs=start.needs,
        labels_per_class=config.probe_labels_per_class,
        clips_per_video=config.clips_per_video,
    )


def _finetuning(
    config: StudyConfig, arm: Arm, fold: Fold, seed: int, labels_per_class: int | None, start: _Start
) -> StudyJob:
    experiment = replace(arm.finetune, seed=seed, labels_per_class=labels_per_class)
    evaluated = {"init": start.origin, "clips_per_video": config.clips_per_video}
    return StudyJob(
        f"finetune/{arm.name}-{fold.name}-{label_name(labels_per_class)}-seed{seed}",
        "finetune",
        fold.store.path,
        _settings("finetune", fold, experiment) | evaluated,
        experiment,
        init=start.init,
        needs=start.needs,
        labels_per_class=labels_per_class,
        clips_per_video=config.clips_per_video,
    )


def _settings(kind: JobKind, fold: Fold, experiment: Experiment) -> dict[str, Any]:
    values = {key: value for key, value in experiment_to_dict(experiment).items() if key not in _NOT_OF[kind]}
    precision = experiment.machine.precision
    return as_json({"kind": kind, "store": fold.fingerprint, "precision": precision, "experiment": values})
