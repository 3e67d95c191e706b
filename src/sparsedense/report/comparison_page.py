"""What the page of a comparison shows, ready for the template."""

from dataclasses import dataclass

from sparsedense.report.canvas import arm_colour
from sparsedense.report.class_figures import class_comparison
from sparsedense.report.comparison_figures import arm_losses_over_epochs, arm_scores_over_epochs, gain_picture
from sparsedense.report.curve_figures import loss_pictures, speed_accuracy_picture, weight_schedule
from sparsedense.report.facts import environment_facts
from sparsedense.report.links import run_link
from sparsedense.report.read_comparison import Comparison
from sparsedense.report.read_run import Run
from sparsedense.report.run_page import evaluation_context
from sparsedense.report.tiles import Tile, chance_level
from sparsedense.report.timeline_figure import sparse_and_dense
from sparsedense.report.verdict import verdict
from sparsedense.report.wording import arm_name, count, duration, key_name, mean_and_spread, percent, signed_points

_COLUMNS = (
    ("accuracy_first_epoch", "accuracy, first supervised epoch"),
    ("f1_first_epoch", "F1, first supervised epoch"),
    ("accuracy", "accuracy, end"),
    ("f1", "F1, end"),
)
_ABSENT = "n/a"
_QUESTIONS = {
    "speed": "Which of two clips plays faster, or is this one sparse or dense (speed)?",
    "consistency": "Does the dense clip resemble the intervals of the sparse clip in feature space as in pixels "
    "(consistency)?",
    "alignment": "In which interval of which sparse clip does the dense clip lie (alignment)?",
    "contrast": "Which two clips are of the same video (contrast)?",
    "generator": "What would the dense clip of each interval look like to the network (generator)?",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A score of the main table: mean and spread, and below it every seed."""

    summary: str
    seeds: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the main table; `colour` is a name of the palette or empty."""

    name: str
    colour: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the whole and its share of the longest, in percent."""

    name: str
    time: str
    width_percent: float


def comparison_context(comparison: Comparison) -> dict[str, object]:
    """Values of the template comparison.html.j2; what the comparison does not have is empty."""
    best = _shown_run(comparison)
    evaluation = None if best is None else best.evaluation
    chance = chance_level(evaluation)
    columns = [(key, title) for key, title in _COLUMNS if any(key in arm.scores for arm in comparison.arms)]
    curves = [
        arm_scores_over_epochs(comparison, metric="accuracy", label="accuracy"),
        arm_scores_over_epochs(comparison, metric="f1", label="macro-F1"),
        arm_losses_over_epochs(comparison),
    ]
    return {
        "title": comparison.folder.resolve().name,
        "command": comparison.command,
        "verdict": verdict(comparison),
        "tiles": _tiles(comparison, chance),
        "setting": _setting(comparison),
        "columns": [title for _, title in columns],
        "rows": [*_arm_rows(comparison, columns), *_difference_rows(comparison, columns)],
        "gain": gain_picture(comparison, chance=chance),
        "curves": [picture for picture in curves if picture is not None],
        "timeline": sparse_and_dense(),
        "questions": _questions(comparison),
        "views_picture": comparison.views_picture,
        "contact_sheet_picture": comparison.contact_sheet_picture,
        "knn": [(arm_name(name), percent(value)) for name, value in comparison.knn.items()],
        "controls": _controls(comparison),
        "pretraining": _pretraining(comparison),
        "class_gain": class_comparison(comparison),
        "shown_run": "" if best is None else _name(comparison, best),
        "stages": _stages(comparison),
        "total_time": duration(sum(comparison.seconds.values())),
        "links": [run_link(comparison.folder, _name(comparison, run)) for run in comparison.runs()],
        "facts": environment_facts(comparison.environment),
        **evaluation_context(evaluation),
    }


def _shown_run(comparison: Comparison) -> Run | None:
    """The first evaluated run, of the pretrained arm if there is one: its mistakes are shown."""
    arms = sorted(comparison.arms, key=lambda arm: arm.name != "pretrained")
    return next((run for arm in arms for run in arm.runs if run.evaluation is not None), None)


def _tiles(comparison: Comparison, chance: float | None) -> list[Tile]:
    tiles = [
        Tile(
            mean_and_spread(arm.scores["accuracy"]), f"accuracy from {arm_name(arm.name)}", "", arm_colour(arm.name, i)
        )
        for i, arm in sorted(enumerate(comparison.arms), key=lambda item: item[1].name == "scratch")
        if "accuracy" in arm.scores
    ]
    knn = comparison.knn
    if "untrained" in knn and "pretrained" in knn:
        note = f"{percent(knn['untrained'])} before pretraining"
        tiles.append(Tile(percent(knn["pretrained"]), "nearest neighbour after pretraining", note))
    if chance is not None:
        tiles.append(Tile(percent(chance), "guessing"))
    return tiles


def _setting(comparison: Comparison) -> str:
    parts = []
    if comparison.labels_per_class is not None:
        parts.append(f"{count(comparison.labels_per_class, 'labelled video')} a class")
    if comparison.test_videos is not None:
        parts.append(count(comparison.test_videos, "test video"))
    if comparison.seeds:
        parts.append(f"{count(len(comparison.seeds), 'seed')} ({', '.join(map(str, comparison.seeds))})")
    return " · ".join(parts)


def _arm_rows(comparison: Comparison, columns: list[tuple[str, str]]) -> list[Row]:
    return [
        Row(arm_name(arm.name), arm_colour(arm.name, index), [_cell(arm.scores.get(key, [])) for key, _ in columns])
        for index, arm in enumerate(comparison.arms)
    ]


def _cell(values: list[float]) -> Cell:
    if not values:
        return Cell(_ABSENT)
    return Cell(mean_and_spread(values), " · ".join(f"{100 * value:.1f}" for value in values) if values[1:] else "")


def _difference_rows(comparison: Comparison, columns: list[tuple[str, str]]) -> list[Row]:
    known = {key: comparison.differences[key] for key, _ in columns if key in comparison.differences}
    if not known:
        return []
    cells = {
        key: Cell(f"{signed_points(d.mean)} points", f"95 % CI {signed_points(d.low)} to {signed_points(d.high)}")
        for key, d in known.items()
    }
    return [Row("difference of the pairs", "", [cells.get(key, Cell(_ABSENT)) for key, _ in columns])]


def _controls(comparison: Comparison) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (key_name(name), [(f"{key_name(key)} frames", percent(value)) for key, value in values.items()])
        for name, values in comparison.controls.items()
        if values
    ]


def _pretraining(comparison: Comparison) -> list[object]:
    run = comparison.pretrain
    if run is None:
        return []
    prefix = "pretrain-"
    pictures = [weight_schedule(run, name=prefix + "weights"), *loss_pictures(run, prefix=prefix)]
    pictures.append(speed_accuracy_picture(run, prefix=prefix))
    return [picture for picture in pictures if picture is not None]


def _stages(comparison: Comparison) -> list[Stage]:
    longest = max([*comparison.seconds.values(), 1e-9])
    return [
        Stage(key_name(name), duration(seconds), round(100 * seconds / longest, 1))
        for name, seconds in comparison.seconds.items()
    ]


def _questions(comparison: Comparison) -> list[str]:
    """What pretraining asked; all of it where the run does not tell."""
    run = comparison.pretrain
    asked = [] if run is None else [text for name, text in _QUESTIONS.items() if f"loss_{name}" in run.train]
    return asked or list(_QUESTIONS.values())


def _name(comparison: Comparison, run: Run) -> str:
    return run.folder.relative_to(comparison.folder).as_posix()
