"""Files at URLs, through fsspec: what the server says of them, copies, listings; again where the network fails."""

from __future__ import annotations

import errno
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.5  # doubled after each attempt
_BLOCK_BYTES = 1 << 20
# What tells that a file is another one now, the best first: of the content, of a version, of the time.
_CONTENT_KEYS = ("ETag", "etag", "Content-MD5", "md5Hash", "generation", "version_id")
_TIME_KEYS = ("Last-Modified", "LastModified", "last_modified", "mtime", "updated")
# Errors of the network that are no `OSError`; a library that was not loaded has raised none.
_NETWORK_ERRORS = {
    "aiohttp": "ClientError",
    "botocore.exceptions": "BotoCoreError",
    "gcsfs.retry": "HttpError",
    "google.auth.exceptions": "GoogleAuthError",
}
_FLAT_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})  # a listing has what is in folders, too
_LOCAL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})  # of this machine's disk

Result = TypeVar("Result")


class RemoteFileError(ValueError):
    """A file at a URL is missing or cannot be read.

    Args:
        url: the file.
        reason: a short phrase for people.
        missing: whether the server says that there is no such file.
    """

    def __init__(self, url: str, reason: str, *, missing: bool = False) -> None:
        super().__init__(url, reason)
        self.url, self.reason, self.missing = url, reason, missing

    def __str__(self) -> str:
        return f"{self.url} {self.reason}"


class FileSystem(Protocol):
    """What is used of an fsspec file system; `path` is a URL without what names the file system."""

    def info(self, path: str) -> dict[str, Any]:
        """Size and other properties of a file."""

    def get_file(self, path: str, target: str, **options: Any) -> None:  # noqa: ANN401 - of each file system its own
        """Copy a file to this machine."""

    def put_file(self, source: str, path: str) -> None:
        """Copy a file from this machine."""

    def makedirs(self, path: str, exist_ok: bool) -> None:
        """Make a folder, where the file system has such things."""

    def exists(self, path: str) -> bool:
        """Whether there is a file."""

    def rm_file(self, path: str) -> None:
        """Remove a file."""

    def find(self, path: str) -> list[str]:
        """All files below a folder."""

    def ls(self, path: str, detail: bool) -> list[Any]:
        """What lies in a folder."""

    def unstrip_protocol(self, path: str) -> str:
        """The URL of a path."""

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings."""

    def open(self, path: str, mode: str) -> Any:  # noqa: ANN401 - a binary file
        """Open a file for reading."""


def with_retries(url: str, work: Callable[[FileSystem, str], Result], *, doing: str = "read") -> Result:
    """Do something with a URL's file system and path, again where the network fails.

    Args:
        url: any that fsspec knows: `https://`, `s3://`, `gs://`, `file://`.
        work: what to do; it must be possible to do it again.
        doing: what it does with the file, as in "cannot be read".

    Raises:
        RemoteFileError: the file is missing, may not be read, or several attempts failed.
        OSError: the disk of this machine is full.
    """
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(1, _ATTEMPTS + 1):
        system, path = _file_system(url)
        try:
            return work(system, path)
        except FileNotFoundError as error:
            raise RemoteFileError(url, "does not exist", missing=True) from error
        except _transient_errors() as error:
            if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
                raise
            if _is_final(error):
                raise RemoteFileError(url, f"cannot be {doing} ({_told(error)})") from error
            if attempt == _ATTEMPTS:
                raise RemoteFileError(url, f"cannot be {doing} after {attempt} attempts ({_told(error)})") from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def look_at_url(url: str, *, listed: bool = False) -> tuple[int, str]:
    """Size in bytes of a file (-1 where the server does not say) and what changes when it does (or nothing).

    Args:
        url: the file.
        listed: what a listing of a moment ago has said will do.

    Raises:
        RemoteFileError: it is missing or cannot be read, or is a folder.
    """

    def look(system: FileSystem, path: str) -> Mapping[str, Any]:
        if not listed:
            system.invalidate_cache(path)
        return system.info(path)

    info = with_retries(url, look)
    if info.get("type") == "directory":
        raise RemoteFileError(url, "is a folder")
    size = info.get("size")
    return -1 if size is None else int(size), _version(info)


def download(url: str, target: Path, *, alive: Callable[[], None] = lambda: None) -> None:
    """Copy a file to this machine.

    Args:
        url: the file.
        target: where to put it; after an error it may be there in part.
        alive: called after each block.

    Raises:
        RemoteFileError: it is missing or cannot be read.
        OSError: the disk of this machine is full.
    """

    def copy(system: FileSystem, path: str) -> None:
        size = system.info(path).get("size")
        system.get_file(path, str(target), callback=_callback(alive))
        if size is not None and target.stat().st_size != size:
            raise OSError(f"{target.stat().st_size} bytes came of {size}")

    with_retries(url, copy)


def blocks_of(url: str) -> Iterator[bytes]:
    """The content of a file, block by block, without a copy on this machine; a network failure ends it.

    Raises:
        RemoteFileError: it is missing or cannot be read.
    """
    with with_retries(url, lambda system, path: system.open(path, "rb")) as file:
        try:
            while block := file.read(_BLOCK_BYTES):
                yield block
        except _transient_errors() as error:
            raise RemoteFileError(url, f"cannot be read ({_told(error)})") from error


def files_below(url: str) -> list[str]:
    """URLs of all files below a folder, in no order.

    Raises:
        RemoteFileError: it is missing or cannot be listed.
    """

    def find(system: FileSystem, path: str) -> list[str]:
        system.invalidate_cache()
        names = system.find(path) if is_in_object_store(url) else _walked(system, path)
        return [system.unstrip_protocol(name) for name in names]

    return [found for found in with_retries(url, find) if not found.endswith("/") and found != url]


def is_in_object_store(url: str) -> bool:
    """Whether it is in a bucket, where folders are but parts of names, and a file appears whole."""
    return url.partition("://")[0].lower() in _FLAT_SCHEMES


def _walked(system: FileSystem, path: str) -> list[str]:
    """Files below a folder; `find` would leave out folders that cannot be listed without saying so."""
    files: list[str] = []
    folders, seen = [path], {path.rstrip("/")}
    while folders:
        for info in system.ls(folders.pop(), detail=True):
            name = str(info["name"]).rstrip("/")
            if name in seen:
                continue
            seen.add(name)
            (folders if info["type"] == "directory" else files).append(str(info["name"]))
    return files


def is_file(url: str) -> bool:
    """Whether there is a file.

    Raises:
        RemoteFileError: the server does not answer, or refuses.
    """
    try:
        info = with_retries(url, lambda system, path: system.info(path))
    except RemoteFileError as error:
        if error.missing:
            return False
        raise
    return info.get("type") != "directory"


def is_there(url: str) -> bool:
    """Whether there is a file, or a folder that is not empty.

    Raises:
        RemoteFileError: the server does not answer.
    """

    def look(system: FileSystem, path: str) -> bool:
        system.invalidate_cache()
        return bool(system.ls(path, detail=False))

    try:
        return with_retries(url, look)
    except RemoteFileError as error:
        if error.missing:
            return False
        raise


def check_file_systems(urls: Iterable[str]) -> None:
    """See whether what reads these URLs is installed, and have it forget what it listed before.

    Raises:
        RemoteFileError: it is not, or nothing is known to read one of them.
    """
    first_of = {url.partition("://")[0]: url for url in reversed([*urls])}
    for url in first_of.values():
        system, _ = _file_system(url)
        system.invalidate_cache()


def _file_system(url: str) -> tuple[FileSystem, str]:
    try:
        system, path = _import_fsspec(url).url_to_fs(url)
    except (ImportError, ValueError) as error:  # s3fs is not installed; a scheme that nobody knows
        raise RemoteFileError(url, f"cannot be read: {error}") from error
    return system, path


def _import_fsspec(url: str) -> ModuleType:
    try:
        return importlib.import_module("fsspec.core")
    except ImportError as error:
        raise RemoteFileError(url, "is a URL, which needs fsspec: pip install 'sparsedense[remote]'") from error


def _callback(alive: Callable[[], None]) -> Any:  # noqa: ANN401 - fsspec may be missing
    """What fsspec tells of the progress of a copy."""
    base: type = importlib.import_module("fsspec.callbacks").Callback
    return type("Alive", (base,), {"call": lambda *_arguments, **_options: alive()})()


def _transient_errors() -> tuple[type[Exception], ...]:
    """What a network does now and then."""
    loaded = [(sys.modules.get(module), name) for module, name in _NETWORK_ERRORS.items()]
    return (OSError, TimeoutError, *(getattr(module, name) for module, name in loaded if module is not None))


def _is_final(error: Exception) -> bool:
    """Whether another attempt would meet the same: what is forbidden, and what a server finds wrong with a request."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    refused = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
    return refused or isinstance(error, PermissionError) or "Credentials" in type(error).__name__


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _version(info: Mapping[str, Any]) -> str:
    for key in (*_CONTENT_KEYS, *_TIME_KEYS):
        if info.get(key):
            return f"{key} {info[key]}"
    return ""
