"""Shared fixtures: a small store of moving squares, and settings for networks that train in a second.

Three classes differ in colour and in motion; a video of `right` is a blue square that moves to the right and back.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsedense.config import Experiment, experiment_from_dict
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.video.write import write_video

if TYPE_CHECKING:
    from sparsedense.training.run import TrainingRun

# Tiny networks gain nothing from threads, and on a busy machine threads that wait for each other cost 20 times as much.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _auto_is_float32() -> Iterator[None]:
    """What is computed if nothing is told is the same on every machine; tests of bfloat16 ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsedense.models.precision.cpu_gains_by_bfloat16", lambda: False)
        yield


# In the order of the class ids, so that the class is the brightest colour channel.
MOTIONS = {"diagonal": (1, 1), "down": (0, 1), "right": (1, 0)}
HEIGHT, WIDTH, SIDE = 40, 48, 10
TRAIN_PER_CLASS, VAL_PER_CLASS, TEST_PER_CLASS, UNLABELLED = 4, 1, 3, 6
SHORT_TEST_FRAMES, SHORT_UNLABELLED_FRAMES = 6, 12


def square_frames(
    motion: tuple[int, int], channel: int, *, num_frames: int, seed: int, portrait: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """A coloured square that moves a pixel a frame over soft grey noise, and bounces off the edges."""
    rng = np.random.default_rng(seed)
    height, width = (WIDTH, HEIGHT) if portrait else (HEIGHT, WIDTH)
    coarse = rng.integers(90, 130, (height // 8, width // 8, 1), dtype=np.uint8)
    background = np.repeat(np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8)), 3, axis=2)
    x, y = int(rng.integers(0, width - SIDE)), int(rng.integers(0, height - SIDE))
    colour = np.full(3, 30, dtype=np.uint8)
    colour[channel] = 240
    for number in range(num_frames):
        frame = background.copy()
        left, top = _bounced(x + motion[0] * number, width - SIDE), _bounced(y + motion[1] * number, height - SIDE)
        frame[top : top + SIDE, left : left + SIDE] = colour
        yield frame


def _bounced(position: int, room: int) -> int:
    position %= 2 * room
    return min(position, 2 * room - position)


@pytest.fixture(scope="session")
def squares_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in `train/`, `val/`, `test/` and `unlabelled/`, two of them too short to pretrain on."""
    root = tmp_path_factory.mktemp("squares")
    seed = 0
    for channel, (name, motion) in enumerate(MOTIONS.items()):
        for split, count in (("train", TRAIN_PER_CLASS), ("val", VAL_PER_CLASS), ("test", TEST_PER_CLASS)):
            for number in range(count):
                seed += 1
                frames = square_frames(motion, channel, num_frames=40 + 7 * seed % 25, seed=seed)
                write_video(root / split / name / f"{name}_{split}{number}.mp4", frames)
    for number in range(UNLABELLED):
        motion = list(MOTIONS.values())[number % 3]
        frames = square_frames(motion, number % 3, num_frames=40 + number, seed=100 + number, portrait=number % 2 == 1)
        write_video(root / "unlabelled" / f"unknown_{number}.mp4", frames)
    short = square_frames(MOTIONS["right"], 2, num_frames=SHORT_TEST_FRAMES, seed=200)
    write_video(root / "test" / "right" / "short_test.mp4", short)
    short = square_frames(MOTIONS["down"], 1, num_frames=SHORT_UNLABELLED_FRAMES, seed=201)
    write_video(root / "unlabelled" / "short_unlabelled.mp4", short)
    return root


@pytest.fixture(scope="session")
def squares_path(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The squares as a JPEG store."""
    path = tmp_path_factory.mktemp("squares-store") / "store"
    prepare(squares_folder, path, short_side=HEIGHT, workers=1)
    return path


@pytest.fixture(scope="session")
def squares(squares_path: Path) -> FrameStore:
    """The squares, opened; tests only read it."""
    return FrameStore(squares_path)


FewSquares = Callable[..., FrameStore]


@pytest.fixture
def few_squares(squares_folder: Path, tmp_path: Path) -> FewSquares:
    """Makes a store of a few of the squares, from a name, a label and a split of each."""

    def make(*rows: tuple[str, str, str]) -> FrameStore:
        lines = [f"{squares_folder / name},{label},{split}" for name, label, split in rows]
        (tmp_path / "few.csv").write_text("\n".join(["path,label,split", *lines]))
        prepare(tmp_path / "few.csv", tmp_path / "few", short_side=HEIGHT, workers=0)
        return FrameStore(tmp_path / "few")

    return make


def tiny_experiment(**changes: Any) -> Experiment:
    """Settings of a network of 8 to 32 channels on clips of 8 x 16 x 16, float32, no worker processes.

    Args:
        changes: values by field name; those of a section as a dictionary, which is merged into the section.
    """
    phase = {"epochs": 2, "batch_size": 6, "rate_schedule": "constant", "learning_rate": 0.003}
    values: dict[str, Any] = {
        "model": {"depth": 10, "width": 0.0625, "last_stage_temporal_stride": 1, "input": "rgb"},
        "clips": {"length": 8, "size": 16, "min_dense_stride_frames": 1.0, "evaluation_stride_frames": None},
        "objective": {"speed": {"weight": 1.0}, "consistency": {"weight": 1.0, "kind": "jsd"}},
        "pretrain": {**phase, "weight_schedule": "constant", "fraction_per_epoch": 1.0},
        "finetune": dict(phase),
        "train": {**phase, "epochs": 6, "fraction_per_epoch": 1.0},
        "machine": {"accelerator": "cpu", "devices": 1, "precision": "32-true", "num_workers": 0},
        "augment": {"flip_probability": 0.5},
    }
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    return experiment_from_dict(values, source="tiny")


@pytest.fixture(scope="session")
def pretrained(squares_path: Path, tmp_path_factory: pytest.TempPathFactory) -> "TrainingRun":
    """A finished pretraining of two epochs; tests only read it."""
    from sparsedense.training.run import pretrain  # here: most tests do not need Lightning, which imports slowly

    return pretrain(squares_path, tmp_path_factory.mktemp("runs") / "pretrain", tiny_experiment(), progress=False)


@pytest.fixture(scope="session")
def finetuned(pretrained: "TrainingRun", squares_path: Path, tmp_path_factory: pytest.TempPathFactory) -> "TrainingRun":
    """A finished fine-tuning of two epochs from the pretrained model; tests only read it."""
    from sparsedense.training.run import finetune

    out = tmp_path_factory.mktemp("runs") / "finetune"
    return finetune(squares_path, out, tiny_experiment(), init=pretrained.model, keep_epochs=(1,), progress=False)
