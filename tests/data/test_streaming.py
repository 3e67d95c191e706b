from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.data import remote_files
from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.errors import StoreError
from sparsedense.data.file_cache import FileCache
from sparsedense.data.loader import ClipBatch, TrainingClips
from sparsedense.data.prepare import prepare
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.data.streaming import StreamingLoader
from tests.data.file_server import FileServer, serve_files

CLIPS = ClipConfig(length=4, size=16, min_dense_stride_frames=0.5)


@pytest.fixture(scope="module")
def sharded(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sharded") / "store"
    prepare(squares_folder, path, short_side=24, workers=0, max_shard_bytes=200_000)
    return path


def loader(store: FrameStore, *, num_workers: int = 0, whole_batches: bool = False, **split: int) -> StreamingLoader:
    videos = store.videos(min_frames=CLIPS.min_frames)
    return StreamingLoader(
        TrainingClips(store, CLIPS, AugmentConfig(), seed=3, labelled=videos),
        videos,
        batch_size=4,
        seed=7,
        num_workers=num_workers,
        window_shards=2,
        whole_batches=whole_batches,
        **split,
    )


def same(one: list[ClipBatch], other: list[ClipBatch]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)  # type: ignore[literal-required]
        for a, b in zip(one, other, strict=True)
    )


def ids(batches: list[ClipBatch]) -> list[int]:
    return [int(video) for batch in batches for video in batch["video_id"]]


def test_an_epoch_has_every_video_once_and_the_next_another_order(sharded: Path) -> None:
    store = FrameStore(sharded)
    assert len(np.unique(store.shard_numbers(store.videos()))) > 4
    stream = loader(store)
    first, second = list(stream), list(stream)
    assert len(first) == len(stream)
    assert sorted(ids(first)) == sorted(ids(second)) == store.videos(min_frames=CLIPS.min_frames).tolist()
    assert ids(first) != ids(second)
    again = loader(store)
    again.set_epoch(1)
    assert same(list(again), second)


def test_the_batches_do_not_depend_on_workers(sharded: Path) -> None:
    alone, shared = (list(loader(FrameStore(sharded), num_workers=count)) for count in (0, 2))
    assert same(alone, shared)


def test_processes_share_an_epoch(sharded: Path) -> None:
    store = FrameStore(sharded)
    shared = [video for rank in range(3) for video in ids(list(loader(store, rank=rank, world_size=3)))]
    assert sorted(shared) == store.videos(min_frames=CLIPS.min_frames).tolist()
    steps = {len(loader(store, rank=rank, world_size=3, whole_batches=True)) for rank in range(3)}
    assert len(steps) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_anywhere_in_an_epoch(sharded: Path, workers: int) -> None:
    store = FrameStore(sharded)
    whole = [*(stream := loader(store)), *stream]
    steps = len(stream)
    for had in (0, 1, steps - 1, steps, steps + 2) if not workers else (3,):
        before, taken = loader(store), list[ClipBatch]()
        while len(taken) < had:
            for batch in before:
                taken.append(batch)
                if len(taken) == had:
                    break
        state = json.loads(json.dumps(before.state_dict()))
        after = loader(store, num_workers=workers)
        after.load_state_dict(state)
        rest = list(after)
        while len(taken) + len(rest) < len(whole):
            rest += list(after)
        assert same(taken + rest, whole), had


def test_a_resumed_epoch_is_not_begun_again_when_it_is_set(sharded: Path) -> None:
    stream = loader(FrameStore(sharded))
    whole = list(stream)
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "batches": 2})
    stream.set_epoch(0)
    assert same(list(stream), whole[2:])


def test_a_state_of_another_stream_is_an_error(sharded: Path) -> None:
    stream = loader(FrameStore(sharded))
    with pytest.raises(ValueError, match="had seed 8, this one has 7"):
        stream.load_state_dict({**stream.state_dict(), "seed": 8})


def test_a_store_at_a_url_gives_the_same_and_copies_each_shard_once(sharded: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    here = list(loader(FrameStore(sharded)))
    with serve_files(sharded.parent) as server:
        remote = open_store(f"{server.url}/store", cache=tmp_path)
        assert server.served.keys() == {"store.json", "manifest.parquet"}
        assert same(list(loader(remote, num_workers=2)), here)
        assert max(server.served.values()) == 1


def test_a_second_opening_reads_from_the_cache(sharded: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with serve_files(sharded.parent) as server:
        url = f"{server.url}/store"
        first = list(loader(open_store(url, cache=tmp_path)))
        server.served.clear()
        assert same(list(loader(open_store(url, cache=tmp_path))), first)
        assert not server.served


def test_a_store_that_was_made_again_is_copied_again(sharded: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(sharded, tmp_path / "source"))
    url = source.as_uri()
    before = open_store(url, cache=tmp_path / "cache")
    before.read(0, np.array([0]))
    shard = before.path / "shards" / f"shard-{before.shard_numbers(np.array([0]))[0]:06d}.tar"
    assert shard.exists()
    manifest = source / "manifest.parquet"
    manifest.write_bytes(manifest.read_bytes())  # as large, but of another time
    open_store(url, cache=tmp_path / "cache")
    assert not shard.exists()


def test_the_cache_keeps_to_its_size(sharded: Path, tmp_path: Path) -> None:
    sizes = [path.stat().st_size for path in (sharded / "shards").glob("*.tar")]
    limit = 2 * max(sizes)
    remote = open_store(sharded.as_uri(), cache=tmp_path, cache_bytes=limit)
    assert sum(sizes) > 2 * limit
    assert same(list(loader(remote, num_workers=2)), list(loader(FrameStore(sharded))))
    kept = [path.stat().st_size for path in (remote.path / "shards").glob("*.tar")]
    assert kept
    assert sum(kept) <= limit


def test_those_who_want_one_file_at_once_wait_for_one_download(sharded: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with serve_files(sharded.parent) as server, ThreadPoolExecutor(6) as pool:
        files = [FileCache(f"{server.url}/store", tmp_path) for _ in range(6)]
        paths = list(pool.map(lambda cache: cache.fetch("shards/shard-000000.tar"), files))
        assert server.served == {"shard-000000.tar": 1}
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == (sharded / "shards" / "shard-000000.tar").read_bytes()


def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_FIRST_PAUSE_SECONDS", 0.01)


def test_a_download_that_breaks_off_is_tried_again(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    fast_retries(monkeypatch)

    def broken(server: FileServer, times: int) -> FrameStore:
        remote = open_store(f"{server.url}/store", cache=tmp_path / str(times))
        server.failures[f"shard-{remote.shard_numbers(np.array([0]))[0]:06d}.tar"] = times
        return remote

    with serve_files(sharded.parent) as server:
        expected = FrameStore(sharded).read(0, np.array([2, 3]))
        assert torch.equal(broken(server, 2).read(0, np.array([2, 3])), expected)
        with pytest.raises(StoreError, match=r"shard-\d+\.tar cannot be read after 4 attempts"):
            broken(server, 99).read(0, np.array([2]))
        assert not list((tmp_path / "99").rglob("*.partial"))


def test_an_address_without_a_store_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with serve_files(tmp_path) as server, pytest.raises(StoreError, match=r"nothing/store\.json does not exist"):
        open_store(f"{server.url}/nothing", cache=tmp_path)
