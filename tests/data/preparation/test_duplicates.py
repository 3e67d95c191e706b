from __future__ import annotations

import shutil
from pathlib import Path

from sparsedense.data.manifest import ManifestRow, read_rows
from sparsedense.data.preparation.duplicates import duplicate_notes, is_duplicate_note
from sparsedense.data.preparation.source_files import SourceFile, read_source_files
from sparsedense.data.prepare import prepare
from tests.data.preparation.test_update import write


def notes_of(*videos: tuple[str, str | None, str, str]) -> list[str]:
    """Notes of videos given as name, label, split and content; a name with "bad" is a rejected file."""
    rows = [
        ManifestRow(
            video_id=number, path=name, label=label, label_id=0, group=name, split=split,
            status="rejected" if "bad" in name else "ok",
        )
        for number, (name, label, split, _) in enumerate(videos)
    ]  # fmt: skip
    return duplicate_notes(rows, [SourceFile(sha256=content) for *_, content in videos])


def test_each_content_is_told_once_under_the_worst_that_it_is() -> None:
    notes = notes_of(
        ("a", "x", "train", "1"),
        ("b", "x", "train", "1"),
        ("c", "x", "train", "2"),
        ("d", "x", "test", "2"),
        ("e", None, "unlabelled", "3"),
        ("f", "y", "val", "3"),
        ("g", "x", "train", "4"),
        ("h", "y", "train", "4"),
        ("i", "y", "train", "5"),
    )
    assert notes == [
        "warning, a leak: the same content in val or test and in another split: 4 videos: "
        "c (x, train) = d (x, test); e (unlabelled) = f (y, val)",
        "warning: the same content with several labels: 2 videos: g (x, train) = h (y, train)",
        "the same content more than once: 2 videos: a (x, train) = b (x, train)",
    ]
    assert all(map(is_duplicate_note, notes))
    assert not is_duplicate_note("1 other file ignored: .txt x1")


def test_rejected_files_and_files_that_could_not_be_read_are_no_copies() -> None:
    assert notes_of(("bad 1", "x", "train", "1"), ("bad 2", "x", "test", "1"), ("c", "x", "train", "1")) == []
    assert notes_of(("a", "x", "train", ""), ("b", "x", "test", "")) == []


def test_many_are_counted() -> None:
    videos = [(f"{number}{copy}", "x", "train", str(number)) for number in range(5) for copy in "ab"]
    assert notes_of(*videos)[0].startswith("the same content more than once: 10 videos: 0a (x, train) = 0b")
    assert notes_of(*videos)[0].endswith("; and 2 more")


def test_prepare_warns_of_files_that_are_in_train_and_test(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source / "train" / "run" / "1.mp4", 5)
    write(source / "train" / "run" / "2.mp4", 6)
    (source / "test" / "run").mkdir(parents=True)
    shutil.copy(source / "train" / "run" / "1.mp4", source / "test" / "run" / "other name.mp4")
    summary = prepare(source, tmp_path / "store", workers=0)
    (note,) = summary.notes
    assert "a leak" in note
    assert "test/run/other name.mp4 (run, test) = train/run/1.mp4 (run, train)" in note
    rows = read_rows(tmp_path / "store")
    files = read_source_files(tmp_path / "store", num_rows=len(rows))
    assert files[0].sha256 == files[1].sha256 != files[2].sha256
    assert not prepare(source, tmp_path / "store", workers=0).changed
