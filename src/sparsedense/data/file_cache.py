"""Local copies of files that lie at a URL, shared by all processes of a machine.

A copy appears under its name when it is complete. Two processes that want the same file wait for one download. Where
the copies exceed a size, those that have not been asked for the longest go.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from sparsedense.data.errors import StoreError
from sparsedense.file_lock import file_lock

_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.5  # doubled after each attempt
_POLL_SECONDS = 0.05
# What tells that a file at a URL is another one now; file systems name it differently.
_VERSION_KEYS = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "generation", "version_id")

Result = TypeVar("Result")


class FileSystem(Protocol):
    """What is used of an fsspec file system."""

    def info(self, path: str) -> dict[str, Any]:
        """Size and other properties of a file."""

    def get_file(self, path: str, target: str) -> None:
        """Copy a file to this machine."""


class FileCache:
    """Local copies of the files below a URL.

    Args:
        url: what the files' names are relative to; any that fsspec knows: `https://`, `s3://`, `gs://`, `file://`.
        folder: folder of all caches; this one's is a folder in it, named after the URL.
        max_bytes: copies in the folder `shards` may take this much; None keeps all.
    """

    def __init__(self, url: str, folder: Path, *, max_bytes: int | None = None) -> None:
        self.url = url.rstrip("/")
        self.folder = folder / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._max_bytes = max_bytes

    def path(self, name: str) -> Path:
        """Where the copy of a file is or will be."""
        return self.folder / name

    def fetch(self, name: str) -> Path:
        """The local copy of a file; it is downloaded where there is none.

        Args:
            name: the file, relative to the URL.

        Raises:
            StoreError: there is no such file, or the download failed several times.
        """
        local = self.path(name)
        while True:
            try:
                os.utime(local)  # it is wanted: it goes last
                return local
            except FileNotFoundError:
                local.parent.mkdir(parents=True, exist_ok=True)
            try:
                with file_lock(local.with_name(f".{local.name}.lock"), busy=f"{local} is being downloaded"):
                    if not local.exists():
                        self._download(name, local)
                        self._make_room(local)
            except FileExistsError:
                time.sleep(_POLL_SECONDS)

    def version(self, name: str) -> dict[str, str]:
        """What the server says of a file that changes when the file does.

        Raises:
            StoreError: there is no such file, or the server does not answer.
        """
        return self._tried(name, lambda system, path: _version(system.info(path)))

    def clear(self) -> None:
        """Remove all copies."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _download(self, name: str, local: Path) -> None:
        partial = local.with_name(f".{local.name}.{os.getpid()}.partial")
        try:
            self._tried(name, lambda system, path: _copy(system, path, partial))
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def _tried(self, name: str, work: Callable[[FileSystem, str], Result]) -> Result:
        """Do something with the file's file system and path, again where the network fails."""
        url_to_fs = _import_fsspec().url_to_fs

        url = f"{self.url}/{name}"
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            system, path = url_to_fs(url)
            try:
                result = work(system, path)
            except FileNotFoundError as error:
                raise StoreError(f"{url} does not exist; is it the address of a store's folder?") from error
            except _transient_errors() as error:
                if attempt == _ATTEMPTS:
                    raise StoreError(f"{url} cannot be read after {attempt} attempts ({error!r})") from error
                time.sleep(pause)
                pause *= 2
            else:
                break
        return result

    def _make_room(self, newest: Path) -> None:
        if self._max_bytes is None:
            return
        found = []
        for path in (self.folder / "shards").glob("[!.]*.tar"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process has made room
                continue
            found.append((state.st_mtime_ns, state.st_size, path))
        excess = sum(size for _, size, _ in found) - self._max_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                excess -= size


def _import_fsspec() -> ModuleType:
    try:
        return importlib.import_module("fsspec.core")
    except ImportError as error:
        raise StoreError("a store at a URL needs fsspec: pip install 'sparsedense[remote]'") from error


def _transient_errors() -> tuple[type[Exception], ...]:
    """What a network does now and then; aiohttp's errors are no `OSError`s."""
    try:
        return (OSError, TimeoutError, importlib.import_module("aiohttp").ClientError)
    except ImportError:
        return (OSError, TimeoutError)


def _version(info: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None}


def _copy(system: FileSystem, path: str, target: Path) -> None:
    size = system.info(path).get("size")
    system.get_file(path, str(target))
    if size is not None and target.stat().st_size != size:
        raise OSError(f"{target.stat().st_size} bytes came of {size}")
