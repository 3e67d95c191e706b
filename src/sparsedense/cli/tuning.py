"""The command that finds the machine's fastest settings for a recipe."""

from collections.abc import Sequence
from pathlib import Path

from sparsedense.cli.parser import parse_function


def tune(arguments: Sequence[str]) -> None:
    """Find the memory layout, precision, threads, workers and compilation with which a recipe trains fastest here."""

    def command(
        recipe: str,
        store: str,
        out: Path = Path("tuned.yaml"),
        minutes: float = 10.0,
        rounds: int = 4,
        batch_sizes: list[int] = [],  # noqa: B006 (never changed; jsonargparse shows it in the help)
    ) -> None:
        """Try settings of the machine by a few real steps each and write the best as a YAML file.

        Join the file to the recipe to train with it: `pretrain STORE --recipe RECIPE+tuned.yaml`.

        Args:
            recipe: name of a recipe, a YAML file, or several joined by +.
            store: folder that `prepare` made, or its URL; then all of it is copied first, to where trainings look.
            out: file to write.
            minutes: after so many no further settings are tried.
            rounds: steps of each trial.
            batch_sizes: numbers of videos a step to try beside the recipe's; another one changes what is learnt.
        """
        from sparsedense.cli.step_table import print_trials
        from sparsedense.config import load_experiment
        from sparsedense.data.locations import parse_location
        from sparsedense.data.remote_store import local_store
        from sparsedense.training.tuning import tune, write_settings

        out.parent.mkdir(parents=True, exist_ok=True)  # before minutes of trials: it may be impossible
        trials = tune(
            load_experiment(recipe),
            local_store(parse_location(store)),
            budget_seconds=60 * minutes,
            batch_sizes=batch_sizes,
            rounds=rounds,
            on_trial=lambda trial: print(f"{trial.clips_per_second:8.2f} clips/s  {trial.describe()}", flush=True),
        )
        print_trials(trials)
        write_settings(out, trials, recipe=recipe)
        print(f"wrote {out}; train with --recipe {recipe}+{out}")

    command(**parse_function(command, "tune", arguments))
