"""What videos a source holds, with their labels, groups and splits.

A source is one of
    SOURCE.csv, .jsonl, .parquet       columns path, label, and optionally group, split
    SOURCE/videos.csv (or the others)  the same inside a folder
    SOURCE/{train,val,test}/CLASS/*    class folders in split folders
    SOURCE/CLASS/*                     class folders; the splits are drawn by group
and `SOURCE/unlabelled/` holds videos without label. Videos directly in SOURCE have no label either. SOURCE may be a URL
that fsspec knows (`s3://`, `gs://`, `https://`), and so may the paths in a list.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from sparsedense.data.catalog_folder import read_folder
from sparsedense.data.catalog_notes import empty_split_notes, group_notes, leak_notes, list_note, unlisted_note
from sparsedense.data.catalog_table import read_table
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import Listing
from sparsedense.data.locations import Location, extension, file_name, folder_of, parse_location, relative_name
from sparsedense.data.remote_files import RemoteFileError, check_file_systems, download, is_file
from sparsedense.data.splits import cut_groups, draw_splits, hold_out_groups, shown

LAYOUT_HELP = (
    "expected class folders (SOURCE/CLASS/video.mp4, optionally SOURCE/unlabelled/), split folders "
    "(SOURCE/train/CLASS/video.mp4, SOURCE/test/...), or a CSV, JSONL or Parquet file with the columns path and label; "
    "public data sets: `sparsedense datasets`"
)
TABLE_EXTENSIONS = (".csv", ".jsonl", ".parquet")
TABLE_NAMES = tuple(f"videos{kind}" for kind in TABLE_EXTENSIONS)
AnyLocation = TypeVar("AnyLocation", Path, str)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One video of a source.

    Attributes:
        path: the file or URL; it may turn out to be missing or broken when it is read.
        label: class name, or None where it is unknown.
        group: what must not be split (actor, scene, source video); without one, a name of the video's own.
        split: "train", "val", "test" or "unlabelled".
    """

    path: Location
    label: str | None
    group: str
    split: str


@dataclass(frozen=True)
class Catalog(Sequence[CatalogEntry]):
    """The videos of a source, in a fixed order.

    Attributes:
        root: folder or URL that relative names refer to.
        entries: one for each video.
        notes: what a person should know of how the source was read.
        missing: names of videos that the source's lists have and its folder lacks; they are no entries.
    """

    root: Location
    entries: tuple[CatalogEntry, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[CatalogEntry]:
        return iter(self.entries)

    def __getitem__(self, index: int) -> CatalogEntry:  # type: ignore[override]  # slices are of no use here
        return self.entries[index]

    def name(self, entry: CatalogEntry) -> str:
        """An entry's path relative to the root where it lies below it, in forward slashes."""
        return relative_name(entry.path, self.root)


def read_catalog(
    source: str | Path,
    *,
    group_pattern: str | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    val_groups: Collection[str] = (),
    test_groups: Collection[str] = (),
    seed: int = 0,
    kept_splits: Mapping[str, str] | None = None,
) -> Catalog:
    """List the videos of a folder, CSV, JSONL or Parquet file without opening them.

    Splits that the source gives are kept. Without them they are drawn by group (see `draw_splits`), or, with
    `val_groups` or `test_groups`, are exactly these groups and train is the rest.

    Args:
        source: folder or file, or the URL of one.
        group_pattern: regular expression; what its first parenthesis (or all of it) matches in a file's name, or else
            in its path relative to the source, is the file's group. Groups in a CSV come before it.
        val_fraction: share of the labelled videos wanted for validation, where splits are drawn.
        test_fraction: share of the labelled videos wanted for testing, where splits are drawn.
        val_groups: groups to validate on; replaces the source's splits.
        test_groups: groups to test on; replaces the source's splits.
        seed: seed of the draw.
        kept_splits: splits of groups that were drawn before and stay as they are, where splits are drawn.

    Raises:
        CatalogError: the source is missing, holds no videos, or contradicts itself.
    """
    source = parse_location(source)
    pattern = _compiled(group_pattern)
    root, found = _read_url(source) if isinstance(source, str) else _read_path(source)
    if not found.videos:
        read = "".join(f" ({note})" for note in found.notes)
        raise CatalogError(f"no videos in {source}{read}; {LAYOUT_HELP}")

    ungrouped = 0
    entries: list[CatalogEntry] = []
    for video in found.videos:
        group = video.group or _group_of(video.path, root, pattern)
        ungrouped += group is None
        name = relative_name(video.path, root)
        own = name.removesuffix(PurePosixPath(name).suffix)
        entries.append(CatalogEntry(video.path, video.label, group or own, video.split))
    notes = [*found.notes, *group_notes(ungrouped, len(entries), group_pattern)]
    draws = not (val_groups or test_groups or any(entry.label is not None and entry.split for entry in entries))
    entries = _with_splits(
        entries, source, val_fraction=val_fraction, test_fraction=test_fraction, val_groups=val_groups,
        test_groups=test_groups, seed=seed, kept_splits=kept_splits,
    )  # fmt: skip
    if draws:
        notes += empty_split_notes(entries, {"val": val_fraction, "test": test_fraction})
    return Catalog(root, tuple(entries), (*notes, *leak_notes(entries)))


def _read_path(source: Path) -> tuple[Location, Listing]:
    """The root and the videos of a folder or list on this machine."""
    if not source.exists():
        raise CatalogError(f"{source} does not exist; {LAYOUT_HELP}")
    table = source
    if source.is_dir():
        tables = [path for path in map(source.joinpath, TABLE_NAMES) if path.is_file()]
        if not tables:
            return source, read_folder(source)
        table = _only_table(source, [path.name for path in tables], tables)
    found = read_table(table)
    _check_readable(table, found)
    if table != source:
        found.notes.append(list_note(table.name, found) + unlisted_note(source, found))
    return table.parent, found


def _read_url(source: str) -> tuple[Location, Listing]:
    """The root and the videos of a folder or list at a URL."""
    table = source
    try:
        if extension(source) not in TABLE_EXTENSIONS:
            tables = [url for name in TABLE_NAMES if is_file(url := f"{source}/{name}")]
            if not tables:
                return source, read_folder(source)
            table = _only_table(source, [file_name(url) for url in tables], tables)
        found = _read_table_at(table)
    except RemoteFileError as error:
        raise CatalogError(f"{error}; {LAYOUT_HELP}") from error
    _check_readable(table, found)
    if table != source:
        found.notes.append(list_note(file_name(table), found))  # to list a folder at a URL is not cheap
    return folder_of(table), found


def _read_table_at(url: str) -> Listing:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, file_name(url))
        download(url, copy)
        try:
            return read_table(copy, folder=folder_of(url))
        except CatalogError as error:
            raise CatalogError(str(error).replace(str(copy), url)) from error


def _only_table(folder: Location, names: Sequence[str], tables: Sequence[AnyLocation]) -> AnyLocation:
    """The list of videos that a folder holds."""
    if len(tables) > 1:
        raise CatalogError(f"{folder} holds {' and '.join(names)}; keep one, or give the file as the source")
    return tables[0]


def _check_readable(table: Location, found: Listing) -> None:
    try:
        check_file_systems(video.path for video in found.videos if isinstance(video.path, str))
    except RemoteFileError as error:
        raise CatalogError(f"{table} lists a URL that cannot be read: {error}") from error


def _compiled(group_pattern: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(group_pattern) if group_pattern else None
    except re.error as error:
        raise CatalogError(f"group_pattern {group_pattern!r} is not a regular expression: {error}") from error


def _group_of(path: Location, root: Location, pattern: re.Pattern[str] | None) -> str | None:
    if pattern is None:
        return None
    match = pattern.search(file_name(path)) or pattern.search(relative_name(path, root))
    if match is None:
        return None
    return (match.group(1) if pattern.groups else match.group(0)) or None


def _with_splits(
    entries: list[CatalogEntry],
    source: Location,
    *,
    val_fraction: float,
    test_fraction: float,
    val_groups: Collection[str],
    test_groups: Collection[str],
    seed: int,
    kept_splits: Mapping[str, str] | None,
) -> list[CatalogEntry]:
    """Entries with every split filled in, and checked."""
    labelled = [entry for entry in entries if entry.label is not None]
    given = [entry for entry in labelled if entry.split]
    if val_groups or test_groups:
        drawn = hold_out_groups([entry.group for entry in labelled], val_groups=val_groups, test_groups=test_groups)
    elif not given:
        drawn = draw_splits(
            [entry.label or "" for entry in labelled],
            [entry.group for entry in labelled],
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
            kept=kept_splits,
        )
    elif len(given) < len(labelled):
        missing = next(entry for entry in labelled if not entry.split)
        raise CatalogError(
            f"{source} gives a split for {len(given)} of {len(labelled)} labelled videos, and none for {missing.path}; "
            "give one for all of them, or for none to have them drawn"
        )
    else:
        drawn = [entry.split for entry in labelled]
    splits = iter(drawn)
    entries = [replace(entry, split="unlabelled" if entry.label is None else next(splits)) for entry in entries]
    cut = cut_groups([entry.group for entry in entries], [entry.split for entry in entries])
    if cut:
        raise CatalogError(
            f"{source} puts groups into more than one of train, val and test: {shown(cut)}; "
            "move each group to one side, or leave out the group or the split column"
        )
    return entries
