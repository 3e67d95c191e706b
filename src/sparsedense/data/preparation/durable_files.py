"""Files that are either complete or not there, also after a power failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's names (new files, renamed ones) are on the disk.

    Raises:
        OSError: they cannot be written.
    """
    if sys.platform == "win32":  # a folder cannot be opened there
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_durably(partial: Path, path: Path) -> None:
    """Rename a finished file into its place, on the disk before and after.

    Raises:
        OSError: it cannot be written.
    """
    sync_file(partial)
    partial.replace(path)
    sync_folder(path.parent)


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """A file to write in place of another, which it replaces when the block has ended well.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
