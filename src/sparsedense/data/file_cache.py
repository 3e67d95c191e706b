"""Local copies of files that lie at a URL, shared by all processes of a machine.

A copy appears under its name when it is complete. Two processes that want the same file wait for one download. Where
the copies exceed a size, those that have not been asked for the longest go.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sparsedense.data.errors import StoreError
from sparsedense.data.remote_files import RemoteFileError, download, look_at_url
from sparsedense.file_lock import file_lock

DEFAULT_CACHE = Path.home() / ".cache" / "sparsedense"
_POLL_SECONDS = 0.05

Result = TypeVar("Result")


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
        num_bytes, version = self._tried(name, look_at_url)
        return {"size": str(num_bytes), "version": version}

    def size(self, name: str) -> int:
        """Bytes of a file; -1 where the server does not say.

        Raises:
            StoreError: as in `version`.
        """
        return self._tried(name, look_at_url)[0]

    def clear(self) -> None:
        """Remove all copies."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _download(self, name: str, local: Path) -> None:
        partial = local.with_name(f".{local.name}.{os.getpid()}.partial")
        try:
            self._tried(name, lambda url: download(url, partial))
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def _tried(self, name: str, work: Callable[[str], Result]) -> Result:
        """Do something with the file's URL."""
        try:
            return work(f"{self.url}/{name}")
        except RemoteFileError as error:
            hint = "; is it the address of a store's folder?" if error.missing else ""
            raise StoreError(f"{error}{hint}") from error

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
