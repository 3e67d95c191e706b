"""What happens to a store when the disk, the permissions or the source go away while it is made."""

from __future__ import annotations

import os
import resource
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsedense.data.errors import StoreError
from sparsedense.data.preparation import ingest as ingest_module
from sparsedense.data.preparation import run as prepare_run
from sparsedense.data.preparation.ingest import IngestJob, IngestResult
from sparsedense.data.prepare import PrepareProgress
from sparsedense.data.store import FrameStore
from sparsedense.video.write import write_video
from tests.data.conftest import files_of, moving_frames
from tests.data.preparation.dying_ingest import ingest_or_die
from tests.data.preparation.test_update import check_consistent, prepared, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(5):
        write(tmp_path / "source" / "a" / f"{number}.mp4", 4 + number)
    return tmp_path / "source"


@pytest.fixture
def expected(source: Path, tmp_path: Path) -> dict[str, str]:
    """What the store is where nothing happens."""
    prepared(source)
    files = files_of(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    return files


def message_with_full_disk(num_bytes: int, source: Path, *, workers: int = 0) -> str:
    """The message of a run in which no file can become longer than so many bytes; empty where it is enough."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
        try:
            prepared(source, workers=workers)
        except StoreError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    return message


@pytest.mark.parametrize("num_bytes", [100, 1_000, 5_000, 6_000, 8_000, 12_000])
def test_a_full_disk_is_told_and_the_same_command_goes_on(
    num_bytes: int, source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    message = message_with_full_disk(num_bytes, source)
    assert "cannot write the store" in message
    assert "File too large" in message
    assert "run the same command again: what is finished is kept" in message
    assert not (tmp_path / "store").exists()
    prepared(source)
    assert files_of(tmp_path / "store") == expected
    assert not (tmp_path / ".store.partial").exists()


def test_a_full_disk_in_a_worker_is_told_too(source: Path, expected: dict[str, str], tmp_path: Path) -> None:
    assert "File too large" in message_with_full_disk(7_000, source, workers=1)
    prepared(source)
    assert files_of(tmp_path / "store") == expected


def test_a_store_stays_readable_while_its_update_fails(source: Path, tmp_path: Path) -> None:
    prepared(source)
    before = files_of(tmp_path / "store")
    write(source / "a" / "9.mp4", 20)
    assert "cannot write the store" in message_with_full_disk(10_000, source)
    assert files_of(tmp_path / "store") == before
    prepared(source)
    assert FrameStore(tmp_path / "store").info.num_videos == 6
    check_consistent(tmp_path / "store")


def test_a_lost_permission_is_told_and_the_same_command_goes_on(
    source: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, entries: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(prepare_run, "append_entries", refuse)
        with pytest.raises(StoreError, match=r"Permission denied.*mend this \(space, permissions\) and run the same"):
            prepared(source)
    prepared(source)
    assert files_of(tmp_path / "store") == expected


def removed(source: Path) -> None:
    source.rename(source.with_name("away"))


def unmounted(source: Path) -> None:
    removed(source)
    source.mkdir()


@pytest.mark.parametrize(
    ("go_away", "trouble"), [(removed, r"cannot be read \(No such file or directory\)"), (unmounted, "is empty")]
)
def test_a_source_that_goes_away_is_told_and_the_same_command_goes_on(
    go_away: Callable[[Path], None], trouble: str, source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    def take_away(step: PrepareProgress) -> None:
        if step.done == 2:
            go_away(source)

    with pytest.raises(StoreError, match=rf"the source .*source {trouble} since a/2\.mp4 \(file not found\); bring it"):
        prepared(source, progress=take_away)
    assert not (tmp_path / "store").exists()
    shutil.rmtree(source, ignore_errors=True)
    (tmp_path / "away").rename(source)
    prepared(source)
    assert files_of(tmp_path / "store") == expected


def test_one_file_that_goes_away_is_listed_and_read_when_it_is_back(source: Path, tmp_path: Path) -> None:
    def take_away(step: PrepareProgress) -> None:
        if step.done == 2:
            (source / "a" / "3.mp4").rename(tmp_path / "3.mp4")

    assert prepared(source, progress=take_away).rejects == [("a/3.mp4", "file not found")]
    (tmp_path / "3.mp4").rename(source / "a" / "3.mp4")
    summary = prepared(source)
    assert (summary.rejects, summary.files_read, summary.ok) == ([], 1, 5)
    check_consistent(tmp_path / "store")


def test_a_decoder_that_crashes_or_hangs_costs_its_own_file_only(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prepare_run, "ingest", ingest_or_die)
        summary = prepared(source, workers=1, stall_seconds=3.0)
    assert summary.rejects == [
        ("a/1.mp4", "the decoder crashed (SIGSEGV)"),
        ("a/3.mp4", "no frame for 3 seconds"),
    ]
    check_consistent(tmp_path / "store")
    assert prepared(source).rejects == []  # they are tried again, perhaps on a machine with more memory


def test_memory_does_not_grow_with_the_length_or_the_number_of_videos(tmp_path: Path) -> None:
    def peak(name: str, *, num_videos: int, num_frames: int) -> int:
        for number in range(num_videos):
            frames = moving_frames(num_frames, height=240, width=320)
            write_video(tmp_path / name / "source" / "a" / f"{number}.mp4", frames, preset="ultrafast")
        del frames
        tracemalloc.start()
        prepared(tmp_path / name / "source", max_shard_bytes=20_000_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    peak("warm up", num_videos=1, num_frames=2)
    usual = peak("usual", num_videos=2, num_frames=10)
    assert peak("long", num_videos=2, num_frames=150) < usual + 2_000_000  # of 34 MB a video
    assert peak("many", num_videos=40, num_frames=10) < usual + 1_000_000  # of 90 MB


def test_a_file_that_is_still_being_written_is_not_taken(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grows(job: IngestJob, path: Path) -> IngestResult:
        result = decoded(job, path)
        if path.name == "3.mp4":
            with path.open("ab") as file:
                file.write(b"more")
        return result

    decoded = ingest_module._decoded
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "_decoded", grows)
        assert prepared(source).rejects == [("a/3.mp4", "the file changed while it was read")]
    assert prepared(source).rejects == []
    check_consistent(tmp_path / "store")
