import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.data.low_label import labelled_subset
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from tests.conftest import TRAIN_PER_CLASS


@pytest.fixture
def candidates(squares: FrameStore) -> NDArray[np.int64]:
    return squares.videos(split="train", labelled=True)


@pytest.mark.parametrize("seed", range(5))
def test_each_class_gives_as_many_and_fewer_are_a_part_of_more(
    squares: FrameStore, candidates: NDArray[np.int64], seed: int
) -> None:
    subsets = [
        labelled_subset(squares, candidates, labels_per_class=count, seed=seed)
        for count in range(1, TRAIN_PER_CLASS + 1)
    ]
    for count, subset in enumerate(subsets, start=1):
        assert np.bincount(squares.label_ids[subset]).tolist() == [count] * 3
        assert len(set(subset.tolist())) == len(subset)
        assert set(subset) <= set(candidates)
    assert all(set(fewer) < set(more) for fewer, more in pairwise(subsets))


def test_the_seed_decides_the_subset(squares: FrameStore, candidates: NDArray[np.int64]) -> None:
    subsets = [labelled_subset(squares, candidates, labels_per_class=2, seed=seed) for seed in (0, 0, *range(1, 8))]
    assert np.array_equal(subsets[0], subsets[1])
    assert len({frozenset(subset.tolist()) for subset in subsets}) > 3


def test_none_takes_all(squares: FrameStore, candidates: NDArray[np.int64]) -> None:
    assert np.array_equal(labelled_subset(squares, candidates, labels_per_class=None, seed=0), candidates)


def test_the_order_of_the_other_classes_does_not_matter(squares: FrameStore, candidates: NDArray[np.int64]) -> None:
    without_first = candidates[~((squares.label_ids[candidates] == 0) & (candidates == candidates[0]))]
    full = set(labelled_subset(squares, candidates, labels_per_class=2, seed=3))
    fewer = set(labelled_subset(squares, without_first, labels_per_class=2, seed=3))
    assert {video for video in full if squares.label_ids[video] > 0} == {
        video for video in fewer if squares.label_ids[video] > 0
    }


def test_the_error_names_the_classes_that_are_short(
    squares_folder: Path, tmp_path: Path, squares: FrameStore, candidates: NDArray[np.int64]
) -> None:
    for name, count in (("down", 3), ("right", 1)):
        for number in range(count):
            target = tmp_path / "videos" / "train" / name / f"{number}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(squares_folder / "train" / name / f"{name}_train{number}.mp4", target)
    (tmp_path / "videos" / "test" / "down").mkdir(parents=True)
    shutil.copy(squares_folder / "test/down/down_test0.mp4", tmp_path / "videos/test/down/9.mp4")
    prepare(tmp_path / "videos", tmp_path / "store", short_side=32, workers=1)
    store = FrameStore(tmp_path / "store")
    with pytest.raises(ValueError, match=r"labels_per_class is 2, but fewer .* of right \(1\)$"):
        labelled_subset(store, store.videos(split="train"), labels_per_class=2, seed=0)
    with pytest.raises(ValueError, match=r"diagonal \(4\), down \(4\), right \(4\)"):
        labelled_subset(squares, candidates, labels_per_class=5, seed=0)
    with pytest.raises(ValueError, match=r"labels_per_class \(0\) must be at least 1"):
        labelled_subset(squares, candidates, labels_per_class=0, seed=0)
