"""What the page of a single run shows, ready for the template."""

from sparsedense.report.class_figures import confusion_matrix, frequent_confusions
from sparsedense.report.curve_figures import (
    loss_pictures,
    machine_pictures,
    score_pictures,
    speed_accuracy_picture,
    weight_schedule,
)
from sparsedense.report.facts import environment_facts, recipe_name
from sparsedense.report.read_files import as_text
from sparsedense.report.read_run import Evaluation, Run
from sparsedense.report.tiles import evaluation_basis, run_tiles


def run_context(run: Run) -> dict[str, object]:
    """Values of the template run.html.j2; what the run does not have is empty."""
    evaluation = run.evaluation
    losses = [weight_schedule(run), *loss_pictures(run), speed_accuracy_picture(run)]
    return {
        "title": run.folder.resolve().name,
        "command": as_text(run.environment.get("command")) or "",
        "recipe": recipe_name(run.config),
        "facts": environment_facts(run.environment),
        "tiles": run_tiles(run),
        "basis": "" if evaluation is None else evaluation_basis(evaluation),
        "scores": score_pictures(run),
        "losses": [picture for picture in losses if picture is not None],
        "machine": machine_pictures(run),
        "views_picture": run.views_picture,
        "config_text": run.config_text,
        **evaluation_context(evaluation),
    }


def evaluation_context(evaluation: Evaluation | None) -> dict[str, object]:
    """Per-class table, confusion matrix and examples of an evaluation, empty where there is none."""
    if evaluation is None:
        return {"num_classes": 0, "per_class": [], "confusion": None, "mistakes": [], "right": [], "wrong": []}
    return {
        "num_classes": len(evaluation.class_names),
        "per_class": sorted(evaluation.per_class, key=lambda score: (-score.f1, score.name)),
        "confusion": confusion_matrix(evaluation),
        "mistakes": frequent_confusions(evaluation),
        "right": [example for example in evaluation.examples if example.correct],
        "wrong": [example for example in evaluation.examples if not example.correct],
    }
