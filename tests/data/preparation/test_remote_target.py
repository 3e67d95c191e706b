"""Stores made at URLs, against an S3 server on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsedense.cli import main
from sparsedense.data import remote_files
from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import read_rows
from sparsedense.data.preparation import remote_target
from sparsedense.data.preparation import run as prepare_run
from sparsedense.data.preparation.merge import merge_stores
from sparsedense.data.prepare import PrepareSummary, prepare
from sparsedense.data.remote_store import open_store
from tests.data.conftest import files_of
from tests.data.preparation.object_store import serve_objects
from tests.video import sample_videos as samples

pytest.importorskip("moto")
pytest.importorskip("s3fs")
MANY_SHARDS = 20_000  # bytes of one: two or three videos


class Killed(BaseException):
    """What `kill -9` is to this process."""


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def objects() -> Iterator[Any]:
    with serve_objects("made") as objects:
        yield objects


@pytest.fixture
def url(objects: Any, request: pytest.FixtureRequest) -> str:
    """A place of this test's own."""
    return f"s3://made/{abs(hash(request.node.nodeid))}/store"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for number in range(5):
        path = root / ("walk" if number % 2 else "run") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(path, 5 + number, height=32, width=32)
    return root


def prepared(source: Path, out: str | Path, cache: Path, **changes: Any) -> PrepareSummary:
    settings = {"workers": 0, "codec": "raw", "short_side": 32, "val_fraction": 0, "test_fraction": 0, **changes}
    return prepare(source, out, cache=cache, max_shard_bytes=MANY_SHARDS, **settings)


def objects_of(objects: Any, url: str) -> dict[str, str]:
    """Hash of every object below a URL."""
    root = url.removeprefix("s3://")
    return {path[len(root) + 1 :]: hashlib.sha256(objects.cat_file(path)).hexdigest() for path in objects.find(root)}


def frames_of(url: str, cache: Path) -> list[list[int]]:
    """The numbers on the frames of each video of a store that is opened anew."""
    shutil.rmtree(cache, ignore_errors=True)
    store = open_store(url, cache=cache)
    return [
        samples.numbers_of(store.read(video, np.arange(store.length_frames(video))).permute(1, 2, 3, 0).numpy())
        for video in store.videos().tolist()
    ]


def change(source: Path) -> None:
    """One more video, and one of another class, so that a shard is written again and another one is new."""
    new = samples.write_numbered(source / "run" / "new.mp4", 20, height=32, width=32)
    os.utime(new, (1e9, 1e9))  # as it is noted with the store, whenever the test makes it
    (source / "walk" / "1.mp4").rename(source / "run" / "1.mp4")


@pytest.mark.parametrize("forgotten", [False, True], ids=["same machine", "another machine"])
def test_a_store_at_a_url_is_that_of_a_folder_also_when_the_source_changes(
    source: Path, url: str, objects: Any, tmp_path: Path, forgotten: bool
) -> None:
    cache = tmp_path / "cache"
    prepared(source, tmp_path / "store", cache)
    summary = prepared(source, url, cache)
    assert summary.changed
    assert str(summary.store) == url
    assert objects_of(objects, url) == files_of(tmp_path / "store")
    assert not list(cache.rglob("*.tar")), "what has arrived is not kept twice"
    if forgotten:
        shutil.rmtree(cache)
    again = prepared(source, url, cache)
    assert (again.changed, again.files_read) == (False, 0)

    change(source)
    prepared(source, tmp_path / "store", cache)
    summary = prepared(source, url, cache)
    assert summary.files_read == 1
    assert objects_of(objects, url) == files_of(tmp_path / "store")
    assert frames_of(url, tmp_path / "read")[-1] == list(range(20))


def test_shards_that_a_smaller_store_no_longer_has_are_removed(
    source: Path, url: str, objects: Any, tmp_path: Path
) -> None:
    prepared(source, url, tmp_path / "cache")
    for path in sorted(source.rglob("*.mp4"))[1:]:
        path.unlink()
    prepared(source, url, tmp_path / "cache", overwrite=True)
    prepared(source, tmp_path / "store", tmp_path / "cache")
    assert objects_of(objects, url) == files_of(tmp_path / "store")


def test_parts_at_urls_are_merged_to_a_url(source: Path, url: str, objects: Any, tmp_path: Path) -> None:
    parts: list[str | Path] = [tmp_path / "part1", f"{url}-part2"]
    for number, part in enumerate(parts, start=1):
        prepared(source, part, tmp_path, shard=f"{number}/2")
    merge_stores(parts, url, cache=tmp_path / "cache")
    prepared(source, tmp_path / "store", tmp_path)
    assert objects_of(objects, url) == files_of(tmp_path / "store")


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every upload and removal counts; the one with this number, and all behind it, do not happen."""
    count = [0]

    def guarded(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            count[0] += 1
            if count[0] > step:
                raise Killed
            return work(*arguments)

        return run

    for name in ("upload", "remove"):
        monkeypatch.setattr(remote_target, name, guarded(getattr(remote_target, name)))
    return count


def test_a_run_killed_at_any_step_leaves_no_store_and_the_next_one_goes_on(
    source: Path, objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_run, "COMMIT_SECONDS", 0.0)  # so that shards leave as soon as they can
    prepared(source, tmp_path / "store", tmp_path)
    for step in range(100):
        url, cache = f"s3://made/new/{step}", tmp_path / f"cache{step}"
        with monkeypatch.context() as patch:
            killed_at(step, patch)
            try:
                prepared(source, url, cache)
                break
            except Killed:
                pass
        if objects.exists(f"{url}/store.json"):
            assert frames_of(url, tmp_path / "read") == frames_of((tmp_path / "store").as_uri(), tmp_path / "read")
        assert prepared(source, url, cache).resumed or objects.exists(f"{url}/store.json")
        assert objects_of(objects, url) == files_of(tmp_path / "store"), step
    assert step > 8, "shards, manifest and the others are steps of their own"


def test_this_machine_need_not_hold_all_shards(
    source: Path, url: str, objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_run, "COMMIT_SECONDS", 0.0)
    held = []
    prepared(source, url, tmp_path, progress=lambda _state: held.append(len(list(tmp_path.rglob("*.tar")))))
    assert max(held) <= 2 < len([name for name in objects_of(objects, url) if name.endswith(".tar")])


def test_an_update_killed_at_any_step_leaves_the_old_store_or_the_new_one_or_none(
    source: Path, objects: Any, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    prepared(source, before, tmp_path)
    shutil.copytree(source, tmp_path / "old")
    change(source)
    shutil.copytree(before, after)
    prepared(source, after, tmp_path)
    lengths = [sorted(row.num_frames for row in read_rows(path)) for path in (before, after)]
    for step in range(100):
        url, cache = f"s3://made/changed/{step}", tmp_path / f"cache{step}"
        shutil.rmtree(source)
        shutil.copytree(tmp_path / "old", source)
        prepared(source, url, cache)
        change(source)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(step, patch)
            try:
                prepared(source, url, cache)
                break
            except Killed:
                pass
        if objects.exists(f"{url}/store.json"):
            frames = frames_of(url, tmp_path / "read")
            assert sorted(map(len, frames)) in lengths
            assert all(numbers == list(range(len(numbers))) for numbers in frames)
        prepared(source, url, cache)
        assert objects_of(objects, url) == files_of(after), step
    assert step > 8, "shards, manifest and the others are steps of their own"


def test_a_folder_of_something_else_is_left_alone(source: Path, url: str, objects: Any, tmp_path: Path) -> None:
    objects.pipe_file(f"{url}/thesis.pdf", b"years of work")
    with pytest.raises(StoreError, match=r"exists and is not a frame store \(thesis\.pdf\); choose another URL"):
        prepared(source, url, tmp_path / "cache")
    assert [*objects_of(objects, url)] == ["thesis.pdf"]


def test_what_another_machine_has_made_meanwhile_is_not_overwritten(
    source: Path, url: str, objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(source, url, tmp_path / "cache")
    change(source)
    with monkeypatch.context() as patch:
        killed_at(0, patch)
        with pytest.raises(Killed):
            prepared(source, url, tmp_path / "cache")
    samples.write_numbered(source / "run" / "other.mp4", 7, height=32, width=32)
    prepared(source, url, tmp_path / "other")
    there = objects_of(objects, url)
    with pytest.raises(StoreError, match="another machine has changed the store"):
        prepared(source, url, tmp_path / "cache")
    assert objects_of(objects, url) == there


def test_a_bucket_that_does_not_exist_is_told_and_the_work_is_kept(
    source: Path, objects: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "prepare",
        str(source),
        "--out",
        "s3://nowhere/store",
        "--workers",
        "0",
        "--cache",
        str(tmp_path / "cache"),
    ]
    assert main(words) == 1
    assert (
        "cannot write the store s3://nowhere/store: s3://nowhere/store/shards/shard-000000" in capsys.readouterr().err
    )
    objects.mkdir("nowhere")
    assert main(words) == 0
    assert "s3://nowhere/store: " in capsys.readouterr().out


def test_a_url_made_a_path_is_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="s3://bucket/store is a URL and was given as a path"):
        prepared(source, Path("s3://bucket/store"), tmp_path)
