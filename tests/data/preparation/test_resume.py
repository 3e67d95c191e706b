from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sparsedense.data.errors import StoreError
from sparsedense.data.preparation import run as prepare_run
from sparsedense.data.preparation.ingest import IngestJob, IngestResult, ingest
from sparsedense.data.prepare import PrepareProgress, prepare
from sparsedense.data.store import FrameStore
from tests.data.conftest import files_of
from tests.video import sample_videos as samples

NAMES = ("a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4", "b/broken.mp4", "unlabelled/5.mp4")
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resume") / "source"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(root / name, 4 + number, height=16, width=16)
    (root / "b/broken.mp4").write_text("no video")
    return root


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store = tmp_path_factory.mktemp("resume") / "store"
    prepared(source, store)
    files = files_of(store)
    assert sum(name.endswith(".tar") for name in files) == 4
    return files


def prepared(source: Path, store: Path, **changes: Any) -> None:
    prepare(source, store, **{"workers": 0, "codec": "raw", "max_shard_bytes": 13_000, **changes})


def killed_at(event: int, source: Path, store: Path, **changes: Any) -> bool:
    """Run in a child that is killed (as by kill -9) right before its n-th file operation; whether it got there."""
    child = os.fork()
    if child == 0:
        count = 0

        def kill_in_time(name: str, _: object) -> None:
            nonlocal count
            if name in FILE_EVENTS:
                count += 1
                if count == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill_in_time)
        try:
            prepared(source, store, **changes)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("commit_seconds", [0.0, 100.0])
def test_killed_at_any_operation_on_files_and_run_again_it_is_the_same_store(
    commit_seconds: float, source: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_run, "COMMIT_SECONDS", commit_seconds)
    event, last = 1, False
    while not last:
        store = tmp_path / str(event)
        last = not killed_at(event, source, store)
        prepared(source, store)
        assert files_of(store) == expected, f"killed at operation {event}"
        assert [path.name for path in tmp_path.iterdir()] == [store.name]
        shutil.rmtree(store)
        event += 11  # every one of them passes, but takes a minute
    assert event > 80  # the run has many of them


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_update_killed_at_any_operation_leaves_the_old_store_or_the_new_one(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    changing = shutil.copytree(source, root / "source")
    prepared(changing, root / "before")
    samples.write_numbered(changing / "a" / "0.mp4", 9, height=16, width=16)  # a new file
    samples.write_numbered(changing / "b" / "3.mp4", 7, height=16, width=16)  # another content: a shard is rewritten
    prepared(changing, Path(shutil.copytree(root / "before", root / "after")))
    before, after = files_of(root / "before"), files_of(root / "after")
    event, last = 1, False
    while not last:
        store = Path(shutil.copytree(root / "before", root / "store"))
        last = not killed_at(event, changing, store)
        assert not store.exists() or files_of(store) in (before, after)
        prepared(changing, store)
        assert files_of(store) == after, f"killed at operation {event}"
        assert sorted(path.name for path in root.iterdir()) == ["after", "before", "source", "store"]
        shutil.rmtree(store)
        event += 13  # as above
    assert event > 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_comes_to_an_end(
    source: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_run, "COMMIT_SECONDS", 0.0)
    runs = 1
    while killed_at(45, source, tmp_path / "store"):
        runs += 1
        assert runs < 30
    assert runs > 3
    prepared(source, tmp_path / "store")
    assert files_of(tmp_path / "store") == expected


def test_nothing_is_decoded_twice_and_the_finished_parts_of_killed_workers_are_used(
    source: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counting(job: IngestJob) -> IngestResult:
        result = ingest(job)
        decoded.append(Path(job.path).name)
        return result

    def stop(step: PrepareProgress) -> None:
        if step.done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(prepare_run, "ingest", counting)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, tmp_path / "store", progress=stop)
    assert not (tmp_path / "store").exists()
    parts = tmp_path / ".store.partial" / "work" / "parts"
    times = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert len(times) == 8  # four parts with their results; nothing is in the journal yet
    (parts / "00000004.123").write_text("half of a part, of a worker that was killed")

    steps: list[PrepareProgress] = []

    def watch(step: PrepareProgress) -> None:
        steps.append(step)
        assert not (parts / "00000004.123").exists()
        if step.done <= 4:
            assert {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}.items() >= times.items()

    prepared(source, tmp_path / "store", progress=watch)
    assert files_of(tmp_path / "store") == expected
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]

    monkeypatch.setattr(prepare_run, "COMMIT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, tmp_path / "other", progress=stop)
    decoded.clear()
    prepared(source, tmp_path / "other", progress=steps.append)
    assert decoded == ["broken.mp4", "5.mp4"]
    assert (steps[-1].done, steps[-1].done_before, steps[-1].total) == (6, 4, 6)
    assert files_of(tmp_path / "other") == expected


def test_a_part_that_a_power_failure_spoilt_is_decoded_again(
    source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    def stop(step: PrepareProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(source, tmp_path / "store", progress=stop)
    part = tmp_path / ".store.partial" / "work" / "parts" / "00000000"
    part.write_bytes(bytes(part.stat().st_size))
    prepared(source, tmp_path / "store")
    assert files_of(tmp_path / "store") == expected


def test_the_command_killed_with_its_workers_at_work_goes_on(
    source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    code = (
        "from sparsedense.data.prepare import prepare\n"
        "import sys, time\n"
        "if __name__ == '__main__':\n"
        "    prepare(sys.argv[1], sys.argv[2], workers=2, codec='raw', max_shard_bytes=13_000,\n"
        "            progress=lambda step: print(step.done, flush=True) or time.sleep(0.3))\n"
    )
    (tmp_path / "script.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py", source, store], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        while run.stdout.readline() != "3\n":
            pass
        with pytest.raises(FileExistsError, match="another process makes the store"):
            prepared(source, store)
        run.kill()
    prepared(source, store)
    assert files_of(store) == expected


def test_another_command_does_not_go_on_with_an_unfinished_run(source: Path, tmp_path: Path) -> None:
    def stop(step: PrepareProgress) -> None:
        raise KeyboardInterrupt

    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        prepared(source, store, short_side=12, progress=stop)
    with pytest.raises(
        StoreError, match="was another one: short_side was 12 and is now 128; run it again as it was, or"
    ):
        prepared(source, store)
    with pytest.raises(StoreError, match=r"source was '.*source' and is now"):
        prepared(source / "a", store, short_side=12)
    with pytest.raises(StoreError, match="shard was None and is now"):
        prepared(source, store, short_side=12, shard="1/2")
    prepared(source, store, overwrite=True)
    assert FrameStore(store).short_side == 128


def test_overwriting_goes_on_with_the_same_command_and_keeps_the_old_store_until_the_end(
    source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    def stop(step: PrepareProgress) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    store = tmp_path / "store"
    steps: list[PrepareProgress] = []
    prepared(source, store, short_side=12)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, store, overwrite=True, progress=stop)
    assert FrameStore(store).short_side == 12
    with pytest.raises(StoreError, match="it was to overwrite the store that is there"):
        prepared(source, store)
    started = time.time_ns()
    prepared(source, store, overwrite=True, progress=steps.append)
    assert files_of(store) == expected
    assert len(steps) == 6
    assert steps[0].seconds < (time.time_ns() - started) / 1e9


def test_a_source_that_changed_since_the_interruption_is_followed_in_the_end(source: Path, tmp_path: Path) -> None:
    def stop(step: PrepareProgress) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    changing = shutil.copytree(source, tmp_path / "source")
    with pytest.raises(KeyboardInterrupt):
        prepared(changing, tmp_path / "store", progress=stop)
    samples.write_numbered(changing / "a" / "0.mp4", 9, height=16, width=16)
    (changing / "b" / "4.mp4").unlink()
    prepared(changing, tmp_path / "store")
    store = FrameStore(tmp_path / "store")
    lengths = dict(zip(store.paths, store.num_frames.tolist(), strict=True))
    assert lengths == {
        "a/1.mp4": 4, "a/2.mp4": 5, "b/3.mp4": 6, "b/4.mp4": 0, "b/broken.mp4": 0, "unlabelled/5.mp4": 9, "a/0.mp4": 9,
    }  # fmt: skip
    assert store.manifest["reason"][3].as_py() == "file not found"
