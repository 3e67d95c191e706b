"""What a comparison (or demo) folder holds: results.json and the single runs below it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsedense.report.errors import ReportError
from sparsedense.report.read_files import Fields, Json, as_text, read_json_object
from sparsedense.report.read_run import Run, optional_picture, read_environment, read_run

_COMPARE_FIRST = "run `sparsedense demo` into this folder again"
_METRICS = ("accuracy", "f1", "accuracy_first_epoch", "f1_first_epoch")
_ARM_ORDER = ("scratch", "pretrained")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to start: its scores (one value a seed, in [0, 1]) and its runs in the order of the seeds."""

    name: str
    scores: dict[str, list[float]]
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of pretrained minus scratch over the paired seeds with its 95 % confidence interval, in [-1, 1]."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arms that were trained alike from different weights, and all that belongs to them."""

    folder: Path
    arms: list[Arm]
    seeds: list[int]
    differences: dict[str, Difference]
    knn: dict[str, float]
    seconds: dict[str, float]
    controls: dict[str, dict[str, float]]
    labels_per_class: int | None
    test_videos: int | None
    command: str
    environment: dict[str, Json]
    pretrain: Run | None
    views_picture: str | None
    contact_sheet_picture: str | None

    def arm(self, name: str) -> Arm | None:
        """The arm of that name, None where the comparison has none."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def runs(self) -> Iterator[Run]:
        """All single runs: pretraining first, then arm by arm."""
        if self.pretrain is not None:
            yield self.pretrain
        for arm in self.arms:
            yield from arm.runs


def read_comparison(folder: Path) -> Comparison:
    """Read results.json of a folder and the runs that it names.

    Raises:
        ReportError: a file is missing or damaged; names it and what to run.
    """
    path = folder / "results.json"
    fields = Fields(read_json_object(path, remedy=_COMPARE_FIRST), place=str(path), remedy=_COMPARE_FIRST)
    environment = read_environment(folder)
    labels, videos = fields.optional_number("labels_per_class"), fields.optional_number("test_videos")
    pretrain = fields.part("runs").values.get("pretrain")
    return Comparison(
        folder=folder,
        arms=_arms(fields, folder),
        seeds=_seeds(fields),
        differences=_differences(fields.part("difference")),
        knn=_numbers(fields.part("knn")),
        seconds=_numbers(fields.part("seconds")),
        controls={name: _numbers(part) for name, part in _objects(fields.part("controls"))},
        labels_per_class=None if labels is None else int(labels),
        test_videos=None if videos is None else int(videos),
        command=as_text(fields.values.get("command")) or as_text(environment.get("command")) or "",
        environment=environment,
        pretrain=None if pretrain is None else _run(folder, pretrain, fields.place),
        views_picture=optional_picture(folder, "views.png"),
        contact_sheet_picture=optional_picture(folder, "contact_sheet.png"),
    )


def _arms(fields: Fields, folder: Path) -> list[Arm]:
    scores = dict(_objects(fields.part("arms")))
    if not scores:
        raise ReportError(f"{fields.place} has no 'arms' (an object of score lists): {_COMPARE_FIRST}")
    runs = fields.part("runs")
    names = sorted(scores, key=lambda name: (_ARM_ORDER.index(name) if name in _ARM_ORDER else 2, name))
    arms = [
        Arm(
            name=name,
            scores={metric: scores[name].numbers(metric) for metric in _METRICS if metric in scores[name].values},
            runs=[_run(folder, run, fields.place) for run in runs.items(name)],
        )
        for name in names
    ]
    _check_paired(arms, fields.place)
    return arms


def _check_paired(arms: list[Arm], place: str) -> None:
    for metric in _METRICS:
        counts = {arm.name: len(arm.scores[metric]) for arm in arms if metric in arm.scores}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise ReportError(
                f"{place}: the arms must have the same seeds, but {metric!r} has {counts} values: {_COMPARE_FIRST}"
            )


def _run(folder: Path, name: Json, place: str) -> Run:
    if not isinstance(name, str) or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ReportError(f"{place}: run {name!r} must be a folder below {folder}: {_COMPARE_FIRST}")
    return read_run(folder / name)


def _seeds(fields: Fields) -> list[int]:
    return [int(seed) for seed in fields.numbers("seeds")] if fields.values.get("seeds") is not None else []


def _differences(fields: Fields) -> dict[str, Difference]:
    """The differences that have an interval; a single pair of runs gives none."""
    return {
        name: Difference(mean=part.number("mean"), low=part.number("low"), high=part.number("high"))
        for name, part in _objects(fields)
        if "low" in part.values or "high" in part.values
    }


def _objects(fields: Fields) -> list[tuple[str, Fields]]:
    return [(key, fields.nested(value, f"{fields.place}, {key}")) for key, value in fields.values.items()]


def _numbers(fields: Fields) -> dict[str, float]:
    return {key: fields.number(key) for key in fields.values}
