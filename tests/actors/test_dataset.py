import csv
import hashlib
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from sparsedense.actors.dataset import ACTORS, FPS, ActorsSummary, make_actors

CLASSES = ("sit_down", "stand_up", "wave")


def _make(out: Path, **changes: object) -> ActorsSummary:
    asked: dict[str, object] = {
        "train_per_class": 2,
        "val_per_class": 1,
        "test_per_class": 1,
        "unlabelled": 4,
        "actions": CLASSES,
        "width": 64,
        "height": 48,
        "workers": 1,
    }
    return make_actors(out, **(asked | changes))  # type: ignore[arg-type]


def _digests(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()}


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "videos.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ActorsSummary]:
    out = tmp_path_factory.mktemp("actors") / "set"
    return out, _make(out)


def test_counts_are_those_asked_for(made: tuple[Path, ActorsSummary]) -> None:
    out, summary = made
    rows = _rows(out)
    assert Counter(row["split"] for row in rows) == {"train": 6, "val": 3, "test": 3, "unlabelled": 4}
    assert summary.videos == {"train": 6, "val": 3, "test": 3, "unlabelled": 4}
    assert Counter((r["label"], r["split"]) for r in rows if r["label"]) == {
        (name, split): count for name in CLASSES for split, count in (("train", 2), ("val", 1), ("test", 1))
    }
    assert {str(p.relative_to(out)) for p in out.rglob("*.mp4")} == {row["path"] for row in rows}
    assert summary.classes == CLASSES


def test_no_actor_is_in_two_splits(made: tuple[Path, ActorsSummary]) -> None:
    groups: dict[str, set[str]] = {}
    for row in _rows(made[0]):
        groups.setdefault(row["split"], set()).add(row["group"])
        assert Path(row["path"]).name.startswith(row["group"])
    splits = list(groups)
    assert not any(groups[a] & groups[b] for a in splits for b in splits if a != b)
    ranges = [number for actors in ACTORS.values() for number in actors]
    assert len(set(ranges)) == len(ranges)


def test_labels_stay_secret_where_there_are_none(made: tuple[Path, ActorsSummary]) -> None:
    for row in _rows(made[0]):
        if row["split"] == "unlabelled":
            assert row["label"] == ""
            assert not any(name in row["path"] for name in CLASSES)


def test_files_are_ordinary_h264_of_100_to_200_frames(made: tuple[Path, ActorsSummary]) -> None:
    out, summary = made
    total = 0
    for row in _rows(out):
        with av.open(str(out / row["path"])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == FPS
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert 100 <= len(frames) <= 200
        assert frames[0].shape == (48, 64, 3)
        total += len(frames)
        # Something moves, and it is no noise.
        assert np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean() > 0.2
    assert summary.frames == total


def test_any_number_of_workers_gives_the_same_bytes(made: tuple[Path, ActorsSummary], tmp_path: Path) -> None:
    _make(tmp_path / "again", workers=2)
    assert _digests(tmp_path / "again") == _digests(made[0])


def test_a_larger_set_holds_the_smaller_one(made: tuple[Path, ActorsSummary], tmp_path: Path) -> None:
    _make(tmp_path / "larger", train_per_class=3, test_per_class=0, val_per_class=0, unlabelled=0)
    larger, smaller = _digests(tmp_path / "larger"), _digests(made[0])
    kept = [row["path"] for row in _rows(made[0]) if row["split"] == "train"]
    assert len(kept) == 6
    assert all(larger[path] == smaller[path] for path in kept)


def test_another_seed_gives_other_videos(made: tuple[Path, ActorsSummary], tmp_path: Path) -> None:
    _make(tmp_path / "other", seed=1, val_per_class=0, test_per_class=0, unlabelled=0, actions=("wave",))
    other, first = _digests(tmp_path / "other"), _digests(made[0])
    assert all(other[path] != first[path] for path in other)


def test_the_hard_ones_are_other_videos_of_the_same_lengths(tmp_path: Path) -> None:
    few = {"train_per_class": 3, "val_per_class": 0, "test_per_class": 0, "unlabelled": 0, "actions": ("wave",)}
    usual, hard = _make(tmp_path / "usual", **few), _make(tmp_path / "hard", difficulty="hard", **few)
    assert usual.frames == hard.frames
    digests = _digests(usual.out), _digests(hard.out)
    videos = [path for path in digests[0] if path.endswith(".mp4")]
    assert len(videos) == 3
    assert all(digests[0][path] != digests[1][path] for path in videos)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        _make(tmp_path)
    one = {"train_per_class": 1, "val_per_class": 0, "test_per_class": 0, "unlabelled": 0, "actions": ("wave",)}
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "stale.mp4").write_bytes(b"")
    _make(tmp_path, overwrite=True, **one)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "wave" / "stale.mp4").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        _make(tmp_path / "file", overwrite=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train_per_class": -1}, r"train_per_class \(-1\)"),
        ({"unlabelled": -2}, r"unlabelled \(-2\)"),
        ({"width": 65}, r"width \(65\)"),
        ({"height": 8}, r"height \(8\)"),
        ({"workers": 0}, r"workers \(0\)"),
        ({"actions": ("wave", "fly")}, "fly"),
        ({"actions": ()}, "actions"),
        ({"difficulty": "easy"}, "difficulty 'easy' is not known; use one of default, hard"),
        ({"train_per_class": 0, "val_per_class": 0, "test_per_class": 0, "unlabelled": 0}, "nothing to write"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    wrong: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        _make(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_progress_counts_every_video(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    one = {"train_per_class": 2, "val_per_class": 0, "test_per_class": 0, "unlabelled": 1, "actions": ("wave",)}
    _make(tmp_path / "out", progress=lambda done, total: seen.append((done, total)), **one)
    assert seen == [(1, 3), (2, 3), (3, 3)]
