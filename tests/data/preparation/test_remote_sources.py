"""Sources at URLs, against an S3 server and a web server on this machine."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsedense.data import remote_files
from sparsedense.data.errors import CatalogError, StoreError
from sparsedense.data.manifest import read_rows, read_store_info
from sparsedense.data.preparation import ingest as ingest_module
from sparsedense.data.preparation import run as prepare_run
from sparsedense.data.preparation.ingest import FrameFormat, IngestJob, IngestResult, ingest
from sparsedense.data.prepare import PrepareSummary, prepare
from tests.data.conftest import files_of
from tests.data.file_server import serve_files
from tests.data.preparation.object_store import serve_objects, upload
from tests.video import sample_videos as samples

pytest.importorskip("aiohttp")
NAMES = ("run/1.mp4", "run/走 2%.mp4", "walk/3.mp4", "walk/4.mp4", "walk/broken.mp4", "unlabelled/deep/5.mp4")
FORMAT = FrameFormat(codec="raw", short_side=16, quality=90, min_frames=2)


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("remote") / "videos"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(root / name, 4 + number, height=16, width=16)
    (root / "walk/broken.mp4").write_text("no video")
    (root / "walk/.hidden.mp4").write_text("left out")
    (root / "notes.txt").write_text("left out")
    return root


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The store of the same videos in a folder."""
    out = tmp_path_factory.mktemp("expected") / "store"
    prepared(videos, out)
    return files_of(out)


@pytest.fixture(scope="module")
def objects(videos: Path) -> Iterator[Any]:
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with serve_objects("bucket") as objects:
        yield objects


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Last parts of the names of the files that were read."""
    names: list[str] = []

    def counting(job: IngestJob) -> IngestResult:
        names.append(str(job.path).rpartition("/")[2])
        return ingest(job)

    monkeypatch.setattr(prepare_run, "ingest", counting)
    return names


def prepared(source: str | Path, out: Path, **changes: Any) -> PrepareSummary:
    settings = {"workers": 0, "codec": "raw", "short_side": 16, "val_fraction": 0, "test_fraction": 0, **changes}
    return prepare(source, out, **settings)


def without_sources(files: dict[str, str]) -> dict[str, str]:
    """Of a store all but what is noted of the files it was made from."""
    return {name: digest for name, digest in files.items() if name != "sources.parquet"}


def test_a_bucket_gives_the_store_of_a_folder_and_only_what_is_new_is_fetched(
    videos: Path, expected: dict[str, str], objects: Any, tmp_path: Path, read: list[str]
) -> None:
    upload(objects, videos, "s3://bucket/one/videos")
    source, out = "s3://bucket/one/videos/", tmp_path / "store"
    prepared(source, out)
    assert without_sources(files_of(out)) == without_sources(expected)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".store.lock") == ["store"]
    read.clear()
    assert not prepared(source, out).changed
    assert read == []

    objects.pipe_file("s3://bucket/one/videos/walk/4.mp4", (videos / "run/1.mp4").read_bytes())
    objects.pipe_file("s3://bucket/one/videos/walk/6.mp4", (videos / "walk/4.mp4").read_bytes())
    objects.pipe_file("s3://bucket/one/videos/run/1.mp4", (videos / "run/1.mp4").read_bytes())  # as it was
    objects.rm("s3://bucket/one/videos/walk/3.mp4")
    objects.pipe_file("s3://bucket/one/videos/run/moved.mp4", (videos / "walk/3.mp4").read_bytes())
    prepared(source, out)
    assert read == ["4.mp4", "6.mp4"]
    lengths = {row.path: row.num_frames for row in read_rows(out)}
    assert (lengths["walk/4.mp4"], lengths["walk/6.mp4"], lengths["run/moved.mp4"]) == (4, 7, 6)
    assert "walk/3.mp4" not in lengths


def test_worker_processes_fetch(videos: Path, expected: dict[str, str], objects: Any, tmp_path: Path) -> None:
    upload(objects, videos, "s3://bucket/two/videos")
    prepared("s3://bucket/two/videos", tmp_path / "store", workers=1)
    assert without_sources(files_of(tmp_path / "store")) == without_sources(expected)


def test_a_list_names_files_here_and_there_and_what_is_lost_is_told_and_tried_again(
    videos: Path, objects: Any, tmp_path: Path, read: list[str]
) -> None:
    shutil.copytree(videos, tmp_path / "web")
    upload(objects, videos, "s3://bucket/three")
    lost = tmp_path / "web" / "walk" / "4.mp4"
    lost.rename(tmp_path / "kept.mp4")
    with serve_files(tmp_path / "web") as server:
        paths = ["web/walk/3.mp4", f"{server.url}/run/1.mp4", f"{server.url}/walk/4.mp4"]
        paths += ["s3://bucket/three/walk/3.mp4", "s3://bucket/three/gone.mp4", f"{server.url}/walk/broken.mp4"]
        with (tmp_path / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *((path, "a") for path in paths)])
        out = tmp_path / "store"
        summary = prepared(tmp_path / "list.csv", out)
        assert [row.path for row in read_rows(out)] == paths
        assert dict(summary.rejects) == {
            paths[2]: "does not exist",
            paths[4]: "does not exist",
            paths[5]: "not a video file (Invalid data found when processing input)",
        }
        assert any("same content" in note for note in summary.notes)  # the file here and that in the bucket
        (tmp_path / "kept.mp4").rename(lost)
        read.clear()
        summary = prepared(tmp_path / "list.csv", out)
        assert read == ["4.mp4"]
        assert [path for path, _ in summary.rejects] == paths[4:]


def test_a_web_folder_is_fetched_once_although_the_connection_breaks(
    videos: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    with serve_files(videos.parent) as server:
        server.failures["3.mp4"] = 2
        url = f"{server.url}/videos"
        prepared(url, tmp_path / "store")
        assert without_sources(files_of(tmp_path / "store")) == without_sources(expected)
        fetched = {name: times for name, times in server.served.items() if name.endswith(".mp4")}
        assert set(fetched.values()) == {1}
        assert len(fetched) == len(NAMES)
        assert not prepared(url, tmp_path / "store").changed
        assert {name: times for name, times in server.served.items() if name.endswith(".mp4")} == fetched


def test_of_a_server_that_tells_no_time_the_content_is_compared(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    monkeypatch.setattr(remote_files, "_TIME_KEYS", ())  # this server tells no hash either
    shutil.copytree(videos, tmp_path / "web")
    with serve_files(tmp_path / "web") as server:
        prepared(server.url, tmp_path / "store")
        read.clear()
        assert not prepared(server.url, tmp_path / "store").changed
        assert read == []
        changed = tmp_path / "web" / "walk" / "3.mp4"
        changed.write_bytes(b"x" * changed.stat().st_size)
        prepared(server.url, tmp_path / "store")
        assert read == ["3.mp4"]


def test_a_list_at_a_url_names_its_neighbours(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "web")
    (tmp_path / "web" / "videos.jsonl").write_text('{"path": "run/1.mp4", "label": "a", "split": "train"}\n')
    with serve_files(tmp_path) as server:
        for source in (f"{server.url}/web/videos.jsonl", f"{server.url}/web"):
            prepared(source, tmp_path / "store", overwrite=True)
            assert [row.path for row in read_rows(tmp_path / "store")] == ["run/1.mp4"]
        (tmp_path / "web" / "videos.jsonl").write_text("{}")
        with pytest.raises(CatalogError, match=r"^http://\S+/web/videos\.jsonl, line 1: no \"path\""):
            prepared(f"{server.url}/web", tmp_path / "store")
    assert read_store_info(tmp_path / "store").source == "web"


def test_a_server_that_has_gone_ends_the_run_and_the_next_one_goes_on(
    videos: Path, expected: dict[str, str], objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(objects, videos, "s3://bucket/four/videos")
    source, out = "s3://bucket/four/videos", tmp_path / "store"

    def gone_after_two(job: IngestJob) -> IngestResult:
        if job.key == "00000002":
            objects.rm(source, recursive=True)
        return ingest(job)

    monkeypatch.setattr(prepare_run, "ingest", gone_after_two)
    with pytest.raises(StoreError, match="bring it back and run the same command"):
        prepared(source, out)
    monkeypatch.setattr(prepare_run, "ingest", ingest)
    upload(objects, videos, source)
    assert prepared(source, out).resumed
    assert without_sources(files_of(out)) == without_sources(expected)


def test_the_copy_goes_whatever_becomes_of_the_video(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(videos, tmp_path / "web")
    parts = tmp_path / "parts"
    parts.mkdir()

    def job(url: str, number: int) -> IngestJob:
        return IngestJob(path=url, part=parts / str(number), key=str(number), frame_format=FORMAT, metadata={})

    def changed_meanwhile(job: IngestJob, path: Path) -> IngestResult:
        os.utime(tmp_path / "web/walk/3.mp4", (1, 1))
        return decode(job, path)

    decode = ingest_module._decoded
    with serve_files(tmp_path / "web") as server:
        assert ingest(job(f"{server.url}/run/1.mp4", 1)).num_frames == 4
        assert ingest(job(f"{server.url}/walk/broken.mp4", 2)).reason is not None
        lost = ingest(job(f"{server.url}/lost.mp4", 3))
        assert (lost.reason, lost.source.retry) == ("does not exist", True)
        monkeypatch.setattr(ingest_module, "_decoded", changed_meanwhile)
        changed = ingest(job(f"{server.url}/walk/3.mp4", 4))
        assert (changed.reason, changed.source.retry) == ("the file changed while it was read", True)
    assert sorted(path.name for path in parts.iterdir()) == ["1", "1.json", "2.json", "3.json", "4.json"]


def test_what_cannot_be_a_source_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with serve_files(tmp_path) as server, pytest.raises(CatalogError, match="nothing does not exist"):
        prepared(f"{server.url}/nothing", tmp_path / "store")
    (tmp_path / "list.csv").write_text("path,label\nwhat://host/a.mp4,a\n")
    with pytest.raises(CatalogError, match=r"list\.csv lists a URL that cannot be read: what://host/a\.mp4"):
        prepared(tmp_path / "list.csv", tmp_path / "store")
    with pytest.raises(CatalogError, match=r"ucf101 are read from a folder of this machine, not from s3://bucket/ucf"):
        prepared("s3://bucket/ucf", tmp_path / "store", dataset="ucf101")
