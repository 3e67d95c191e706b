"""Commands that train."""

from collections.abc import Sequence

from sparsedense.cli.detection import without_task
from sparsedense.cli.detection_training import finetune_detection
from sparsedense.cli.output import report_where_possible
from sparsedense.cli.parser import parse_function, parse_training
from sparsedense.cli.tables import print_run
from sparsedense.processes import is_main_process


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
    _train_phase("pretrain", pretrain.__doc__ or "", arguments)


def finetune(arguments: Sequence[str]) -> None:
    """Train a classifier on the labelled videos, from a pretrained model or from scratch.

    For actions in long videos, see `--task detection --help`.
    """
    task, arguments = without_task(arguments)
    if task == "detection":
        finetune_detection(arguments)
        return
    _train_phase("finetune", finetune.__doc__ or "", arguments)


def train(arguments: Sequence[str]) -> None:
    """Run the paper's curriculum on labelled and unlabelled videos: speed, consistency, classes."""
    _train_phase("train", train.__doc__ or "", arguments)


def _train_phase(phase: str, about: str, arguments: Sequence[str]) -> None:
    parsed = parse_training(phase, about, arguments)
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
    if is_main_process():
        print_run(run)
        report_where_possible(run.path)
