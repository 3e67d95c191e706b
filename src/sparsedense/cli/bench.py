"""The commands that measure speed on the user's machine: of a store, and of a training step."""

from collections.abc import Sequence
from typing import Literal

from sparsedense.cli.parser import parse_function


def bench(arguments: Sequence[str]) -> None:
    """Measure how fast a store is read (`bench data STORE`) or a recipe trains (`bench train RECIPE`), part by part."""
    if arguments[:1] == ["train"]:
        _bench_train(arguments[1:])
        return

    def command(
        what: Literal["data"],
        store: str,
        workers: list[int] = [0, 1, 2],  # noqa: B006 (never changed; jsonargparse shows it in the help)
        rounds: int = 10,
        batch_size: int = 8,
        clip_length: int = 16,
        size: int = 112,
        device: str = "cpu",
        json: bool = False,
    ) -> None:
        """Measure clips a second: read, decode, crop, collate and augment alone, and the whole loader.

        The limit is the JPEG decoder alone for a store of JPEG frames, and one copy of the pixels for a raw one.

        Args:
            what: what to measure: `data`.
            store: folder that `prepare` made, or its URL.
            workers: numbers of loader processes to try, as in `0,1,2`.
            rounds: batches that each number is the median of.
            batch_size: videos of a batch.
            clip_length: frames of a clip.
            size: height and width of a clip in pixels.
            device: where batches are augmented, `cpu` or `cuda`.
            json: print one JSON document instead of a table.
        """
        from sparsedense.cli.loading_table import print_loading
        from sparsedense.cli.output import print_json
        from sparsedense.data.clip_config import ClipConfig
        from sparsedense.data.loading_speed import measure_loading
        from sparsedense.data.remote_store import open_store

        speed = measure_loading(
            open_store(store),
            clips=ClipConfig(length=clip_length, size=size),
            workers=workers,
            batch_size=batch_size,
            rounds=rounds,
            device=device,
        )
        if json:
            print_json(speed.to_dict())
        else:
            print_loading(speed)

    command(**parse_function(command, "bench", arguments))


def _bench_train(arguments: Sequence[str]) -> None:
    def command(
        recipe: str = "sparsedense",
        store: str | None = None,
        against: list[Literal["plain", "reference"]] = [],  # noqa: B006 (never changed; jsonargparse shows it)
        rounds: int = 10,
        batch_size: int | None = None,
        json: bool = False,
    ) -> None:
        """Measure a pretraining step part by part, beside what the device's matrix products can do at best.

        Args:
            recipe: name of a recipe, a YAML file, or several joined by +.
            store: folder that `prepare` made, or its URL; then all of it is copied first, to where trainings look.
                Without it clips are made up, and there is no wait for data.
            against: other ways to do the same step, in turn with ours: `plain` is this code in float32 without tuning
                of layout, optimiser and memory; `reference` besides has a forward pass for each view, and losses by
                loops over the videos, as the paper's authors.
            rounds: steps that each number is the median of.
            batch_size: videos a step, in place of the recipe's.
            json: print one JSON document instead of a table.
        """
        from sparsedense.cli.output import print_json
        from sparsedense.cli.step_table import print_step
        from sparsedense.config import load_experiment
        from sparsedense.data.locations import parse_location
        from sparsedense.data.remote_store import local_store
        from sparsedense.training.step_timing import time_step

        changes = {} if batch_size is None else {"pretrain": {"batch_size": batch_size}}
        folder = None if store is None else local_store(parse_location(store))
        comparison = time_step(load_experiment(recipe, **changes), store=folder, against=against, rounds=rounds)
        if json:
            print_json(comparison.to_dict())
        else:
            print_step(comparison)

    command(**parse_function(command, "bench train", _recipe_first(arguments)))


def _recipe_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with a recipe that stands first as a flag: it may be left out."""
    given = list(arguments)
    return ["--recipe", *given] if given and not given[0].startswith("-") else given
