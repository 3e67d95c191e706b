"""The command line: one thin function a command, in the order in which one needs them.

Each imports what it calls when it runs, so that help is quick.
"""

import difflib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from sparsedense import __version__
from sparsedense.command_parser import parse_function, parse_training
from sparsedense.probe_table import print_probe
from sparsedense.tables import print_evaluation, print_prepared, print_results, print_run

DEMO_SEEDS = [0, 1, 2]


def demo(arguments: Sequence[str]) -> None:
    """See the whole idea work on generated videos, in minutes."""

    def command(
        out: Path = Path("runs/demo"),
        recipe: str = "sparsedense+small",
        labels_per_class: int = 3,
        seeds: list[int] = DEMO_SEEDS,
        overwrite: bool = False,
    ) -> None:
        """Generate videos, pretrain, fine-tune from the pretrained and from random weights, compare, and report.

        Args:
            out: the folder to write.
            recipe: name of a recipe, a YAML file, or several joined by +.
            labels_per_class: labelled training videos a class.
            seeds: paired seeds of the comparison.
            overwrite: delete a demo that is in the folder.
        """
        from sparsedense.experiments.demo import demo_experiment, run_demo

        experiment = demo_experiment(recipe, labels_per_class)
        results = run_demo(out, experiment=experiment, seeds=seeds, overwrite=overwrite)
        print_results(results, out)

    command(**parse_function(command, "demo", arguments))


def actors(arguments: Sequence[str]) -> None:
    """Generate videos of people who act, to try things on."""
    from sparsedense.actors.dataset import make_actors
    from sparsedense.progress import progress_bar

    values = parse_function(make_actors, "actors", arguments, skip={"actions", "settings", "progress"})
    with progress_bar("actors") as advance:
        made = make_actors(**values, progress=advance)
    print(f"{sum(made.videos.values())} videos; next, `sparsedense prepare {made.out} --out STORE`")


def prepare(arguments: Sequence[str]) -> None:
    """Decode a folder of videos once into a store of frames."""
    from sparsedense.data.prepare import PrepareProgress
    from sparsedense.data.prepare import prepare as prepare_store
    from sparsedense.progress import progress_bar

    values = parse_function(prepare_store, "prepare", arguments, skip={"max_shard_bytes", "progress"})
    latest: list[PrepareProgress] = []

    def note() -> str:
        state = latest[-1]
        rates = f"{state.files_per_second:.1f} files/s  {state.frames_per_second:.0f} frames/s"
        return rates + (f"  {state.rejected} rejected" if state.rejected else "")

    with progress_bar("prepare", note=note) as advance:

        def show(state: PrepareProgress) -> None:
            latest[:] = [state]
            advance(state.done, state.total)

        summary = prepare_store(**values, progress=show)
    print_prepared(summary)


def inspect(arguments: Sequence[str]) -> None:
    """Show what a store holds: classes, lengths, rejects, a contact sheet."""

    def command(
        store: Path,
        contact_sheet: Path | None = None,
        clip_length: int = 16,
        skip_ratio: float = 4.0,
        min_dense_stride_frames: float = 1.7,
    ) -> None:
        """Count classes, frames and rejects, tell what the length filter leaves, and draw a contact sheet.

        Args:
            store: folder that `prepare` made.
            contact_sheet: PNG to write; `contact_sheet.png` in the store if not given.
            clip_length: frames of a clip, for the length filter.
            skip_ratio: sparse stride over dense stride, for the length filter.
            min_dense_stride_frames: the least dense stride that the length filter allows.
        """
        from sparsedense.data.contact_sheet import contact_sheet as draw_contact_sheet
        from sparsedense.data.inspect import inspect_store, print_summary

        summary = inspect_store(
            store,
            clip_length=clip_length,
            skip_ratio=skip_ratio,
            min_dense_stride_frames=min_dense_stride_frames,
        )
        print_summary(summary)
        print(f"contact sheet: {draw_contact_sheet(store, contact_sheet or store / 'contact_sheet.png')}")

    command(**parse_function(command, "inspect", arguments))


def recipes(arguments: Sequence[str]) -> None:
    """List the recipes that come with the package."""

    def command() -> None:
        """List the recipes: the first lines of each file say what it is. Join two with +: `tclr+small`."""
        from sparsedense.config import recipe_names, recipe_path

        for name in recipe_names():
            lines = recipe_path(name).read_text().splitlines()
            about = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
            print(f"{name:12} {about}")

    command(**parse_function(command, "recipes", arguments))


def pretrain(arguments: Sequence[str]) -> None:
    """Learn an encoder from all videos of a store, without labels."""
    _train_phase("pretrain", arguments)


def probe(arguments: Sequence[str]) -> None:
    """Measure what an encoder has learnt, beside a random network: kNN, linear probe, controls, robustness."""

    def command(
        model: Path,
        store: Path,
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
            store: folder that `prepare` made.
            split: `val` or `test`, the videos to recognise.
            labels_per_class: labelled training videos of each class to recognise them by; `null` takes all.
            clips_per_video: evenly spaced clips a video.
            robustness: measure accuracy under noise, blur, JPEG, brightness and frame rates; `false` is much quicker.
            robustness_clips: clips a video in that.
            controls: measure the speed head on frozen, shuffled and re-encoded clips.
            control_videos: most videos to measure them on.
            seed: of the choice of labels, the random network, the noise and the shuffling.
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
            _print_json(asdict(result))
        else:
            print_probe(result)

    command(**parse_function(command, "probe", arguments))


def finetune(arguments: Sequence[str]) -> None:
    """Train a classifier on the labelled videos, from a pretrained model or from scratch."""
    _train_phase("finetune", arguments)


def train(arguments: Sequence[str]) -> None:
    """Run the paper's curriculum on labelled and unlabelled videos: speed, consistency, classes."""
    _train_phase("train", arguments)


def evaluate(arguments: Sequence[str]) -> None:
    """Judge a recogniser by the labelled videos of a split."""

    def command(
        model: Path,
        store: Path,
        split: str = "test",
        clips_per_video: int = 10,
        out: Path | None = None,
        json: bool = False,
        num_workers: int = 1,
    ) -> None:
        """Measure clip and video accuracy, macro precision, recall and F1, and the confusion matrix.

        Args:
            model: `model.safetensors` of a run.
            store: folder that `prepare` made.
            split: `train`, `val` or `test`.
            clips_per_video: evenly spaced clips a video.
            out: folder for `evaluation.json` and pictures of examples; the model's folder if not given.
            json: print one JSON object and nothing else.
            num_workers: processes that read clips.
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
                progress=advance,
            )
        if json:
            _print_json(asdict(result))
        else:
            print_evaluation(result)
            _report_where_possible(folder)

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
            experiment: YAML file of the arms, or the name of a shipped one: `few_labels` or `ablation`.
            out: the folder to write; what is finished in it is not done again.
            store: folders that `prepare` made, in place of the file's; several, with commas between, are folds.
            parallel_runs: runs at a time, in place of the file's.
            overwrite: do runs again that were done with other settings.
        """
        from sparsedense.experiments.study import StudyIncompleteError, run_study
        from sparsedense.experiments.study_config import load_study
        from sparsedense.experiments.study_table import print_study

        changes = {"stores": store, "parallel_runs": parallel_runs}
        config = load_study(experiment, **{key: value for key, value in changes.items() if value is not None})
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


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "demo": demo,
    "actors": actors,
    "prepare": prepare,
    "inspect": inspect,
    "recipes": recipes,
    "pretrain": pretrain,
    "probe": probe,
    "finetune": finetune,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if given[0] == "--version":
        print(f"sparsedense {__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "see `sparsedense --help`"
        print(f"error: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    try:
        COMMANDS[name](rest)
    except KeyboardInterrupt:
        print(
            "\ninterrupted; once an epoch was finished, a training goes on with the same command and --resume",
            file=sys.stderr,
        )
        return 130
    except (ValueError, OSError) as error:  # what the user can mend; anything else is a fault of ours, shown in full
        if os.environ.get("SPARSEDENSE_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _train_phase(phase: str, arguments: Sequence[str]) -> None:
    parsed = parse_training(phase, COMMANDS[phase].__doc__ or "", arguments)
    from sparsedense.training.plan import Phase
    from sparsedense.training.run import run_phase

    run = run_phase(
        Phase(phase),
        parsed.store,
        parsed.out,
        parsed.experiment,
        init=parsed.init,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
    )
    print_run(run)
    _report_where_possible(run.path)


def _report_where_possible(folder: Path) -> None:
    if (folder / "metrics.jsonl").is_file():
        from sparsedense.report.page import write_report

        print(f"report: {write_report(folder)}")


def _print_json(content: object) -> None:
    print(json.dumps(content))


def _overview() -> str:
    lines = ["usage: sparsedense COMMAND ...", "", "Action recognisers from mostly unlabelled video.", ""]
    lines += [f"  {name:10} {(run.__doc__ or '').splitlines()[0]}" for name, run in COMMANDS.items()]
    return "\n".join([*lines, "", "`sparsedense COMMAND --help` explains a command."])
