"""An experiment as dataclasses: read from YAML, changed by flags, written beside every run.

The defaults are the paper's numbers (Dave et al., 2020); the files in `recipes/` say what they change.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.models.encoder import EncoderConfig
from sparsedense.objectives_config import ObjectiveConfig

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "sparsedense"
# Those with float32 weights, by all of Lightning's names: the augmentation and the losses are written for such.
_PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")


@dataclass(frozen=True)
class PhaseConfig:
    """One training: how long, on how much, at what rate.

    Attributes:
        epochs: number of epochs.
        batch_size: videos a step, those of all processes together; pretraining sends two clips of each through the
            network.
        steps_per_epoch: batches that make an epoch; `null` makes it one pass over the epoch's videos.
        fraction_per_epoch: share of the videos drawn in an epoch while there is no supervision (the paper's quarter).
        learning_rate: the largest rate.
        learning_rate_floor: the smallest rate; a `constant` one has none, and one above `learning_rate` keeps that.
        rate_schedule: `paper` (Dave et al., 2020), `cosine` or `constant`.
        weight_schedule: `paper` moves from speed to consistency as in the paper's Figure 5, `constant` keeps both at 1.
        weight_decay: AdamW's decay; 0 is plain Adam.
        keep: which epoch's weights the model file gets: `best` by validation accuracy, where there is a validation, or
            `last`.
        gradient_clip: largest norm of the gradient; `null` does not clip.
        accumulate: batches whose mean gradient makes one step, for batches that do not fit the memory; an epoch's last
            step may have fewer. The gradient is that of the large batch but for BatchNorm and the losses that compare
            videos: both see one batch at a time.
    """

    epochs: int = 150
    batch_size: int = 13
    steps_per_epoch: int | None = None
    fraction_per_epoch: float = 1.0
    learning_rate: float = 1e-3
    learning_rate_floor: float = 1e-4
    rate_schedule: Literal["paper", "cosine", "constant"] = "paper"
    weight_schedule: Literal["paper", "constant"] = "paper"
    weight_decay: float = 0.0
    gradient_clip: float | None = None
    keep: Literal["best", "last"] = "best"
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        steps, clip = self.steps_per_epoch, self.gradient_clip
        self._check("steps_per_epoch", steps is None or steps >= 1, "at least 1, or null for a pass over the videos")
        self._check("gradient_clip", clip is None or 0 < clip < math.inf, "finite and above 0, or null")
        self._check("fraction_per_epoch", 0 < self.fraction_per_epoch < math.inf, "finite and above 0")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "finite and at least 0")
        self._check("learning_rate", 0 < self.learning_rate < math.inf, "finite and above 0")
        self._check("learning_rate_floor", 0 <= self.learning_rate_floor < math.inf, "finite and at least 0")

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise ValueError(f"{name} ({getattr(self, name)}) must be {expected}")


@dataclass(frozen=True)
class MachineConfig:
    """How a run uses the machine.

    Attributes:
        accelerator: Lightning's name: `auto`, `cpu`, `gpu`, ...
        devices: number of devices, and so of processes, on each machine; `auto` takes those that torchrun or srun
            started, else all GPUs or one process on the CPU.
        num_nodes: number of machines of the job; `auto` takes those that torchrun or srun uses, else one.
        strategy: how several processes train together: `ddp`, each with all of the weights, or `fsdp`, each with its
            share of weights, gradients and the optimiser's state, for networks that do not fit one device.
        sync_batchnorm: whether BatchNorm takes its statistics over the batch of all processes, so that their number
            changes nothing about the result. `auto` does so on GPUs and with `fsdp`; on CPUs it takes as long as the
            network.
        precision: `auto` takes bfloat16 where the machine computes in it, else float32; or, by Lightning's names,
            `32-true`, `bf16-mixed` or `16-mixed`. The weights are float32 in all of them.
        channels_last: memory layout of the network's tensors; `auto` takes it with bfloat16, on a GPU, and on a CPU for
            narrow networks and with AVX-512. `sparsedense tune` measures it.
        num_workers: processes that read clips beside each training process; 0 reads in the training process. `auto`
            takes one on a CPU, none where each training process has but one core, and up to eight for a GPU.
        threads: of the network on a CPU; `null` leaves it to PyTorch.
        compile: mode of `torch.compile` for the backbone: `no`, `default`, `reduce-overhead` (CUDA graphs) or
            `max-autotune`. The first step takes minutes.
        fused_optimiser: one kernel for all weights' updates; `auto` takes it but with 16-bit floats that are scaled.
        checkpoint_activations: keep only what lies between the backbone's blocks for the backward pass and compute the
            rest again: less memory, about a third more time, the same gradients.
        keep_freed_memory: on Linux, memory that a step frees stays with the process for the next, instead of going
            back to the system.
        checkpoint_minutes: how often the state of a training is written inside an epoch; more seldom where writing is
            so slow that it would take over 1 % of the time. It is always written after an epoch.
        checkpoint_steps: also write it after every so many steps of the whole training.
        checkpoints_kept: how many states are kept, the newest.
    """

    accelerator: str = "auto"
    devices: str | int = "auto"
    num_nodes: Literal["auto"] | int = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    sync_batchnorm: Literal["auto"] | bool = "auto"
    precision: str = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    num_workers: Literal["auto"] | int = "auto"
    threads: int | None = None
    compile: Literal["no", "default", "reduce-overhead", "max-autotune"] = "no"
    fused_optimiser: Literal["auto"] | bool = "auto"
    checkpoint_activations: bool = False
    keep_freed_memory: bool = True
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    checkpoints_kept: int = 2

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"machine.threads ({self.threads}) must be at least 1, or null for PyTorch's own choice")
        if self.precision not in _PRECISIONS:
            raise ValueError(
                f"machine.precision ({self.precision!r}) must be auto, 32-true, bf16-mixed or 16-mixed: weights are "
                f"trained in float32; bf16-mixed computes in bfloat16"
            )
        if self.strategy == "fsdp":
            self._check_fsdp()
        steps = self.checkpoint_steps
        if self.checkpoint_minutes < 0 or self.checkpoints_kept < 1 or (steps is not None and steps < 1):
            raise ValueError(
                f"machine.checkpoint_minutes ({self.checkpoint_minutes}) must be at least 0, machine.checkpoints_kept "
                f"({self.checkpoints_kept}) and machine.checkpoint_steps ({self.checkpoint_steps}) at least 1"
            )

    def _check_fsdp(self) -> None:
        if self.sync_batchnorm is False:
            raise ValueError(
                "machine.strategy fsdp needs machine.sync_batchnorm true: a checkpoint holds one process's statistics"
            )
        if self.compile != "no":
            raise ValueError(f"machine.strategy fsdp needs machine.compile no, got {self.compile}")
        if self.precision in ("16-mixed", "16"):
            raise ValueError(
                f"machine.strategy fsdp does not scale gradients as machine.precision {self.precision} needs it; "
                f"use bf16-mixed or 32-true"
            )


@dataclass(frozen=True)
class Experiment:
    """All that decides a run but the data.

    Attributes:
        seed: seed of everything random.
        labels_per_class: labelled training videos a class that fine-tuning may see; `null` is all of them.
        labelled_list: file of a published list, in place of `labels_per_class`: just these training videos have a
            label. What the store lacks is counted and left out.
        validation_clips: clips a video of the validation at every epoch.
    """

    model: EncoderConfig = field(default_factory=EncoderConfig)
    clips: ClipConfig = field(default_factory=ClipConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: PhaseConfig = field(default_factory=lambda: PhaseConfig(epochs=150, fraction_per_epoch=0.25))
    pretrain: PhaseConfig = field(default_factory=lambda: PhaseConfig(epochs=50, fraction_per_epoch=0.25))
    finetune: PhaseConfig = field(default_factory=lambda: PhaseConfig(epochs=100))
    machine: MachineConfig = field(default_factory=MachineConfig)
    seed: int = 0
    labels_per_class: int | None = None
    labelled_list: str | None = None
    validation_clips: int = 1

    def __post_init__(self) -> None:
        if self.labelled_list is not None and self.labels_per_class is not None:
            raise ValueError(
                f"labels_per_class ({self.labels_per_class}) and labelled_list ({self.labelled_list}) are two ways to "
                "choose the labelled videos; give one of them"
            )


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name_or_path: str | Path) -> Path:
    """File of a shipped recipe, or the file itself.

    Raises:
        FileNotFoundError: neither a shipped recipe nor a file.
    """
    return shipped_path(RECIPES, name_or_path, kind="recipe")


def shipped_path(folder: Path, name_or_path: str | Path, *, kind: str) -> Path:
    """The YAML file of that name in a folder of the package, or the file itself.

    Raises:
        FileNotFoundError: there is neither; the message lists the names of the folder.
    """
    for path in (folder / f"{name_or_path}.yaml", Path(name_or_path)):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise FileNotFoundError(f"{name_or_path} is neither a {kind} of this package ({names}) nor a YAML file")


def recipe_values(recipe: str | Path) -> dict[str, Any]:
    """What a recipe says, as a nested dictionary; of `one+other`, the second one overrides the first.

    Args:
        recipe: name of a shipped recipe, path of a YAML file, or several of them joined by `+`.

    Raises:
        FileNotFoundError: there is no such recipe.
        ValueError: the file is not a mapping.
    """
    joined: dict[str, Any] = {}
    for part in recipe_parts(recipe):
        values = yaml.safe_load(recipe_path(part).read_text()) or {}
        if not isinstance(values, dict):
            raise ValueError(f"{part}: a recipe is a YAML mapping of sections, got {type(values).__name__}")
        joined = nested_update(joined, values)
    return joined


def recipe_parts(recipe: str | Path) -> list[str]:
    """The recipes that are joined by `+` in one; the name of a file may have a `+` itself if it is the last."""
    if Path(recipe).is_file() or "+" not in str(recipe):
        return [str(recipe)]
    first, _, rest = str(recipe).partition("+")
    return [first, *recipe_parts(rest)]


def load_experiment(recipe: str | Path = DEFAULT_RECIPE, **overrides: Any) -> Experiment:  # noqa: ANN401 - any field's value
    """Read a recipe and change some of its values.

    Args:
        recipe: name of a shipped recipe, path of a YAML file, or several of them joined by `+`.
        overrides: values by field name; those of a section as a dictionary, `clips={"size": 48}`.

    Raises:
        FileNotFoundError: there is no such recipe.
        ValueError: a key is unknown or a value has the wrong type; the message names it.
    """
    return experiment_from_dict(nested_update(recipe_values(recipe), overrides), source=str(recipe))


def experiment_from_dict(values: dict[str, Any], *, source: str = "configuration") -> Experiment:
    """Check a nested dictionary and make an experiment of it.

    Raises:
        ValueError: a key is unknown or a value has the wrong type; the message names it.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Experiment, as_group=False)
    try:
        parsed = parser.parse_object(values)
    except ArgumentError as error:
        raise ValueError(f"{source}: {error}") from error
    experiment: Experiment = Experiment(**vars(parser.instantiate(parsed)))
    return experiment


def experiment_to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as a nested dictionary of plain values."""
    return {key: _plain(value) for key, value in asdict(experiment).items()}


def save_experiment(experiment: Experiment, path: Path) -> None:
    """Write the experiment as YAML."""
    path.write_text(yaml.safe_dump(experiment_to_dict(experiment), sort_keys=False))


def _plain(value: Any) -> Any:  # noqa: ANN401 - walks values of any type
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def nested_update(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with some values changed, section by section."""
    updated = dict(base)
    for key, value in changes.items():
        both_are_sections = isinstance(value, Mapping) and isinstance(updated.get(key), Mapping)
        updated[key] = nested_update(updated[key], value) if both_are_sections else value
    return updated
