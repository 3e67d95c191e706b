"""Checkpoint files: written completely or not at all, named by what they hold, and checked before they are used.

checkpoints/step-000001234-0a1b2c3d4e5f6071.ckpt      the whole state after a step
checkpoints/best-000000007-8899aabbccddeeff.ckpt      the model's weights after an epoch

The last part of the name is the beginning of the SHA-256 of the content, as in the files of `torch.hub`.
"""

import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import torch

from sparsedense.data.preparation.durable_files import sync_folder

STATE, BEST = "step", "best"
_DIGEST_LETTERS = 16
_NAME = re.compile(rf"(?P<kind>{STATE}|{BEST})-(?P<number>\d+)-(?P<digest>[0-9a-f]{{{_DIGEST_LETTERS}}})\.ckpt")


class CheckpointFile(NamedTuple):
    """A file by its number, which is a step or an epoch; later ones are larger."""

    number: int
    path: Path


def list_checkpoints(folder: Path, kind: str) -> list[CheckpointFile]:
    """The files of a kind, the newest first; whether they are whole is not looked at."""
    names = [(path, _NAME.fullmatch(path.name)) for path in folder.glob(f"{kind}-*.ckpt")]
    return sorted((CheckpointFile(int(name["number"]), path) for path, name in names if name), reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest state that is as it was written; warns of each newer one that is not.

    Raises:
        OSError: one cannot be read, which says nothing of what it holds.
    """
    for _, path in list_checkpoints(folder, STATE):
        if is_whole(path):
            return path
        warnings.warn(
            f"{path} is damaged: its content is not what its name says. The run goes on from the checkpoint before "
            f"it, and this one is removed",
            stacklevel=2,
        )
    return None


def is_whole(path: Path) -> bool:
    """Whether a file's content is what was written; false too where there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    name = _NAME.fullmatch(path.name)
    try:
        with path.open("rb") as file:
            return (
                name is not None and hashlib.file_digest(file, "sha256").hexdigest()[:_DIGEST_LETTERS] == name["digest"]
            )
    except FileNotFoundError:
        return False


def write_checkpoint(folder: Path, kind: str, number: int, content: dict[str, Any]) -> Path:
    """Write a checkpoint, on the disk when this returns; a failure leaves the folder as it was.

    Args:
        folder: made if missing.
        kind: `STATE` or `BEST`.
        number: the step or epoch.
        content: tensors, numbers and text in dictionaries, lists and tuples.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{kind}-{number:09d}.{os.getpid()}.partial"
    try:
        with draft.open("wb") as file:
            hashed = _HashedFile(file)
            torch.save(content, cast(IO[bytes], hashed))  # it needs no more of a file than this one has
            digest = hashed.finish()
        path = folder / f"{kind}-{number:09d}-{digest}.ckpt"
        draft.replace(path)
        sync_folder(folder)
    finally:
        draft.unlink(missing_ok=True)
    return path


def remove_checkpoints(folder: Path, kind: str, *, keep: Collection[Path]) -> None:
    """Delete the files of a kind but some."""
    for _, path in list_checkpoints(folder, kind):
        if path not in keep:
            path.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Delete what killed processes were about to write."""
    for draft in folder.glob(f".{STATE}-*.partial"):
        draft.unlink(missing_ok=True)
    for draft in folder.glob(f".{BEST}-*.partial"):
        draft.unlink(missing_ok=True)


def read_checkpoint(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU; nothing in it is executed.

    Args:
        path: the file.
        lazily: map its tensors instead of reading them.
    """
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    return content


def warn_of_disk(folder: Path, error: OSError) -> None:
    """Say that a checkpoint could not be written, and why."""
    try:
        free = f"{shutil.disk_usage(folder).free / 1e6:,.0f} MB are free on its disk"
    except OSError:
        free = "its disk cannot be asked for free space"
    warnings.warn(
        f"no checkpoint could be written to {folder}: {error.strerror or error} ({free}). The training goes on, and "
        f"the checkpoints before are as they were; make room there",
        stacklevel=2,
    )


class _HashedFile:
    """A file that hashes what is written to it, and tells of a full disk at its end.

    `torch.save` writes from C++, where an exception in the middle would end the program.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self._error: OSError | None = None

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes or a memory view
        size = memoryview(data).nbytes
        if self._error is None:
            try:
                self._file.write(data)
                self._hash.update(data)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing: `finish` does it, where an error can be told."""

    def finish(self) -> str:
        """Wait until all is on the disk; returns the digest.

        Raises:
            OSError: it could not be written.
        """
        if self._error is not None:
            raise self._error
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()[:_DIGEST_LETTERS]
