from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.examples import FRAMES_A_STRIP, STRIP_HEIGHT, film_strip, write_examples


def answers(labels: Tensor, confidences: list[float], wrong: set[int]) -> Tensor:
    """Probabilities (N, 3) of the given confidence, right but for the rows in `wrong`."""
    rows = []
    for row, (label, confidence) in enumerate(zip(labels.tolist(), confidences, strict=True)):
        said = (label + 1) % 3 if row in wrong else label
        rows.append([confidence if column == said else (1 - confidence) / 2 for column in range(3)])
    return torch.tensor(rows)


@pytest.fixture
def labels(squares: FrameStore) -> Tensor:
    return torch.from_numpy(squares.label_ids[squares.videos(split="test")])


def test_half_are_the_most_confident_mistakes(squares: FrameStore, labels: Tensor, tmp_path: Path) -> None:
    videos = squares.videos(split="test")
    confidences = [0.50 + 0.04 * row for row in range(len(videos))]
    wrong = {1, 4, 7}
    examples = write_examples(tmp_path, squares, videos, answers(labels, confidences, wrong), labels, number=4)
    assert [example["correct"] for example in examples] == [True, True, False, False]
    assert [example["path"] for example in examples[2:]] == [squares.paths[videos[row]] for row in (7, 4)]
    assert examples[2]["probability"] == pytest.approx(confidences[7])
    assert examples[2]["label"] == squares.class_names[labels[7]]
    assert examples[2]["predicted"] == squares.class_names[(labels[7] + 1) % 3]
    assert examples[0]["label"] != examples[1]["label"], "classes that have not been shown come first"


def test_right_answers_fill_up_where_mistakes_are_few(squares: FrameStore, labels: Tensor, tmp_path: Path) -> None:
    videos = squares.videos(split="test")
    probabilities = answers(labels, [0.9] * len(videos), wrong={0})
    examples = write_examples(tmp_path, squares, videos, probabilities, labels, number=6)
    assert [example["correct"] for example in examples] == [True] * 5 + [False]
    everything = write_examples(tmp_path, squares, videos, probabilities, labels, number=100)
    assert len(everything) == len(videos)


def test_pictures_of_an_earlier_evaluation_are_replaced(squares: FrameStore, labels: Tensor, tmp_path: Path) -> None:
    videos = squares.videos(split="test")
    probabilities = answers(labels, [0.9] * len(videos), wrong=set())
    write_examples(tmp_path, squares, videos, probabilities, labels, number=5)
    examples = write_examples(tmp_path, squares, videos, probabilities, labels, number=2)
    assert sorted(f"examples/{path.name}" for path in (tmp_path / "examples").iterdir()) == [
        example["image"] for example in examples
    ]


def test_a_strip_shows_frames_from_the_first_to_the_last(squares: FrameStore, tmp_path: Path) -> None:
    video = int(squares.videos(split="test")[0])
    strip = film_strip(squares, video)
    height, width = squares.frame_size(video)
    frame_width = round(width * STRIP_HEIGHT / height)
    assert strip.shape == (STRIP_HEIGHT, FRAMES_A_STRIP * frame_width + (FRAMES_A_STRIP - 1) * 2, 3)
    last = int(squares.num_frames[video]) - 1
    for shown, index in ((strip[:, :frame_width], 0), (strip[:, -frame_width:], last)):
        frame = squares.read(video, np.array([index])).permute(1, 2, 3, 0)[0].numpy()
        scaled = cv2.resize(frame, (frame_width, STRIP_HEIGHT), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(shown, scaled)


def test_pictures_keep_their_colours(squares: FrameStore, labels: Tensor, tmp_path: Path) -> None:
    videos = squares.videos(split="test")
    probabilities = answers(labels, [0.9] * len(videos), wrong=set())
    for example in write_examples(tmp_path, squares, videos, probabilities, labels, number=3):
        picture = cv2.imread(str(tmp_path / example["image"]))
        assert picture is not None
        brightest = picture[..., ::-1].reshape(-1, 3).mean(axis=0).argmax()
        assert squares.class_names[brightest] == example["label"]
