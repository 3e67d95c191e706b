"""Files put to URLs and removed there, through fsspec; again where the network fails."""

from __future__ import annotations

from pathlib import Path

from sparsedense.data.remote_files import FileSystem, is_in_object_store, look_at_url, with_retries


def upload(path: Path, url: str) -> str:
    """Put a file to a URL; on an object store it is there whole or not at all.

    Returns:
        what changes when the file at the URL does, or nothing.

    Raises:
        RemoteFileError: it cannot be written.
        OSError: the file of this machine cannot be read.
    """

    def put(system: FileSystem, place: str) -> None:
        if not is_in_object_store(url):  # there it would make the bucket
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), place)

    with_retries(url, put, doing="written")
    num_bytes, version = look_at_url(url)
    if num_bytes not in (-1, path.stat().st_size):
        raise OSError(f"{num_bytes} bytes of {path.stat().st_size} have arrived at {url}")
    return version


def remove(url: str) -> None:
    """Remove a file, if it is there.

    Raises:
        RemoteFileError: it cannot be removed.
    """

    def delete(system: FileSystem, place: str) -> None:
        system.invalidate_cache(place)
        if system.exists(place):
            system.rm_file(place)

    with_retries(url, delete, doing="removed")
