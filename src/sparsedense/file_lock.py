"""One process at a time; the operating system lets go when the process ends, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl


@contextmanager
def file_lock(path: Path, *, busy: str) -> Iterator[None]:
    """Hold a lock file while the block runs; it is made in an existing folder, and removed at the end.

    Args:
        path: the lock file.
        busy: what to say where another process holds it.

    Raises:
        FileExistsError: another process holds it.
    """
    if sys.platform == "win32":  # two at once are not noticed there
        yield
        return
    file = path.open("w")
    while not _lock(file, path, busy):
        file.close()
        file = path.open("w")
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed


def _lock(file: IO[str], path: Path, busy: str) -> bool:
    """Lock an opened file; False where its last holder has removed it between the opening and the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
    except BlockingIOError:
        file.close()
        raise FileExistsError(busy) from None
