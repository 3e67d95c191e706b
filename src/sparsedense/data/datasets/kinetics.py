"""Kinetics-400, -600 and -700 (Kay et al., 2017; Carreira et al., 2018, 2019): ten-second clips of web videos."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_lists
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted

REPLACEMENTS = "replacement_for_corrupted_k400"
_PAGE = "https://github.com/cvdfoundation/kinetics-dataset"
_COLUMNS = ("youtube_id", "time_start", "time_end", "split")
_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_ABOUT = (
    "videos vanish from the web, so every copy lacks some; the missing ones are counted and listed",
    "several names of a file are known: ID_000010_000020.mp4, and ID.mp4",
    "the group is the web video; the clips of one Kinetics may be in another split of another Kinetics",
)


def _description(number: int, videos: str, size: str, folder: str, about: tuple[str, ...] = ()) -> DatasetDescription:
    return DatasetDescription(
        title=f"Kinetics-{number}",
        videos=videos,
        classes=number,
        size=size,
        page=_PAGE,
        download=(
            f"the scripts of the page fetch and unpack the archives: {folder}_downloader.sh, {folder}_extractor.sh",
            "annotations/train.csv, val.csv and test.csv, from the links of the page",
        ),
        layout=(
            "SOURCE/train/ID_000010_000020.mp4 ...         (flat, as the archives have them)\n"
            "SOURCE/train/some class/ID_000010_000020.mp4  (in class folders; both are read, and any other folders)\n"
            "SOURCE/annotations/train.csv, val.csv, test.csv, with label,youtube_id,time_start,time_end,split"
        ),
        about=(*about, *_ABOUT),
    )


DESCRIPTIONS = {
    400: _description(
        400,
        "about 306,000 videos",
        "about 450 GB",
        "k400",
        (f"{REPLACEMENTS}.tgz comes before the files that it replaces",),
    ),
    600: _description(600, "about 500,000 videos", "about 780 GB", "k600"),
    700: _description(700, "about 650,000 videos", "about 700 GB", "k700_2020"),
}

_CLIP = re.compile(r"(?P<id>.{11})_\d{6}_\d{6}")


@dataclass(frozen=True, slots=True)
class KineticsClip:
    """A line of an annotation file; the label is None where the file does not tell it."""

    youtube_id: str
    start_seconds: int
    end_seconds: int
    label: str | None
    split: str

    @property
    def name(self) -> str:
        """Name of the clip's file without extension: the id, and start and end with six digits."""
        return f"{self.youtube_id}_{self.start_seconds:06d}_{self.end_seconds:06d}"


def reader(number: int) -> Callable[[Path, Path, int], Catalog]:
    """The function that reads Kinetics-400, -600 or -700."""

    def read(source: Path, lists: Path, split: int) -> Catalog:
        """The official train, val and test of a Kinetics.

        Raises:
            CatalogError: there are no annotations or no videos, or they are of another Kinetics.
        """
        description = DESCRIPTIONS[number]
        clips = read_annotations(lists)
        classes = {clip.label for clip in clips} - {None}
        if len(classes) > number:
            raise CatalogError(
                f"the annotations below {lists} have {len(classes)} classes, {description.title} has {number}; "
                "keep one Kinetics in the folder, or name the other data set"
            )
        notes = []
        if len(classes) < number:
            notes.append(f"the annotations have {len(classes)} of {number} classes")
        unknown = sum(clip.label is None for clip in clips)
        if unknown:
            notes.append(f"{counted(unknown, 'listed video')} without a label left out")
        index = VideoIndex(source)
        entries = [_entry(clip, index) for clip in clips if clip.label is not None]
        return official_catalog(description, index, entries, notes=notes, prefer=REPLACEMENTS)

    return read


def read_annotations(lists: Path) -> list[KineticsClip]:
    """The clips of all annotation files below a folder: those with the columns of Kinetics, whatever their name.

    Raises:
        CatalogError: there is no such file, or a line is not as expected.
    """
    clips = [clip for path in find_lists(lists, "*.csv", "*.txt") for clip in _clips(path)]
    if not clips:
        raise CatalogError(
            f"{lists} has no annotation file with the columns {', '.join(_COLUMNS)} (and label); download train.csv, "
            "val.csv and test.csv and name their folder as the lists, or, for class folders without annotations, "
            "leave out --dataset"
        )
    return clips


def youtube_id(name: str) -> str:
    """The web video's id in the name of a clip's file."""
    match = _CLIP.fullmatch(name)
    return match["id"] if match else name


def _entry(clip: KineticsClip, index: VideoIndex) -> OfficialEntry:
    key = clip.youtube_id if clip.name not in index and clip.youtube_id in index else clip.name
    return OfficialEntry(clip.name, key, clip.label, clip.youtube_id, clip.split)


def _clips(path: Path) -> Iterator[KineticsClip]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restval="")
            if not set(_COLUMNS) <= set(rows.fieldnames or ()):
                return  # some other list
            for row in rows:
                yield _clip(f"{path}, line {rows.line_num}", row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} cannot be read as UTF-8 text: {error}; download it again") from error


def _clip(where: str, row: dict[str, str]) -> KineticsClip:
    split = _SPLITS.get(row["split"].strip().lower())
    label = row.get("label", "").strip() or None
    if split is None and label is not None:
        raise CatalogError(f"{where}: split {row['split']!r}; expected train, val, validate or test")
    try:
        start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
    except ValueError:
        raise CatalogError(
            f"{where}: {row['time_start']!r} to {row['time_end']!r}; expected start and end in seconds"
        ) from None
    return KineticsClip(row["youtube_id"].strip(), start, end, label, split or "test")
