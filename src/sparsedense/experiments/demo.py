"""The whole idea on generated videos, in minutes: do unlabelled videos help a recogniser that has few labels?

actors -> prepare -> pretrain -> fine-tune pretrained and from scratch, paired seeds -> evaluate -> report
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsedense.actors.dataset import make_actors
from sparsedense.config import Experiment, experiment_to_dict, load_experiment
from sparsedense.data.contact_sheet import contact_sheet
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.data.view_picture import draw_views
from sparsedense.evaluation.probe import probe
from sparsedense.experiments.comparison import Comparison, compare_arms, differences
from sparsedense.experiments.job_records import as_json, write_atomically
from sparsedense.experiments.stopwatch import Stopwatch
from sparsedense.models.model_file import load_model
from sparsedense.progress import progress_bar
from sparsedense.report.page import write_report
from sparsedense.settings_changes import changes
from sparsedense.training.machine import describe_environment, uses_cuda
from sparsedense.training.run import pretrain
from sparsedense.training.run_folder import describe_store, write_json

CONTROL_VIDEOS = 60
DEMO_RECIPE = "sparsedense+small"
PARALLEL_RUNS = 2
_SETTINGS_FILE = "demo.json"


@dataclass(frozen=True)
class DemoSize:
    """How large the demo is.

    Attributes:
        train_per_class: labelled videos a class to draw the few labels from; pretraining sees them without labels.
        test_per_class: test videos a class, of actors that no training video shows.
        val_per_class: validation videos a class, for the curves; nothing is chosen by them.
        unlabelled: unlabelled videos.
        clips_per_video: clips a video of the final evaluation.
        short_side: shorter side of the stored frames in pixels.
    """

    train_per_class: int = 10
    test_per_class: int = 20
    val_per_class: int = 2
    unlabelled: int = 400
    clips_per_video: int = 3
    short_side: int = 56


def run_demo(
    out: str | Path,
    *,
    experiment: Experiment | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    size: DemoSize | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Run all stages, write `results.json` and `report.html` into a folder, and return the results.

    Args:
        out: the folder.
        experiment: the settings; `demo_experiment()` if not given.
        seeds: paired seeds of the comparison.
        size: numbers of videos and clips.
        resume: go on with a demo of the same settings that was interrupted; what is finished is not done again.
        overwrite: delete a demo that is in the folder.
        progress: show progress bars.

    Raises:
        FileExistsError: the folder holds something else than a demo, or a demo and neither `resume` nor `overwrite`.
        ValueError: with `resume`, the demo was begun with other settings, or there is none.
    """
    folder, size = Path(out), size or DemoSize()
    experiment = experiment or demo_experiment()
    _enter(folder, _settings(experiment, seeds, size), resume=resume, overwrite=overwrite)
    watch = Stopwatch()
    store = _make_store(folder, size, experiment.seed, watch)
    with watch.stage("pretrain"):
        pretrained = pretrain(
            store.path, folder / "pretrain", experiment, resume="auto" if resume else False, progress=progress
        )
    with watch.stage("probe"):
        evidence = _representation_evidence(store, pretrained.model, size.clips_per_video, experiment.seed)
    comparison = compare_arms(
        store,
        folder,
        experiment,
        arms={"scratch": None, "pretrained": pretrained.model},
        seeds=seeds,
        clips_per_video=size.clips_per_video,
        parallel_runs=1 if uses_cuda(experiment.machine) else PARALLEL_RUNS,
        resume=resume,
        progress=progress,
    )
    watch.seconds["finetune and evaluate"] = comparison.seconds
    results = _results(comparison, evidence, experiment, seeds)
    environment = describe_environment() | {"store": describe_store(store), "resumed": resume}
    with watch.stage("report"):
        contact_sheet(store, folder / "contact_sheet.png", rows=len(store.class_names), columns=8, split="train")
        draw_views(store, int(store.videos(split="test")[0]), experiment.clips, folder / "views.png")
        for run in [pretrained.path, *(folder / path for arm in comparison.arms.values() for path in arm.runs)]:
            write_report(run)
        _save(results, environment, watch, folder)
        write_report(folder)
    _save(results, environment, watch, folder)
    return results


def demo_experiment(recipe: str | Path = DEMO_RECIPE, labels_per_class: int = 3) -> Experiment:
    """Settings of the comparison: few labels, and the last epoch's weights, so that nothing is chosen by validation."""
    return load_experiment(recipe, labels_per_class=labels_per_class, finetune={"keep": "last"})


def _settings(experiment: Experiment, seeds: Sequence[int], size: DemoSize) -> dict[str, Any]:
    """What decides the results of a demo; how the machine is used does not."""
    values = {key: value for key, value in experiment_to_dict(experiment).items() if key != "machine"}
    return as_json({"experiment": values, "seeds": list(seeds), "size": asdict(size)})


def _enter(folder: Path, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or check that the demo in it can go on."""
    note = folder / _SETTINGS_FILE
    if resume:
        if not note.is_file():
            raise ValueError(f"{folder}: there is no demo to resume; run without --resume")
        if changed := changes(json.loads(note.read_text(encoding="utf-8")), settings):
            raise ValueError(
                f"the demo in {folder} was begun with other settings: {'; '.join(changed.values())}. Go on with those, "
                f"choose another --out, or pass --overwrite in place of --resume"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        is_demo = note.is_file() or (folder / "actors").is_dir()
        if not overwrite or not is_demo:
            raise FileExistsError(
                f"{folder} is not empty; choose another --out"
                + (", or pass --resume to go on with the demo in it, --overwrite to delete it" if is_demo else "")
            )
        shutil.rmtree(folder)
    write_atomically(note, json.dumps(settings, indent=1) + "\n")


def _make_store(folder: Path, size: DemoSize, seed: int, watch: Stopwatch) -> FrameStore:
    actors = folder / "actors"
    # The list is written when all videos are; what a killed demo left of them is made again.
    if not (actors / "videos.csv").is_file():
        with watch.stage("actors"), progress_bar("actors") as advance:
            make_actors(
                actors,
                seed=seed,
                train_per_class=size.train_per_class,
                val_per_class=size.val_per_class,
                test_per_class=size.test_per_class,
                unlabelled=size.unlabelled,
                overwrite=True,
                progress=advance,
            )
    with watch.stage("prepare"), progress_bar("prepare") as advance:
        summary = prepare(
            actors,
            folder / "store",
            short_side=size.short_side,
            progress=lambda state: advance(state.done, state.total),
        )
    return FrameStore(summary.store)


def _representation_evidence(store: FrameStore, model_path: Path, clips_per_video: int, seed: int) -> dict[str, Any]:
    """What the encoder knows before any label, beside random networks of the same shape, and controls of the speed."""
    probed = probe(
        load_model(model_path),
        store,
        labels_per_class=None,
        clips_per_video=clips_per_video,
        robustness=False,
        control_videos=CONTROL_VIDEOS,
        seed=seed,
    )
    evidence: dict[str, Any] = {
        name: {"random": figure["random"], "untrained": figure["untrained"], "pretrained": figure["model"]}
        for name, figure in (("knn", probed.knn), ("linear", probed.linear))
    }
    if probed.controls is not None:
        evidence["controls"] = {"speed_accuracy": probed.controls}
    return evidence


def _results(
    comparison: Comparison, evidence: dict[str, Any], experiment: Experiment, seeds: Sequence[int]
) -> dict[str, Any]:
    arms = {name: asdict(arm) for name, arm in comparison.arms.items()}
    runs = {name: arm.pop("runs") for name, arm in arms.items()}
    return {
        "arms": arms,
        **evidence,
        "difference": differences(comparison.arms["pretrained"], comparison.arms["scratch"]),
        "labels_per_class": experiment.labels_per_class,
        "test_videos": comparison.test_videos,
        "seeds": list(seeds),
        "runs": {"pretrain": "pretrain", **runs},
    }


def _save(results: dict[str, Any], environment: dict[str, Any], watch: Stopwatch, folder: Path) -> None:
    results["seconds"] = {name: round(seconds, 1) for name, seconds in watch.seconds.items()}
    environment["seconds"] = round(sum(watch.seconds.values()), 1)
    write_json(folder / "environment.json", environment)
    write_json(folder / "results.json", results)
