from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.held_frames import TimedPicture
from sparsedense.detection.scan import Scan, ScanSettings
from sparsedense.prediction.shared_scan import RememberedScore, shared_pictures
from tests.detection.known_curves import PLAIN, classes_by_grey, grey_frames

VALUES = [0] * 90 + [1] * 70 + [0] * 300 + [2] * 40


def scan(frames: Iterator[TimedPicture], effort: float, score: RememberedScore) -> Scan:
    return Scan(frames, score, ScanSettings(ClipGrid(8, 2), 1.5, effort, read_ahead=False), PLAIN)


def test_scans_side_by_side_say_what_each_says_alone() -> None:
    calls: list[int] = []

    def counted(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(len(clips))
        return classes_by_grey(3)(clips)

    remembered = RememberedScore(counted)
    several = [
        scan(each, effort, remembered)
        for each, effort in zip(shared_pictures(grey_frames(VALUES), 2), (1.0, 0.0), strict=True)
    ]
    together = list(zip(*several, strict=True))
    for place, effort in enumerate((1.0, 0.0)):
        alone = list(scan(grey_frames(VALUES), effort, RememberedScore(classes_by_grey(3))))
        for one, both in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.outputs_KPD, both[place].outputs_KPD)
            np.testing.assert_array_equal(one.presence_KP, both[place].presence_KP)
            np.testing.assert_array_equal(one.edges_seconds, both[place].edges_seconds)
    assert several[1].counts.clips_computed > 0
    assert sum(calls) <= several[0].counts.clips_computed, "the second scan computed nothing"


def test_frames_are_converted_once_and_their_sources_let_go() -> None:
    converted: list[int] = []

    def convert(number: int) -> NDArray[np.uint8]:
        converted.append(number)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    first, second = shared_pictures((TimedPicture(0.0, partial(convert, number)) for number in range(3)), 2)
    kept = [next(first), next(first)]
    kept[1].picture()
    again = [next(second), next(second)]
    assert again[1].picture() is kept[1].picture()
    assert converted == [1]
    with pytest.raises(AssertionError, match="passed by"):
        again[0].picture()


def test_clips_are_forgotten_in_time() -> None:
    remembered = RememberedScore(classes_by_grey(2))
    for value in range(3):
        remembered(np.random.default_rng(value).integers(0, 2, (1000, 4, 1, 1, 3), dtype=np.uint8))
    assert len(remembered._rows) <= 1024
