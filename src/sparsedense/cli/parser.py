"""Arguments of the commands by jsonargparse: from a function's signature, or an `Experiment` with its recipe."""

import inspect
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sparsedense.data.locations import Location, parse_location

if TYPE_CHECKING:
    from sparsedense.config import Experiment

Precision = Literal["auto", "float32", "bfloat16"]  # `models.precision.PRECISIONS`, without importing torch


@dataclass(frozen=True)
class TrainingArguments:
    """What a training command was told."""

    store: Location
    out: Path
    init: str | None
    resume: bool | Literal["auto"]
    overwrite: bool
    experiment: "Experiment"


def parse_function(
    function: Callable[..., object],
    command: str,
    arguments: Sequence[str],
    *,
    skip: Collection[str] = (),
    several: tuple[str, str] | None = None,
    optional: tuple[str, str] | None = None,
    repeated: tuple[str, str] | None = None,
    out_may_be_url: bool = False,
) -> dict[str, Any]:
    """Arguments of a function from the command line: required ones by position, others as flags.

    Where a command needs a source and a place to write, the place is the flag `--out`.

    Args:
        function: its signature and docstring make the help.
        command: name of the command.
        arguments: what the user wrote behind it.
        skip: parameters that are not the user's.
        several: name and help of the parameter that takes all further words, at least one.
        optional: name and help of the path or URL that may follow by position.
        repeated: name and help of the flag that may be given several times, each time one text of a list as it stands,
            where commas and brackets mean nothing.
        out_may_be_url: whether `--out` may be a URL; otherwise it is a path, whatever it looks like.
    """
    from jsonargparse import ArgumentParser

    parameters = inspect.signature(function).parameters
    parser = ArgumentParser(prog=f"sparsedense {command}", description=(function.__doc__ or "").splitlines()[0])
    out_is_flag = list(parameters)[1:2] == ["out"]
    told_apart = [each[0] for each in (several, optional, repeated) if each]
    own: set[str | int] = {*skip, *(["out"] if out_is_flag else []), *told_apart}
    parser.add_function_arguments(function, as_positional=True, skip=own)
    if several:
        parser.add_argument(several[0], nargs="+", type=str, help=several[1])
    if optional:
        parser.add_argument(optional[0], nargs="?", type=parse_location, default=None, help=optional[1])
    if repeated:
        parser.add_argument(f"--{repeated[0]}", action="append", type=str, default=[], help=repeated[1])
    if out_is_flag:
        told = "the folder to write, or the URL of one" if out_may_be_url else "the folder to write"
        parser.add_argument("--out", type=parse_location if out_may_be_url else Path, required=True, help=told)
    kinds = {name: inspect.formatannotation(parameter.annotation) for name, parameter in parameters.items()}
    flags = {name for name, kind in kinds.items() if kind.strip("'") == "bool"}
    lists = {name for name, kind in kinds.items() if "Sequence[" in kind or "list[" in kind} - own
    parsed = parser.parse_args(_with_lists(_normalised(arguments, flags), lists))
    return dict(vars(parser.instantiate(parsed)))


def parse_training(phase: str, about: str, arguments: Sequence[str]) -> TrainingArguments:
    """Arguments of `pretrain`, `finetune` or `train`: store and run folder, and any value of an `Experiment` as a flag.

    Raises:
        FileNotFoundError: `--recipe` names neither a shipped recipe nor a file.
    """
    from jsonargparse import ArgumentParser

    from sparsedense.config import Experiment

    parser = ArgumentParser(
        prog=f"sparsedense {phase}",
        description=about,
        usage=f"sparsedense {phase} STORE [--out RUN] [--recipe RECIPE] [--section.name VALUE ...]",
    )
    parser.add_argument("store", type=parse_location, help="folder that `sparsedense prepare` made, or its URL")
    parser.add_argument("--out", type=Path, default=Path("runs") / phase, help="the run's folder")
    parser.add_argument(
        "--recipe",
        action="config",
        help="name of a recipe, a YAML file, or several joined by +; flags after it override it; the recipe "
        "`sparsedense` if not given",
    )
    if phase != "pretrain":
        parser.add_argument("--init", type=str, default=None, help="model file to start from, or `kinetics`")
    parser.add_argument(
        "--resume",
        type=bool | Literal["auto"],
        default=False,
        help="go on from the last checkpoint in --out; `auto` starts anew where there is none",
    )
    parser.add_argument("--overwrite", action="store_true", help="delete the run that is in --out")
    parser.add_class_arguments(Experiment, as_group=False)
    parsed = vars(parser.instantiate(parser.parse_args(_with_recipe(_normalised(arguments, {"resume"})))))
    own = {name: parsed.pop(name, None) for name in ("store", "out", "init", "resume", "overwrite")}
    parsed.pop("recipe")
    return TrainingArguments(**own, experiment=Experiment(**parsed))


def _normalised(arguments: Sequence[str], flags: Collection[str] = ()) -> list[str]:
    """Arguments with `--short-side` written as `--short_side` and a bare `--json` as `--json=true`."""
    normalised = []
    for position, argument in enumerate(arguments):
        if not argument.startswith("--"):
            normalised.append(argument)
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        told = equals or arguments[position + 1 : position + 2] in (["true"], ["false"], ["auto"])
        if name in flags and not told:
            equals, value = "=", "true"
        normalised.append(f"--{name}{equals}{value}")
    return normalised


def _with_lists(arguments: Sequence[str], lists: Collection[str]) -> list[str]:
    """Arguments with `--test_groups anna,ben` (or `=anna,ben`) written as the list `[anna,ben]`."""
    return with_values(arguments, lists.__contains__, _bracketed)


def with_values(words: Sequence[str], chosen: Callable[[str], bool], change: Callable[[str], str]) -> list[str]:
    """The words of a command line with the values of some flags, `--name VALUE` or `--name=VALUE`, changed.

    Args:
        words: of the command line.
        chosen: whether to change the flag of that name, without its dashes and with underscores.
        change: makes the new value of the old one.
    """
    written = list(words)
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or not chosen(name.removeprefix("--").replace("-", "_")):
            continue
        if equals:
            written[index] = f"{name}={change(value)}"
        elif index + 1 < len(words):
            written[index + 1] = change(words[index + 1])
    return written


def _bracketed(value: str) -> str:
    return value if value.startswith("[") else f"[{value}]"


def _with_recipe(arguments: Sequence[str]) -> list[str]:
    """The arguments with the names of recipes replaced by what they say; the default recipe where none is named."""
    from sparsedense.config import DEFAULT_RECIPE, recipe_values

    resolved = list(arguments)
    named = False
    for index, argument in enumerate(resolved):
        if argument == "--recipe" and index + 1 < len(resolved):
            resolved[index + 1] = json.dumps(recipe_values(resolved[index + 1]))
            named = True
        elif argument.startswith("--recipe="):
            resolved[index] = f"--recipe={json.dumps(recipe_values(argument.removeprefix('--recipe=')))}"
            named = True
    return resolved if named else [f"--recipe={json.dumps(recipe_values(DEFAULT_RECIPE))}", *resolved]
