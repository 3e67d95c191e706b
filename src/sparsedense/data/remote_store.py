"""A frame store at a URL: what is small is copied when it is opened, a shard when a frame of it is first read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.context import get_spawning_popen
from pathlib import Path

from sparsedense.data.errors import StoreError
from sparsedense.data.file_cache import DEFAULT_CACHE, FileCache
from sparsedense.data.frame_reading import MappedShard
from sparsedense.data.locations import Location
from sparsedense.data.manifest import shard_index_path, shard_path
from sparsedense.data.remote_files import is_file
from sparsedense.data.store import FrameStore
from sparsedense.data.video_columns import VideoColumns
from sparsedense.video.url import is_url

_OPENED = ("store.json", "manifest.parquet")
_VERSION_FILE = ".version.json"
_REMOVED_MEANWHILE_MOST = 5


class RemoteStore(FrameStore):
    """A frame store at a URL, with a cache on this machine; all else is as with a store in a folder.

    Copies are kept for the next run. When the store at the URL has been made again, the cache begins anew.

    Args:
        url: the store's folder: `https://host/store`, `s3://bucket/store`, or any other that fsspec knows.
        cache: folder for the copies.
        cache_bytes: shards may take this much of it, and those not read for the longest go; None keeps all.
        columns: what another process has read of the same store, to share it; the URL is not looked at again.

    Raises:
        StoreError: the URL is no store, or cannot be read.
    """

    def __init__(
        self, url: str, *, cache: str | Path, cache_bytes: int | None = None, columns: VideoColumns | None = None
    ) -> None:
        self.url, self._cache_folder, self._cache_bytes = url, Path(cache), cache_bytes
        self._files = FileCache(url, Path(cache), max_bytes=cache_bytes)
        if columns is None:
            _refresh(self._files)
        super().__init__(self._files.folder, columns=columns)

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def location(self) -> str:
        """Its URL."""
        return self.url

    def shard_bytes(self) -> int:
        """Size of all shards and their indexes, as the server tells it; -1 where it does not.

        Raises:
            StoreError: a shard is missing or cannot be looked at.
        """
        sizes = [self._files.size(name) for number in range(self.info.num_shards) for name in self._shard_names(number)]
        return -1 if min(sizes, default=0) < 0 else sum(sizes)

    def __reduce__(self) -> tuple[Callable[..., FrameStore], tuple[str | Path]]:
        columns = None if get_spawning_popen() is None else self._columns
        opened = partial(RemoteStore, cache=self._cache_folder, cache_bytes=self._cache_bytes, columns=columns)
        return opened, (self.url,)

    def fetch_shards(self, numbers: Iterable[int]) -> None:
        """Copy shards, so that they are there when their frames are read.

        Raises:
            StoreError: a shard cannot be read.
        """
        for number in numbers:
            for name in self._shard_names(number):
                self._files.fetch(name)

    def fetch_all(self) -> Path:
        """Copy the whole store; returns the folder of the copy.

        Raises:
            StoreError: a file cannot be read.
        """
        self.fetch_shards(range(self.info.num_shards))
        self._files.fetch("sources.parquet")
        if is_file(f"{self._files.url}/missing.txt"):
            self._files.fetch("missing.txt")
        return self.path

    def _shard_names(self, number: int) -> list[str]:
        files = (shard_index_path(self.path, number), shard_path(self.path, number))
        return [path.relative_to(self.path).as_posix() for path in files]

    def _map_shard(self, number: int) -> MappedShard:
        for _ in range(_REMOVED_MEANWHILE_MOST):
            self.fetch_shards([number])
            try:
                return super()._map_shard(number)
            except StoreError:
                if shard_path(self.path, number).exists():
                    raise
        raise StoreError(
            f"shard {number} of {self.url} was removed from the cache {self.path} as often as it was copied; "
            f"allow it more than cache_bytes ({self._cache_bytes})"
        )


def open_store(store: str | Path, *, cache: str | Path | None = None, cache_bytes: int | None = None) -> FrameStore:
    """Open a store in a folder or at a URL.

    Args:
        store: the folder, or a URL as a string.
        cache: folder for copies of what lies at a URL; `~/.cache/sparsedense` if not given.
        cache_bytes: shards may take this much of the cache; None keeps all.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    if isinstance(store, str) and is_url(store):
        folder = DEFAULT_CACHE if cache is None else Path(cache)
        return RemoteStore(store, cache=folder, cache_bytes=cache_bytes)
    return FrameStore(store)


def local_store(store: Location) -> Path:
    """The folder of a store; of one at a URL, that of a copy of all of it, which is made or completed now.

    Raises:
        StoreError: there is no store at the URL, or it cannot be read.
    """
    return store if isinstance(store, Path) else RemoteStore(store, cache=DEFAULT_CACHE).fetch_all()


def _refresh(files: FileCache) -> None:
    """Copy what tells about the videos; where it is not what was copied before, all copies are of no use any more."""
    version = {name: files.version(name) for name in _OPENED}
    noted = files.path(_VERSION_FILE)
    if not noted.exists() or json.loads(noted.read_text(encoding="utf-8")) != version:
        files.clear()
    for name in _OPENED:
        files.fetch(name)
    partial_note = noted.with_name(f"{noted.name}.partial")
    partial_note.write_text(json.dumps(version), encoding="utf-8")
    partial_note.replace(noted)
