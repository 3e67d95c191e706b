"""What the folder of a study (`sparsedense compare`) holds: results.json, gates.json and its pretrainings' logs."""

from dataclasses import dataclass
from pathlib import Path

from sparsedense.report.errors import ReportError
from sparsedense.report.read_files import Fields, Json, as_text, read_json_object
from sparsedense.report.read_run import Curve, read_environment, read_metrics

KIND = "study"
MOMENTS = ("first_epoch", "end")
_COMPARE_AGAIN = "run `sparsedense compare` into this folder again"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over the pairs with its 95 % interval where there are two or more; of a difference also the p-values."""

    mean: float
    pairs: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm with one number of labels (None is all) at one moment, in shares of the test videos.

    `difference_over_stores` has one number a store; None with fewer than two.
    """

    arm: str
    labels_per_class: int | None
    moment: str
    test: Estimate
    validation: float | None
    difference: Estimate | None
    difference_over_stores: Estimate | None
    best_on_validation: bool


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate of one arm; `status` is 'pass', 'fail' or 'not measured'."""

    number: int
    name: str
    arm: str
    status: str
    value: float | None
    threshold: str
    finding: str
    advice: str


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """One store of the study: its number of classes and of labelled videos by split."""

    name: str
    classes: int
    train: int
    val: int
    test: int


@dataclass(frozen=True, slots=True)
class Study:
    """Arms over paired seeds and numbers of labels, as far as they are finished.

    Attributes:
        labels: number of labels a class and the labelled videos a class that it comes to, the fewest first.
        knn, linear: accuracies of `model` and `random`, one a probed run, by arm.
        pretraining: curves of each pretraining by arm.
        runs: folders of the single runs, below the study's.
        failed: name and reason of each job that could not be done.
        jobs_done, jobs: finished jobs, and all.
        seconds: of all jobs by kind.
    """

    folder: Path
    arms: list[str]
    baseline: str
    stores: list[StoreFacts]
    seeds: list[int]
    labels: list[tuple[int | None, float]]
    summaries: list[Summary]
    gates: list[GateResult]
    knn: dict[str, list[dict[str, float]]]
    linear: dict[str, list[dict[str, float]]]
    pretraining: dict[str, list[dict[str, Curve]]]
    runs: list[str]
    failed: dict[str, str]
    jobs_done: int
    jobs: int
    seconds: dict[str, float]
    environment: dict[str, Json]

    def summary(self, arm: str, labels_per_class: int | None, moment: str) -> Summary | None:
        """That of one arm, None where none of its runs is finished."""
        wanted = (arm, labels_per_class, moment)
        return next((s for s in self.summaries if (s.arm, s.labels_per_class, s.moment) == wanted), None)

    def best_on_validation(self, labels_per_class: int | None, moment: str = "end") -> Summary | None:
        """The arm that validation chooses, None without validation videos."""
        of_labels = [s for s in self.summaries if (s.labels_per_class, s.moment) == (labels_per_class, moment)]
        return next((summary for summary in of_labels if summary.best_on_validation), None)


def is_study(folder: Path) -> bool:
    """Whether results.json of a folder is that of a study, not of the demo."""
    path = folder / "results.json"
    return path.exists() and read_json_object(path, remedy="remove it").get("kind") == KIND


def read_study(folder: Path) -> Study:
    """Read the folder of a study.

    Raises:
        ReportError: a file is missing or damaged; names it and what to run.
    """
    fields = _fields(folder / "results.json")
    probes = {
        arm: [fields.nested(p, f"{fields.place}, probes") for p in found] for arm, found in _lists(fields, "probes")
    }
    jobs = fields.part("jobs")
    return Study(
        folder=folder,
        arms=fields.texts("arms"),
        baseline=fields.text("baseline"),
        stores=[_store(part) for part in fields.parts("stores")],
        seeds=[int(seed) for seed in fields.numbers("seeds")],
        labels=sorted(((_labels(part), part.number("videos_per_class")) for part in fields.parts("labels")),
                      key=lambda item: item[1]),
        summaries=[_summary(part) for part in fields.parts("summaries")],
        gates=[_gate(part) for part in _fields(folder / "gates.json").parts("gates")],
        knn={arm: [_numbers(probe.part("knn")) for probe in found] for arm, found in probes.items()},
        linear={arm: [_numbers(probe.part("linear")) for probe in found] for arm, found in probes.items()},
        pretraining={arm: _curves(folder, names) for arm, names in _lists(fields, "pretrain")},
        runs=[_below(folder, name) for name in fields.texts("runs")],
        failed={name: as_text(reason) or "" for name, reason in fields.part("failed").values.items()},
        jobs_done=int(jobs.number("done")),
        jobs=int(jobs.number("all")),
        seconds=_numbers(fields.part("seconds")),
        environment=read_environment(folder),
    )  # fmt: skip


def _fields(path: Path) -> Fields:
    return Fields(read_json_object(path, remedy=_COMPARE_AGAIN), place=str(path), remedy=_COMPARE_AGAIN)


def _lists(fields: Fields, key: str) -> list[tuple[str, list[Json]]]:
    part = fields.part(key)
    return [(name, part.items(name)) for name in part.values]


def _curves(folder: Path, names: list[Json]) -> list[dict[str, Curve]]:
    logs = [folder / _below(folder, name) / "metrics.jsonl" for name in names]
    return [read_metrics(log)[0] for log in logs if log.exists()]


def _below(folder: Path, name: Json) -> str:
    if not isinstance(name, str) or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ReportError(f"{folder / 'results.json'}: run {name!r} must be a folder below {folder}: {_COMPARE_AGAIN}")
    return name


def _summary(part: Fields) -> Summary:
    return Summary(
        arm=part.text("arm"),
        labels_per_class=_labels(part),
        moment=part.text("moment"),
        test=_estimate(part.part("test")),
        validation=part.optional_number("validation"),
        difference=_optional_estimate(part, "difference"),
        difference_over_stores=_optional_estimate(part, "difference_over_stores"),
        best_on_validation=part.values.get("best_on_validation") is True,
    )


def _estimate(part: Fields) -> Estimate:
    optional = {name: part.optional_number(name) for name in ("low", "high", "p", "p_holm")}
    return Estimate(part.number("mean"), int(part.number("n")), **optional)


def _optional_estimate(part: Fields, key: str) -> Estimate | None:
    return None if part.values.get(key) is None else _estimate(part.part(key))


def _gate(part: Fields) -> GateResult:
    texts = {name: part.text(name) for name in ("name", "arm", "status", "threshold", "finding", "advice")}
    return GateResult(number=int(part.number("number")), value=part.optional_number("value"), **texts)


def _store(part: Fields) -> StoreFacts:
    return StoreFacts(part.text("name"), *(int(part.number(name)) for name in ("classes", "train", "val", "test")))


def _labels(part: Fields) -> int | None:
    labels = part.optional_number("labels_per_class")
    return None if labels is None else int(labels)


def _numbers(fields: Fields) -> dict[str, float]:
    return {key: fields.number(key) for key in fields.values}
