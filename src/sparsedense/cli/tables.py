"""Tables and short summaries that the commands print."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparsedense.data.listing import counted

if TYPE_CHECKING:
    from sparsedense.data.preparation.summary import PrepareSummary
    from sparsedense.evaluation.evaluate import Evaluation
    from sparsedense.prediction.annotated_videos import DetectionEvaluation
    from sparsedense.prediction.long_videos import Detection
    from sparsedense.training.run import TrainingRun

MOST_ROWS = 20


def print_prepared(summary: "PrepareSummary") -> None:
    """What was done, counts, notes and warnings, and the rejected files with their reasons."""
    console = Console()
    holds = f"{summary.ok} videos, {summary.frames} frames, {summary.rejected} rejected"
    if not summary.changed:
        tried = f", after another try of {summary.files_read}" if summary.files_read else ""
        console.print(f"{summary.store}: up to date{tried}, nothing to do ({holds})", markup=False)
    else:
        done = f"made in {summary.seconds:.1f} s without reading files"
        if summary.files_read:
            rate = summary.frames_read / max(summary.seconds, 1e-9)
            done = f"{counted(summary.files_read, 'file')} read in {summary.seconds:.1f} s ({rate:.0f} frames/s)"
        went_on = ", went on from an interrupted run" if summary.resumed else ""
        console.print(f"{summary.store}: {holds}; {done}{went_on}", markup=False)
    for note in (*summary.notes, *(f"warning: {gap}" for gap in summary.warnings)):
        console.print(note, markup=False)
    for title, files in (("rejected", summary.rejects), ("damaged, kept in part", summary.damaged)):
        if files:
            table = Table(title=f"{title}: {len(files)}", title_justify="left")
            table.add_column("file", overflow="fold")
            table.add_column("reason", overflow="fold")
            for path, reason in files[:MOST_ROWS]:
                table.add_row(escape(path), escape(reason))
            console.print(table)
            if len(files) > MOST_ROWS:
                console.print(f"and {len(files) - MOST_ROWS} more: `sparsedense inspect {summary.store}`", markup=False)


def print_run(run: "TrainingRun") -> None:
    """Where the model is and what validation said."""
    best = "" if run.best_accuracy is None else f", best validation accuracy {run.best_accuracy:.1%}"
    print(f"model: {run.model} ({run.seconds:.0f} s{best})")


def print_evaluation(result: "Evaluation") -> None:
    """The headline numbers and the table of classes."""
    console = Console()
    console.print(
        f"{result.videos} videos of the split {result.split}: accuracy {result.accuracy:.1%} "
        f"({result.clips_per_video} clips a video; centred clip {result.clip_accuracy:.1%}), "
        f"top-5 {result.accuracy_top5:.1%}, macro precision {result.precision:.1%}, recall {result.recall:.1%}, "
        f"F1 {result.f1:.1%}"
    )
    table = Table()
    table.add_column("class")
    for name in ("videos", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for row in result.per_class:
        shares = [f"{row[name]:.1%}" for name in ("precision", "recall", "f1")]
        table.add_row(row["name"], str(row["videos"]), *shares)
    console.print(table)


def print_segments(detections: "Sequence[Detection]") -> None:
    """A line for each segment, and what the scan of each video cost; videos that could not be read are left out."""
    console = Console()
    for detection in detections:
        if detection.error is not None:
            continue
        counts = detection.counts
        share = counts.clips_computed / max(counts.clips_exhaustive, 1)
        console.print(
            f"{detection.video}: {len(detection)} segments in {counts.duration_seconds:.1f} s; "
            f"{counts.frames_decoded} frames decoded, {counts.clips_computed} clips computed ({share:.0%} of all)",
            markup=False,
        )
        if not detection.segments:
            continue
        table = Table()
        for name in ("start", "end"):
            table.add_column(name, justify="right")
        table.add_column("class", overflow="fold")
        table.add_column("score", justify="right")
        for each in detection:
            table.add_row(
                f"{each.start_seconds:.2f} s", f"{each.end_seconds:.2f} s", escape(each.label), f"{each.score:.1%}"
            )
        console.print(table)


def print_detection_evaluation(result: "DetectionEvaluation") -> None:
    """Mean average precision by threshold, then that of each class at tIoU 0.5."""
    console, score = Console(), result.score
    share = result.clips_computed / max(result.clips_exhaustive, 1)
    console.print(
        f"{len(result.detections)} videos, {score.num_segments} segments: mAP@0.5 {score.map_by_threshold[0.5]:.1%}, "
        f"average 0.3-0.7 {score.average():.1%}; {result.frames_decoded} frames decoded, {result.clips_computed} clips "
        f"computed ({share:.0%} of all)"
    )
    table = Table()
    table.add_column("class", overflow="fold")
    thresholds = [0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.95]
    for threshold in thresholds:
        table.add_column(f"{threshold:g}", justify="right")
    for label, row in score.average_precision.items():
        table.add_row(escape(label), *(f"{row[threshold]:.1%}" for threshold in thresholds))
    table.add_section()
    table.add_row("mean", *(f"{score.map_by_threshold[threshold]:.1%}" for threshold in thresholds), style="bold")
    console.print(table)
    if score.unknown_labels:
        console.print(f"classes without true segments, not counted: {', '.join(score.unknown_labels)}", markup=False)


def print_results(results: dict[str, Any], folder: Path) -> None:
    """The demo's comparison, after the paper's Table 2."""
    console = Console()
    labels = results["labels_per_class"]
    table = Table(
        title=f"{results['test_videos']} test videos, {labels or 'all'} labels a class, {len(results['seeds'])} seeds",
        title_justify="left",
    )
    table.add_column("start")
    columns = {
        "accuracy_first_epoch": "accuracy, first epoch",
        "f1_first_epoch": "F1, first epoch",
        "accuracy": "accuracy, end",
        "f1": "F1, end",
    }
    for title in columns.values():
        table.add_column(title, justify="right")
    for name, arm in results["arms"].items():
        table.add_row(name, *(_mean_and_spread(arm[key]) for key in columns))
    console.print(table)
    for key, title in (("accuracy_first_epoch", "first epoch"), ("accuracy", "end")):
        difference = results["difference"][key]
        interval = ""
        if "low" in difference:
            interval = f" (95 % interval {100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
        console.print(f"pretrained - scratch, {title}: {100 * difference['mean']:+.1f} points{interval}")
    knn = results["knn"]
    console.print(
        f"kNN without labels: pretrained {knn['pretrained']:.1%}, untrained {knn['untrained']:.1%}, random weights of "
        f"PyTorch's defaults {knn['random']:.1%}"
    )
    console.print("seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in results["seconds"].items()))
    console.print(f"report: {folder / 'report.html'}")


def _mean_and_spread(values: list[float]) -> str:
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f} %{spread}"
