"""What a single run folder holds: settings, machine, metrics a epoch and the evaluation."""

from dataclasses import dataclass, field
from pathlib import Path

from sparsedense.report.errors import ReportError
from sparsedense.report.read_files import (
    Fields,
    Json,
    as_number,
    as_numbers,
    picture_data_uri,
    read_json_lines,
    read_json_object,
    read_yaml_object,
)

_TRAIN_FIRST = "run `sparsedense train`, `pretrain` or `finetune` into this folder first"
_EVALUATE_AGAIN = "run `sparsedense evaluate` again"
_DAMAGED_METRICS = "repair or remove that line, or train again"


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the epochs (0-based, as recorded)."""

    epochs: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.epochs)

    @property
    def last(self) -> float:
        """Value of the last epoch."""
        return self.values[-1]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Row of the per-class table; the scores lie in [0, 1]."""

    name: str
    videos: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Example:
    """One evaluated clip: its film strip as a data URI and what the model said."""

    picture: str
    path: str
    label: str
    predicted: str
    probability: float
    correct: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `sparsedense evaluate` wrote; `scores` holds accuracy, f1 and their kin, in [0, 1]."""

    scores: dict[str, float]
    videos: int
    split: str
    clips_per_video: int | None
    class_names: list[str]
    per_class: list[ClassScore]
    confusion: list[list[float]]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Run:
    """One training run as read from its folder."""

    folder: Path
    config: dict[str, Json]
    config_text: str
    environment: dict[str, Json]
    train: dict[str, Curve]
    validation: dict[str, Curve]
    evaluation: Evaluation | None
    views_picture: str | None

    def train_curve(self, key: str) -> Curve:
        """A quantity of training, empty where it was not recorded."""
        return self.train.get(key, Curve())

    def validation_curve(self, key: str) -> Curve:
        """A quantity of validation, empty where it was not recorded."""
        return self.validation.get(key, Curve())

    def first_supervised_epoch(self) -> int | None:
        """Epoch at which labels come in, or None where they are there from the start or never."""
        weight = self.train_curve("weight_classification")
        supervised = [epoch for epoch, value in zip(weight.epochs, weight.values, strict=True) if value > 0]
        return supervised[0] if supervised and supervised[0] > weight.epochs[0] else None


def read_run(folder: Path) -> Run:
    """Read a run folder; it must hold at least metrics.jsonl or evaluation.json.

    Raises:
        ReportError: neither is there, or a file is damaged; names the file (and line) and what to run.
    """
    metrics, evaluation = folder / "metrics.jsonl", folder / "evaluation.json"
    if not metrics.exists() and not evaluation.exists():
        raise ReportError(f"{folder} is no run: it holds neither metrics.jsonl nor evaluation.json; {_TRAIN_FIRST}")
    train, validation = read_metrics(metrics) if metrics.exists() else ({}, {})
    config, config_text = _read_config(folder / "config.yaml")
    return Run(
        folder=folder,
        config=config,
        config_text=config_text,
        environment=read_environment(folder),
        train=train,
        validation=validation,
        evaluation=read_evaluation(evaluation) if evaluation.exists() else None,
        views_picture=optional_picture(folder, "views.png"),
    )


def read_environment(folder: Path) -> dict[str, Json]:
    """environment.json of a folder, empty where it is absent."""
    path = folder / "environment.json"
    return read_json_object(path, remedy="remove it or run the training again") if path.exists() else {}


def optional_picture(folder: Path, name: str) -> str | None:
    """A picture of the folder as a data URI, None where it is absent."""
    return picture_data_uri(folder, name, remedy="remove it or draw it again") if (folder / name).exists() else None


def read_metrics(path: Path) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Curves of training and of validation from metrics.jsonl; a later line replaces an earlier of the same epoch.

    Raises:
        ReportError: no line at all, or a damaged line; names the file and the line.
    """
    lines = read_json_lines(path, remedy=_DAMAGED_METRICS)
    if not lines:
        raise ReportError(f"{path} is empty, no epoch was finished: {_TRAIN_FIRST}")
    epochs: dict[str, dict[int, dict[str, Json]]] = {"train": {}, "validation": {}}
    for number, values in lines:
        fields = Fields(values, place=f"{path}, line {number}", remedy=_DAMAGED_METRICS)
        kind, epoch = fields.text("kind"), int(fields.number("epoch"))
        if kind in epochs:
            epochs[kind][epoch] = values
    return _curves(epochs["train"]), _curves(epochs["validation"])


def _curves(by_epoch: dict[int, dict[str, Json]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for epoch in sorted(by_epoch):
        for key, value in by_epoch[epoch].items():
            number = as_number(value)
            if number is not None and key != "epoch":
                curve = curves.setdefault(key, Curve())
                curve.epochs.append(epoch)
                curve.values.append(number)
    return curves


def _read_config(path: Path) -> tuple[dict[str, Json], str]:
    return read_yaml_object(path, remedy="repair it or train again") if path.exists() else ({}, "")


def read_evaluation(path: Path) -> Evaluation:
    """Read evaluation.json and the pictures that it names.

    Raises:
        ReportError: a field is missing or of a wrong type, or a picture is absent.
    """
    fields = Fields(read_json_object(path, remedy=_EVALUATE_AGAIN), place=str(path), remedy=_EVALUATE_AGAIN)
    names = ("accuracy", "accuracy_top5", "clip_accuracy", "precision", "recall", "f1")
    found = {name: fields.optional_number(name) for name in names}
    clips = fields.optional_number("clips_per_video")
    class_names = fields.texts("class_names")
    fields.number("accuracy")
    return Evaluation(
        scores={name: value for name, value in found.items() if value is not None},
        videos=int(fields.number("videos")),
        split=fields.text("split") if fields.values.get("split") is not None else "",
        clips_per_video=None if clips is None else int(clips),
        class_names=class_names,
        per_class=[_class_score(row) for row in fields.parts("per_class")],
        confusion=_confusion(fields, len(class_names)),
        examples=[_example(row, path.parent) for row in fields.parts("examples")],
    )


def _class_score(row: Fields) -> ClassScore:
    return ClassScore(
        name=row.text("name"),
        videos=int(row.number("videos")),
        precision=row.number("precision"),
        recall=row.number("recall"),
        f1=row.number("f1"),
    )


def _confusion(fields: Fields, num_classes: int) -> list[list[float]]:
    rows = [as_numbers(row) for row in fields.items("confusion")]
    complete = [row for row in rows if row is not None and len(row) == num_classes]
    if rows and not len(complete) == len(rows) == num_classes:
        raise ReportError(
            f"{fields.place}: 'confusion' must be {num_classes} rows of {num_classes} numbers, "
            f"as 'class_names' has {num_classes} names: {_EVALUATE_AGAIN}"
        )
    return complete


def _example(row: Fields, folder: Path) -> Example:
    label, predicted = row.text("label"), row.text("predicted")
    return Example(
        picture=picture_data_uri(folder, row.text("image"), remedy=_EVALUATE_AGAIN),
        path=row.text("path") if row.values.get("path") is not None else "",
        label=label,
        predicted=predicted,
        probability=row.number("probability"),
        correct=label == predicted,
    )
