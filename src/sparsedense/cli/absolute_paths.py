"""Paths on a command line as absolute ones: a batch job starts in the folder where sbatch is called."""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass

from sparsedense.cli.parser import with_values
from sparsedense.data.locations import parse_location, resolved


def absolute_recipe(recipe: str) -> str:
    """A recipe with its files as absolute paths; names of shipped recipes stay.

    Raises:
        FileNotFoundError: there is no such recipe.
        ValueError: a file could not be told from several recipes joined by +.
    """
    from sparsedense.config import recipe_names, recipe_parts, recipe_path

    parts, names = recipe_parts(recipe), recipe_names()
    files = [part if part in names else str(recipe_path(part).resolve()) for part in parts]
    for part, file in zip(parts[:-1], files, strict=False):
        if "+" in file:
            raise ValueError(
                f"recipe {part!r} is the file {file}, whose path has a +, which joins recipes; give it as the last "
                "recipe, or move it to a folder without +"
            )
    return "+".join(files)


def absolute_init(init: str) -> str:
    """The model file to start from as an absolute path; `kinetics` is none."""
    from sparsedense.training.run import KINETICS

    return init if init == KINETICS else resolved(parse_location(init))


def with_absolute_files(words: Sequence[str], takes_file: Callable[[str], bool]) -> list[str]:
    """The words with the values of some flags, written as `--name VALUE` or `--name=VALUE`, as absolute paths.

    Args:
        words: of a command line.
        takes_file: whether the flag of that name, without its dashes and with underscores, takes a file or folder.
    """
    return with_values(words, takes_file, _absolute)


def setting_takes_file(name: str) -> bool:
    """Whether a setting of an `Experiment` takes a file: the published list, or a YAML file for a whole section."""
    from sparsedense.config import Experiment

    value: object = Experiment()
    for part in name.split("."):
        value = getattr(value, part, None)
    return name == "labelled_list" or is_dataclass(value)


def _absolute(value: str) -> str:
    # `null` is no file, and a section may be written out as {"threads": 2}.
    return value if value == "null" or value.startswith("{") else resolved(parse_location(value))
