"""Commands that measure what was learnt, and show it."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sparsedense.cli.detection import evaluate_detection, without_task
from sparsedense.cli.output import print_json, report_where_possible
from sparsedense.cli.parser import Precision, parse_function
from sparsedense.cli.probe_table import print_probe
from sparsedense.cli.tables import print_evaluation, print_results

DEMO_SEEDS = [0, 1, 2]


def demo(arguments: Sequence[str]) -> None:
    """See the whole idea work on generated videos, in minutes."""

    def command(
        out: Path = Path("runs/demo"),
        recipe: str = "sparsedense+small",
        labels_per_class: int = 3,
        seeds: list[int] = DEMO_SEEDS,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Generate videos, pretrain, fine-tune from the pretrained and from random weights, compare, and report.

        Args:
            out: the folder to write.
            recipe: name of a recipe, a YAML file, or several joined by +.
            labels_per_class: labelled training videos a class.
            seeds: paired seeds of the comparison.
            resume: go on with a demo that was interrupted.
            overwrite: delete a demo that is in the folder.
        """
        from sparsedense.experiments.demo import demo_experiment, run_demo

        experiment = demo_experiment(recipe, labels_per_class)
        results = run_demo(out, experiment=experiment, seeds=seeds, resume=resume, overwrite=overwrite)
        print_results(results, out)

    command(**parse_function(command, "demo", arguments))


def probe(arguments: Sequence[str]) -> None:
    """Measure what an encoder has learnt, beside random networks: kNN, linear probe, controls, robustness."""

    def command(
        model: Path,
        store: str,
        split: str = "test",
        labels_per_class: int | None = 10,
        clips_per_video: int = 10,
        robustness: bool = True,
        robustness_clips: int = 3,
        controls: bool = True,
        control_videos: int = 60,
        seed: int = 0,
        json: bool = False,
        num_workers: int = 1,
    ) -> None:
        """Measure frozen features by kNN, linear probe, retrieval and statistics, and the speed head by its controls.

        Args:
            model: `model.safetensors` of a run; its classes do not matter.
            store: folder that `prepare` made, or its URL.
            split: `val` or `test`, the videos to recognise.
            labels_per_class: labelled training videos of each class to recognise them by; `null` takes all.
            clips_per_video: evenly spaced clips a video.
            robustness: measure accuracy under noise, blur, JPEG, brightness and frame rates; `false` is much quicker.
            robustness_clips: clips a video in that.
            controls: measure the speed head on frozen, shuffled and re-encoded clips.
            control_videos: most videos to measure them on.
            seed: of the choice of labels, the random networks, the noise and the shuffling.
            json: print one JSON object and nothing else.
            num_workers: processes that read clips.
        """
        from sparsedense.evaluation.probe import probe as probe_model
        from sparsedense.progress import progress_bar

        with progress_bar("probe") as advance:
            result = probe_model(
                model,
                store,
                split=split,
                labels_per_class=labels_per_class,
                clips_per_video=clips_per_video,
                robustness=robustness,
                robustness_clips=robustness_clips,
                controls=controls,
                control_videos=control_videos,
                seed=seed,
                num_workers=num_workers,
                progress=advance,
            )
        if json:
            print_json(asdict(result))
        else:
            print_probe(result)

    command(**parse_function(command, "probe", arguments))


def evaluate(arguments: Sequence[str]) -> None:
    """Judge a recogniser by the labelled videos of a split."""
    task, arguments = without_task(arguments)
    if task == "detection":
        evaluate_detection(arguments)
        return

    def command(
        model: Path,
        store: str,
        split: str = "test",
        clips_per_video: int = 10,
        out: Path | None = None,
        json: bool = False,
        num_workers: int = 1,
        precision: Precision = "float32",
    ) -> None:
        """Measure accuracy, macro F1 and confusion of trimmed videos; for long ones, see --task detection --help.

        Args:
            model: `model.safetensors` of a run.
            store: folder that `prepare` made, or its URL.
            split: `train`, `val` or `test`.
            clips_per_video: evenly spaced clips a video.
            out: folder for `evaluation.json` and pictures of examples; the model's folder if not given.
            json: print one JSON object and nothing else.
            num_workers: processes that read clips.
            precision: `float32`, for the same figures on every machine; `bfloat16`, or `auto`, as `predict` does.
        """
        from sparsedense.evaluation.evaluate import evaluate as evaluate_model
        from sparsedense.progress import progress_bar

        folder = out or model.parent
        with progress_bar("evaluate") as advance:
            result = evaluate_model(
                model,
                store,
                split=split,
                clips_per_video=clips_per_video,
                out=folder,
                num_workers=num_workers,
                precision=precision,
                progress=advance,
            )
        if json:
            print_json(asdict(result))
        else:
            print_evaluation(result)
            report_where_possible(folder)

    command(**parse_function(command, "evaluate", arguments))


def compare(arguments: Sequence[str]) -> None:
    """Compare ways to pretrain over paired seeds and numbers of labels, with the evidence; goes on after a kill."""

    def command(
        experiment: str,
        out: Path,
        store: list[str] | None = None,
        parallel_runs: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Run what is missing of arms x seeds x numbers of labels, and write tables, gates and a page.

        Args:
            experiment: YAML file of the arms, as in "A comparison of your own" in docs/experiments.md, or the name of a
                shipped one: `few_labels` or `ablation`.
            out: the folder to write; what is finished in it is not done again.
            store: folders that `prepare` made, in place of the file's; several, with commas between, are folds.
            parallel_runs: runs at a time, in place of the file's.
            overwrite: do runs again that were done with other settings.
        """
        from sparsedense.experiments.study import StudyIncompleteError, run_study
        from sparsedense.experiments.study_arms import check_arms
        from sparsedense.experiments.study_config import load_study
        from sparsedense.experiments.study_table import print_study

        changes = {"stores": store, "parallel_runs": parallel_runs}
        config = load_study(experiment, **{key: value for key, value in changes.items() if value is not None})
        check_arms(config, experiment)
        try:
            outcome = run_study(config, out, overwrite=overwrite)
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on from here", file=sys.stderr)
            raise SystemExit(130) from None
        print_study(outcome.results, outcome.gates, config.baseline, outcome.test_videos)
        print(f"report: {outcome.report}")
        if outcome.failures:
            raise StudyIncompleteError(outcome.failures, out)

    command(**parse_function(command, "compare", arguments))


def report(arguments: Sequence[str]) -> None:
    """Write the report page of a run or a comparison again."""

    def command(run: Path) -> None:
        """Write `report.html` into the folder of a run or a comparison.

        Args:
            run: the folder.
        """
        from sparsedense.report.page import write_report

        print(write_report(run))

    command(**parse_function(command, "report", arguments))
