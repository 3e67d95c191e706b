"""A store made at a URL: on this machine first, then put there, what makes it a store last.

CACHE/made-HASH/store              what is small of the store at the URL, and shards that are not there yet
CACHE/made-HASH/store/upload.json  what is to be put to the URL; where it exists, this was not finished
CACHE/made-HASH/.store.partial/    as with a store in a folder

Object stores neither move folders nor lock. So shards come first, as soon as they are finished, and `store.json` last,
each file at once. Where a shard that is there changes, `store.json` goes first: who opens the store meanwhile is told
that there is none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sparsedense.data.errors import StoreError
from sparsedense.data.file_cache import DEFAULT_CACHE
from sparsedense.data.locations import Location
from sparsedense.data.manifest import shard_index_path, shard_path
from sparsedense.data.preparation.source_files import SourceFile
from sparsedense.data.preparation.store_target import StoreTarget
from sparsedense.data.remote_files import RemoteFileError, download, files_below, is_file, look_at_url
from sparsedense.data.remote_writing import remove, upload
from sparsedense.video.url import is_url

_INFO = "store.json"
_SMALL = ("manifest.parquet", "sources.parquet", "missing.txt", _INFO)
_SHARDS = "shards/shard-"
_UPLOAD = "upload.json"
_VERSION = ".version"


class RemoteTarget(StoreTarget):
    """The place of a store at a URL.

    Two machines must not make the same store at once: nothing there keeps them apart, but the second one to finish
    notices and stops.

    Args:
        url: the store's folder: `s3://bucket/store`, or any other that fsspec can write to.
        cache: folder for what is on this machine; `~/.cache/sparsedense` if not given.
    """

    def __init__(self, url: str, *, cache: str | Path | None = None) -> None:
        self.url = url.rstrip("/")
        folder = f"made-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"
        super().__init__((DEFAULT_CACHE if cache is None else Path(cache)).absolute() / folder / "store")

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    @contextmanager
    def held(self) -> Iterator[None]:
        """As with a folder; what a killed run did not put to the URL is put there first.

        Raises:
            FileExistsError: another process of this machine works on this store.
            StoreError: there is something else at the URL, it cannot be written, or another machine has changed it.
        """
        try:
            with super().held():
                if (self.out / _UPLOAD).exists():
                    self._put()
                self._refresh()
                yield
        except RemoteFileError as error:
            if not error.url.startswith(self.url):
                raise
            raise StoreError(
                f"cannot write the store {self.url}: {error}; mend this and run the same command again: what is "
                "finished is kept"
            ) from error

    def publish(self) -> None:
        """Put the store that is complete on this machine to the URL."""
        names = [path.relative_to(self.partial).as_posix() for path in self.partial.rglob("*") if path.is_file()]
        self._plan_upload(self.partial, sorted(name for name in names if _is_of_store(name)))
        super().publish()
        self._put()

    def ship(self, number: int) -> None:
        """Put a finished shard to the URL before the store is complete, so that this machine need not hold all.

        One that would replace a shard of the store that is there waits until the end.
        """
        if self.exists and number < _num_shards(self.out):
            return
        for name in (_shard_name(number), _index_name(number)):
            local = self.partial / name
            if local.exists():
                upload(local, self._at(name))
                local.unlink()

    def fetch_shard(self, number: int) -> None:
        """Copy a shard to this machine, to be changed."""
        for path in (shard_path(self.out, number), shard_index_path(self.out, number)):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                arriving = path.with_name(f".{path.name}.partial")  # a killed run leaves no half of a shard
                download(self._at(path.relative_to(self.out).as_posix()), arriving)
                arriving.replace(path)

    def replace_sources(self, files: Sequence[SourceFile]) -> None:
        """Write what is known of the source files, here and there."""
        super().replace_sources(files)
        upload(self.out / "sources.parquet", self._at("sources.parquet"))

    def _refresh(self) -> None:
        """Make what is on this machine the store that is at the URL, as far as it is small."""
        there = is_file(self._at(_INFO))
        if not there:
            self._check_free()
            self._forget()
        elif self._noted_version() != (version := self._version_there()):
            self._forget()
            self.out.mkdir(parents=True)
            for name in _SMALL:
                if name != "missing.txt" or is_file(self._at(name)):
                    download(self._at(name), self.out / name)
            self._note_version(version)

    def _check_free(self) -> None:
        """Refuse a folder that holds something else than what a run before may have left."""
        other = sorted(name for name in self._names_there() if not _is_of_store(name))
        if other:
            raise StoreError(
                f"{self.url} exists and is not a frame store ({other[0]}); choose another URL, nothing was changed"
            )

    def _names_there(self) -> list[str]:
        """Files at the URL, relative to it."""
        root = PurePosixPath(self.url.partition("://")[2])
        try:
            urls = files_below(self.url)
        except RemoteFileError as error:
            if error.missing:
                return []
            raise
        return [PurePosixPath(url.partition("://")[2]).relative_to(root).as_posix() for url in urls]

    def _check(self) -> None:
        """Nothing: the folder on this machine belongs to nobody else."""

    def _forget(self) -> None:
        if self.out.exists():
            shutil.rmtree(self.out)

    def _plan_upload(self, folder: Path, names: Sequence[str]) -> None:
        """Write down what is to be done at the URL, in the folder that is going to be the store on this machine."""
        num_shards = _num_shards(folder)
        before = _num_shards(self.out) if self.exists else 0
        shards = [name for name in names if name not in _SMALL]
        kept = {_shard_name(number) for number in range(before)}
        plan = {
            "shards": shards,
            "small": [name for name in _SMALL if name in names],
            "num_shards": num_shards,
            "replaces": self._noted_version(),
            "changes_shards": any(name in kept for name in shards),
        }
        (folder / _UPLOAD).write_text(json.dumps(plan), encoding="utf-8")

    def _put(self) -> None:
        """Carry out what is written down; again after a crash, without the shards that have arrived."""
        plan = json.loads((self.out / _UPLOAD).read_text(encoding="utf-8"))
        self._check_unchanged(plan["replaces"])
        if plan["changes_shards"]:
            remove(self._at(_INFO))
        for name in plan["shards"]:
            local = self.out / name
            if local.exists():
                upload(local, self._at(name))
                local.unlink()
        remove(self._at(_INFO))  # it and the manifest are of one state, or there is no store
        for name in plan["small"]:
            upload(self.out / name, self._at(name))
        self._note_version(self._version_there())
        self._remove_stale(plan["num_shards"], plan["small"])
        (self.out / _UPLOAD).unlink()

    def _check_unchanged(self, version: str | None) -> None:
        """Stop where another machine has put a store there since this run began."""
        if not is_file(self._at(_INFO)) or self._version_there() == version:
            return
        copy = self.out / f".there.{_INFO}"
        download(self._at(_INFO), copy)
        own = copy.read_bytes() == (self.out / _INFO).read_bytes()  # put there by a run that was killed behind it
        copy.unlink()
        if not own:
            raise StoreError(
                f"another machine has changed the store {self.url} since this run began; remove {self.out.parent}, and "
                "run again to bring the new store up to date"
            )

    def _remove_stale(self, num_shards: int, small: Sequence[str]) -> None:
        """Remove what belonged to a store before, or was left by a run that nobody went on with."""
        wanted = {name(number) for number in range(num_shards) for name in (_shard_name, _index_name)} | {*small}
        for name in self._names_there():
            if name not in wanted and _is_of_store(name):
                remove(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _version_there(self) -> str:
        num_bytes, version = look_at_url(self._at(_INFO))
        return f"{num_bytes} {version}"

    def _noted_version(self) -> str | None:
        """The version of `store.json` at the URL that this machine has; None where there was none."""
        path = self.out.parent / _VERSION
        return path.read_text(encoding="utf-8") if path.exists() and self.exists else None

    def _note_version(self, version: str) -> None:
        (self.out.parent / _VERSION).write_text(version, encoding="utf-8")


def target_at(out: Location, *, cache: str | Path | None = None) -> StoreTarget:
    """The place of a store in a folder or at a URL.

    Args:
        out: the folder, or a URL as a string.
        cache: as in `RemoteTarget`.

    Raises:
        StoreError: `out` is a URL that was made a path.
    """
    return RemoteTarget(out, cache=cache) if isinstance(out, str) and is_url(out) else StoreTarget(Path(out))


def _is_of_store(name: str) -> bool:
    return name in _SMALL or name.startswith(_SHARDS)


def _num_shards(store: Path) -> int:
    return int(json.loads((store / _INFO).read_text(encoding="utf-8"))["num_shards"])


def _shard_name(number: int) -> str:
    return shard_path(Path(), number).as_posix()


def _index_name(number: int) -> str:
    return shard_index_path(Path(), number).as_posix()
