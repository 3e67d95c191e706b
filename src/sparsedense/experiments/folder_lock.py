"""One comparison at a time in a folder; the operating system lets go when the process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsedense.file_lock import file_lock


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs.

    Raises:
        FileExistsError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another `sparsedense compare` works in {folder}; wait for it, or choose another --out"
    with file_lock(folder / ".lock", busy=busy):
        yield
