from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import read_rows
from sparsedense.data.preparation import run as prepare_run
from sparsedense.data.preparation import source_files
from sparsedense.data.preparation.ingest import IngestJob, IngestResult, ingest
from sparsedense.data.prepare import PrepareProgress, PrepareSummary, prepare
from sparsedense.data.store import FrameStore
from tests.data.conftest import files_of
from tests.video import sample_videos as samples

NAMES = ("run/1.mp4", "run/2.mp4", "walk/3.mp4", "walk/4.mp4", "walk/broken.mp4", "unlabelled/5.mp4")


def write(path: Path, num_frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples.write_numbered(path, num_frames, height=16, width=16)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number, name in enumerate(NAMES):
        write(root / name, 4 + number)
    (root / "walk/broken.mp4").write_text("no video")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded."""
    names: list[str] = []

    def counting(job: IngestJob) -> IngestResult:
        names.append(Path(job.path).name)
        return ingest(job)

    monkeypatch.setattr(prepare_run, "ingest", counting)
    return names


def prepared(source: Path, **changes: Any) -> PrepareSummary:
    settings = {"workers": 0, "codec": "raw", "max_shard_bytes": 13_000, "val_fraction": 0, **changes}
    return prepare(source, source.parent / "store", **settings)


def clips(store: FrameStore) -> dict[str, list[int]]:
    """The numbers of the frames of each video, as they are painted into them."""
    found = {}
    for video in store.videos():
        frames = store.read(int(video), np.arange(store.num_frames[video])).permute(1, 2, 3, 0).numpy()
        found[store.paths[video]] = samples.numbers_of(frames)
    return found


def metadata_of(store: Path) -> dict[str, dict[str, Any]]:
    """What the shards say of each sample, by its key."""
    found = {}
    for shard in sorted((store / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    assert member.name[:8] not in found
                    found[member.name[:8]] = json.load(file)
    return found


def check_consistent(store: Path) -> None:
    """Manifest, shards and the sources of the rows agree."""
    opened = FrameStore(store)
    metadata = metadata_of(store)
    rows = read_rows(store)
    assert {f"{row.video_id:08d}" for row in rows if row.status == "ok"} == set(metadata)
    for number, row in enumerate(rows):
        assert row.video_id == number
        assert row.label_id == (-1 if row.label is None else opened.class_names.index(row.label))
        if row.status == "ok":
            about = metadata[f"{number:08d}"]
            assert {name: about[name] for name in ("path", "label", "label_id", "group", "split")} == {
                "path": row.path,
                "label": row.label,
                "label_id": row.label_id,
                "group": row.group,
                "split": row.split,
            }
    assert len(source_files.read_source_files(store, num_rows=len(rows))) == len(rows)
    for name, numbers in clips(opened).items():
        assert numbers == list(range(len(numbers))), name


def test_nothing_is_done_where_nothing_has_changed(source: Path, decoded: list[str]) -> None:
    first = prepared(source)
    store = source.parent / "store"
    before = {path: path.stat().st_mtime_ns for path in [store, *store.rglob("*")]}
    decoded.clear()
    second = prepared(source, workers=3)
    assert decoded == []
    assert {path: path.stat().st_mtime_ns for path in [store, *store.rglob("*")]} == before
    assert (first.changed, second.changed) == (True, False)
    assert (second.ok, second.rejects, second.frames, second.notes) == (
        first.ok,
        first.rejects,
        first.frames,
        first.notes,
    )


def test_only_added_files_are_read_and_the_others_keep_their_ids_and_bytes(source: Path, decoded: list[str]) -> None:
    prepared(source)
    store = source.parent / "store"
    before, rows = files_of(store), read_rows(store)
    write(source / "run" / "0.mp4", 9)  # first by name, and yet behind the others
    write(source / "jump" / "7.mp4", 11)  # a class before the others
    decoded.clear()
    summary = prepared(source)
    assert sorted(decoded) == ["0.mp4", "7.mp4"]
    assert (summary.files_read, summary.frames_read, summary.ok, summary.changed) == (2, 20, 7, True)
    after = files_of(store)
    assert {name: after[name] for name in before if "shards" in name} == {
        name: digest for name, digest in before.items() if "shards" in name
    }
    assert read_rows(store)[: len(rows)] == rows
    opened = FrameStore(store)
    assert opened.class_names == ("run", "walk", "jump")
    assert opened.label_ids.tolist() == [0, 0, -1, 1, 1, 1, 2, 0]
    assert opened.splits[6] == "train"  # a class needs something to train on
    check_consistent(store)
    decoded.clear()
    assert not prepared(source).changed
    assert decoded == []


def test_groups_keep_their_split_when_others_are_added(source: Path) -> None:
    for number in range(20, 30):
        write(source / "run" / f"{number}.mp4", 4)
    prepared(source, test_fraction=0.4)
    store = source.parent / "store"
    before = dict(zip(FrameStore(store).paths, FrameStore(store).splits.tolist(), strict=True))
    assert "test" in before.values()
    for number in range(10, 20):
        write(source / "run" / f"{number}.mp4", 4)
        write(source / "walk" / f"{number}.mp4", 4)
    prepared(source, test_fraction=0.4)
    after = dict(zip(FrameStore(store).paths, FrameStore(store).splits.tolist(), strict=True))
    assert {name: after[name] for name in before} == before
    new = [split for name, split in after.items() if name not in before]
    assert 5 <= new.count("test") <= 11
    check_consistent(store)


def test_other_arguments_for_the_splits_draw_them_anew_without_decoding(source: Path, decoded: list[str]) -> None:
    prepared(source)
    decoded.clear()
    prepared(source, group_pattern=r"^(\d)\.", test_groups=["1", "4"])
    store = FrameStore(source.parent / "store")
    tested = {path for path, split in zip(store.paths, store.splits, strict=True) if split == "test"}
    assert tested == {"run/1.mp4", "walk/4.mp4"}
    assert decoded == []
    check_consistent(source.parent / "store")


def test_a_file_that_has_changed_is_read_again_and_its_old_frames_leave(source: Path, decoded: list[str]) -> None:
    prepared(source)
    write(source / "run" / "2.mp4", 12)
    write(source / "walk" / "broken.mp4", 7)
    (source / "walk" / "4.mp4").write_text("broken now")
    os.utime(source / "run" / "1.mp4", ns=(1, 1))  # another time, the same content
    decoded.clear()
    prepared(source)
    assert decoded == ["2.mp4", "4.mp4", "broken.mp4"]
    store = source.parent / "store"
    check_consistent(store)
    lengths = {name: len(numbers) for name, numbers in clips(FrameStore(store)).items()}
    assert lengths == {"run/1.mp4": 4, "run/2.mp4": 12, "walk/3.mp4": 6, "walk/broken.mp4": 7, "unlabelled/5.mp4": 9}
    assert sum(row.num_frames for row in read_rows(store)) == FrameStore(store).info.num_frames == 38
    decoded.clear()
    assert not prepared(source).changed
    assert decoded == []


def test_a_video_that_moved_to_another_class_is_relabelled_without_decoding(source: Path, decoded: list[str]) -> None:
    prepared(source)
    (source / "sit").mkdir()
    (source / "run" / "2.mp4").rename(source / "sit" / "2.mp4")
    decoded.clear()
    summary = prepared(source)
    assert decoded == []
    store = source.parent / "store"
    opened = FrameStore(store)
    assert opened.paths == ["run/1.mp4", "sit/2.mp4", "unlabelled/5.mp4", "walk/3.mp4", "walk/4.mp4", "walk/broken.mp4"]
    assert opened.class_names == ("run", "walk", "sit")
    assert opened.label_ids.tolist() == [0, 2, -1, 1, 1, 1]
    assert summary.notes == []
    check_consistent(store)


def test_what_left_the_source_stays_and_is_named(source: Path, decoded: list[str]) -> None:
    prepared(source)
    (source / "walk" / "3.mp4").unlink()
    write(source / "walk" / "6.mp4", 20)
    decoded.clear()
    summary = prepared(source)
    assert decoded == ["6.mp4"]
    assert summary.notes == [
        "1 video no longer in the source, kept in the store ('walk/3.mp4'); --overwrite leaves them out"
    ]
    assert "walk/3.mp4" in clips(FrameStore(source.parent / "store"))
    prepared(source, overwrite=True)
    assert "walk/3.mp4" not in FrameStore(source.parent / "store").paths


def test_labels_of_a_list_can_be_corrected(source: Path, decoded: list[str]) -> None:
    table = source / "videos.csv"
    table.write_text("path,label,group,split\nrun/1.mp4,run,a,train\nrun/2.mp4,run,b,test\nwalk/3.mp4,walk,c,train\n")
    prepared(source)
    table.write_text("path,label,group,split\nrun/1.mp4,run,a,test\nrun/2.mp4,hop,b,test\nwalk/3.mp4,walk,c,train\n")
    decoded.clear()
    prepared(source)
    assert decoded == []
    rows = read_rows(source.parent / "store")
    assert [(row.label, row.label_id, row.split) for row in rows] == [
        ("run", 0, "test"), ("hop", 2, "test"), ("walk", 1, "train"),
    ]  # fmt: skip
    check_consistent(source.parent / "store")


def test_a_file_that_could_not_be_read_is_tried_again(source: Path, decoded: list[str]) -> None:
    table = source.parent / "list.csv"
    table.write_text("path,label\nsource/run/1.mp4,run\nsource/run/later.mp4,run\n")
    settings: dict[str, Any] = {"workers": 0, "codec": "raw"}
    store = source.parent / "store"
    assert prepare(table, store, **settings).rejects == [("source/run/later.mp4", "file not found")]
    decoded.clear()
    assert not prepare(table, store, **settings).changed
    assert decoded == []  # it is still not there
    write(source / "run" / "later.mp4", 5)
    assert prepare(table, store, **settings).rejects == []
    assert decoded == ["later.mp4"]


def test_another_source_or_format_is_refused(source: Path, tmp_path: Path) -> None:
    prepared(source)
    before = files_of(tmp_path / "store")
    other = shutil.copytree(source, tmp_path / "other")
    with pytest.raises(StoreError, match="source was 'source' and is now 'other'; use --overwrite"):
        prepare(other, tmp_path / "store", codec="raw", workers=0)
    elsewhere = tmp_path / "elsewhere" / "source"
    write(elsewhere / "a" / "1.mp4", 4)
    with pytest.raises(StoreError, match=r"none of the 6 videos of the store is in .*it was made from another source"):
        prepare(elsewhere, tmp_path / "store", codec="raw", workers=0)
    with pytest.raises(StoreError, match="codec was 'raw' and is now 'jpeg', min_frames was 2 and is now 3"):
        prepare(source, tmp_path / "store", min_frames=3, workers=0)
    assert files_of(tmp_path / "store") == before


def test_an_update_that_was_interrupted_goes_on(source: Path, decoded: list[str], tmp_path: Path) -> None:
    def stop(step: PrepareProgress) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    prepared(source)
    copy = shutil.copytree(tmp_path / "store", tmp_path / "copy" / "store")
    before = files_of(tmp_path / "store")
    for name in ("run/6.mp4", "run/7.mp4", "walk/3.mp4"):
        write(source / name, 15)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, progress=stop)
    assert files_of(tmp_path / "store") == before
    assert prepared(source).resumed
    check_consistent(tmp_path / "store")
    prepare(source, copy, workers=0, codec="raw", max_shard_bytes=13_000, val_fraction=0)  # without interruption
    assert files_of(copy) == files_of(tmp_path / "store")
