"""Where a store is made: a folder beside its place, in one process at a time, moved there when it is complete.

OUT                 the store
.OUT.partial/       the store to come, with `work/` (plan, journal, parts) until it is complete
.OUT.replaced/      the store that was there before, for the moment of the exchange
.OUT.lock           held by the process that works on it
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparsedense.data.errors import StoreError
from sparsedense.data.locations import Location
from sparsedense.data.manifest import shard_path
from sparsedense.data.preparation.durable_files import sync_folder
from sparsedense.data.preparation.source_files import SourceFile, write_source_files
from sparsedense.file_lock import file_lock


class StoreTarget:
    """The place of a store and the folders beside it.

    Args:
        out: the store's folder.

    Attributes:
        out: the store's folder.
        partial: the store to come.
        work: what is needed only while it is made.
        plan: what is to be done; where it exists, a run was interrupted.

    Raises:
        StoreError: it is a URL that was made a path.
    """

    def __init__(self, out: Path) -> None:
        scheme, _, rest = str(out).partition("/")
        if len(scheme) > 2 and scheme.endswith(":"):  # a URL that was read as a path: "s3:/bucket/store"
            raise StoreError(f"{scheme}//{rest} is a URL and was given as a path; give it as a string")
        self.out = out
        self.partial = out.parent / f".{out.name}.partial"
        self.work = self.partial / "work"
        self.plan = self.work / "plan.parquet"
        self._replaced = out.parent / f".{out.name}.replaced"
        self._lock = out.parent / f".{out.name}.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes away while the block runs, and settle what a killed one left at the last moment.

        Raises:
            FileExistsError: another process works on this store.
            StoreError: the folder exists and is no store, or cannot be written.
        """
        busy = f"another process makes the store {self.name}; wait for it, or choose another folder"
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(self._lock, busy=busy):
                self._settle()
                self._check()
                yield
        except OSError as error:
            if str(error) == busy:
                raise
            raise StoreError(
                f"cannot write the store {self.name}: {error}; mend this (space, permissions) and run the same command "
                "again: what is finished is kept"
            ) from error

    @property
    def name(self) -> Location:
        """The place as a user gives it."""
        return self.out

    @property
    def exists(self) -> bool:
        """Whether there is a store."""
        return (self.out / "store.json").is_file()

    def start(self) -> None:
        """Make an empty partial folder."""
        self.discard()
        self.work.mkdir(parents=True)

    def discard(self) -> None:
        """Throw the partial folder away."""
        if self.partial.exists():
            shutil.rmtree(self.partial)

    def publish(self) -> None:
        """Move the partial folder, complete with its `store.json`, to its place."""
        if self.work.exists():
            shutil.rmtree(self.work)
        sync_folder(self.partial)
        if self.out.exists():
            if self._replaced.exists():
                shutil.rmtree(self._replaced)
            self.out.replace(self._replaced)
        self.partial.replace(self.out)
        sync_folder(self.out.parent)
        if self._replaced.exists():
            shutil.rmtree(self._replaced)

    def fetch_shard(self, number: int) -> None:
        """Have a shard of the store in `out`; of a store in a folder all are there."""

    def has_shard(self, number: int) -> bool:
        """Whether a shard of the store is in `out`."""
        return shard_path(self.out, number).exists()

    def ship(self, number: int) -> None:
        """Take a finished shard of the store to come to where it will be; in a folder it is there."""

    def replace_sources(self, files: Sequence[SourceFile]) -> None:
        """Write what is known of the source files of the store that is there."""
        write_source_files(self.out, files)

    def _settle(self) -> None:
        if (self.partial / "store.json").is_file():
            self.publish()
        elif self._replaced.exists():
            shutil.rmtree(self._replaced)

    def _check(self) -> None:
        if not self.out.exists() or self.exists:
            return
        if not self.out.is_dir() or any(self.out.iterdir()):
            raise StoreError(f"{self.out} exists and is not a frame store; choose another folder, nothing was changed")
