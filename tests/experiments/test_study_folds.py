import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sparsedense.data.store import FrameStore
from sparsedense.experiments.study_folds import Fold, label_name, open_folds, write_label_lists
from tests.conftest import TRAIN_PER_CLASS, tiny_experiment


def copies(store: Path, folder: Path, names: Sequence[str]) -> list[Path]:
    return [shutil.copytree(store, folder / name) for name in names]


def test_stores_are_named_by_as_much_of_their_path_as_tells_them_apart(squares_path: Path, tmp_path: Path) -> None:
    paths = copies(squares_path, tmp_path, ["s1/store", "s2/store", "s3"])
    assert [fold.name for fold in open_folds([paths[0], paths[2]])] == ["store", "s3"]
    assert [fold.name for fold in open_folds(paths[:2])] == ["s1-store", "s2-store"]
    with pytest.raises(ValueError, match="the same folder more than once"):
        open_folds([paths[0], paths[1] / ".." / ".." / "s1" / "store"])


def test_a_store_keeps_its_fingerprint_when_it_is_moved(squares_path: Path, tmp_path: Path) -> None:
    (copy,) = copies(squares_path, tmp_path, ["elsewhere"])
    before, after = open_folds([squares_path])[0], open_folds([copy])[0]
    assert before.fingerprint == after.fingerprint
    (copy / "store.json").write_text((copy / "store.json").read_text() + " ")
    assert open_folds([copy])[0].fingerprint != before.fingerprint


def test_a_store_must_have_something_to_judge_on(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="names no store; add `stores` to its file or pass --store"):
        open_folds([])
    monkeypatch.setattr(Fold, "labelled_videos", lambda self, split: 0)
    with pytest.raises(ValueError, match="no labelled video in the split test"):
        open_folds([squares.path])


def test_a_group_on_two_sides_is_refused(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = ["anna" if split in ("train", "test") else str(i) for i, split in enumerate(squares.splits)]
    monkeypatch.setattr(FrameStore, "groups", cut)
    with pytest.raises(ValueError, match="the groups anna have videos both to train and to judge on"):
        open_folds([squares.path])


def test_the_lists_are_nested_classwise_and_of_the_training_split(squares: FrameStore, tmp_path: Path) -> None:
    fold = Fold("store", squares, "")
    counts: list[int | None] = [1, 3, None]
    found = write_label_lists(tmp_path, fold, tiny_experiment(), seeds=[0, 7], labels_per_class=counts)
    assert found == {1: 1.0, 3: 3.0, None: TRAIN_PER_CLASS}
    assert len(list((tmp_path / "labels").iterdir())) == 6
    for seed in (0, 7):
        lists = [rows(tmp_path / "labels" / f"store-seed{seed}-{label_name(count)}.csv") for count in counts]
        for count, listed in zip(counts, lists, strict=True):
            of_class = Counter(row["label"] for row in listed)
            assert set(of_class.values()) == {count or TRAIN_PER_CLASS}
            assert set(of_class) == set(squares.class_names)
            assert all(row["path"].startswith(f"train/{row['label']}/") for row in listed)
            assert all(row["group"] == squares.groups[squares.paths.index(row["path"])] for row in listed)
        paths = [{row["path"] for row in listed} for listed in lists]
        assert all(fewer < more for fewer, more in pairwise(paths))
    assert rows(tmp_path / "labels/store-seed0-1.csv") != rows(tmp_path / "labels/store-seed7-1.csv")


def test_too_few_videos_are_told_before_anything_runs(squares: FrameStore, tmp_path: Path) -> None:
    experiment = replace(tiny_experiment(), seed=5)
    with pytest.raises(ValueError, match=r"labels_per_class is 9, but fewer .* diagonal \(4\)"):
        write_label_lists(tmp_path, Fold("store", squares, ""), experiment, seeds=[0], labels_per_class=[9])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))
