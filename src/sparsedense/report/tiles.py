"""The big numbers at the top of a page."""

from dataclasses import dataclass

from sparsedense.report.read_run import Evaluation, Run
from sparsedense.report.wording import count, percent, short_number

_SCORES = (
    ("accuracy", "accuracy"),
    ("f1", "macro-F1"),
    ("accuracy_top5", "top-5 accuracy"),
    ("clip_accuracy", "accuracy of single clips"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One big number, what it is, a note of what to hold it against, and its colour (of the palette)."""

    number: str
    name: str
    note: str = ""
    colour: str = "ink"


def run_tiles(run: Run) -> list[Tile]:
    """The numbers of a run: its evaluation where there is one, else the last epoch."""
    if run.evaluation is not None:
        return evaluation_tiles(run.evaluation)
    return _validation_tiles(run) + _training_tiles(run)


def evaluation_tiles(evaluation: Evaluation) -> list[Tile]:
    """Accuracy, F1 and their kin with the level of guessing."""
    chance = chance_level(evaluation)
    notes = {
        "accuracy": "" if chance is None else f"guessing: {percent(chance)}",
        "f1": "mean over the classes",
        "clip_accuracy": "one clip a video",
    }
    scores = evaluation.scores
    if len(evaluation.class_names) <= 5:
        scores = {name: value for name, value in scores.items() if name != "accuracy_top5"}
    return [Tile(percent(scores[key]), name, notes.get(key, "")) for key, name in _SCORES if key in scores]


def evaluation_basis(evaluation: Evaluation) -> str:
    """What the scores were measured on, as one line."""
    parts = [count(evaluation.videos, "video")]
    if evaluation.split:
        parts.append(f"split “{evaluation.split}”")
    if evaluation.class_names:
        parts.append(count(len(evaluation.class_names), "class"))
    if evaluation.clips_per_video is not None:
        parts.append(f"{count(evaluation.clips_per_video, 'clip')} a video")
    return ", ".join(parts)


def chance_level(evaluation: Evaluation | None) -> float | None:
    """Accuracy of guessing evenly among the classes."""
    return 1 / len(evaluation.class_names) if evaluation is not None and evaluation.class_names else None


def _validation_tiles(run: Run) -> list[Tile]:
    named = (("accuracy", "validation accuracy"), ("f1", "validation macro-F1"))
    curves = [(run.validation_curve(key), name) for key, name in named]
    return [Tile(percent(curve.last), name, f"epoch {curve.epochs[-1]}") for curve, name in curves if curve]


def _training_tiles(run: Run) -> list[Tile]:
    speed, loss, clips = (run.train_curve(key) for key in ("speed_accuracy", "loss", "clips_per_second"))
    tiles = []
    if speed:
        tiles.append(Tile(percent(speed.last), "speed told right", "training clips; guessing: 50 %"))
    if loss:
        tiles.append(Tile(short_number(loss.last), "training loss", f"epoch {loss.epochs[-1]}"))
        tiles.append(Tile(f"{len(loss.epochs):,}", "epochs"))
    if clips:
        tiles.append(Tile(short_number(clips.last), "clips per second", "last epoch"))
    return tiles
