"""GMDCSA24 (Alam, 2024): falls and daily activities of four people, with the start and end of each.

The tables are written by hand. What can be read of a line is read, what not is told:

    Sitting[0 to 3.4]; Falling (SW)[3.4 to 6]            two segments
    Standing[2.4 to 3.6; 6.6 to 7.9; Walking[3.6 to 5]   a bracket that is never closed
    Reading; Sitting:[0.8 to 8.1]                        an action without a time, left out; a stray colon
    Sitting[9.7 to 3]                                    it ends before it begins, left out
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_lists
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.segments import (
    AnnotatedVideo,
    AnnotatedVideos,
    SegmentAnnotation,
    missing_note,
    ordered_segments,
)

DESCRIPTION = DatasetDescription(
    title="GMDCSA24, falls and daily activities",
    videos="160 videos of 4 people with segments",
    classes=9,
    size="under 1 GB",
    page="https://doi.org/10.5281/zenodo.12921216",
    download=("the archive of the Zenodo record, unpacked",),
    layout="SOURCE/Subject 1/ADL.csv, SOURCE/Subject 1/ADL/01.mp4 ..., SOURCE/Subject 1/Fall.csv, ...",
    about=(
        "there is no official split: leave one person out",
        "actions overlap: who reads sits, too; falls in four directions are one class here",
        "segments were timed by hand, many to whole seconds",
    ),
    kind="segments",
)
_SUBJECT = re.compile(r"Subject (\d+)")
_KINDS = ("ADL", "Fall")
# A label, perhaps a colon, a bracket, and whatever is made of numbers, `to` and separators: so an open bracket ends
# where the next label begins.
_ACTION = re.compile(r"([A-Za-z][A-Za-z ]*?)\s*(?:\(\w*\)?)?\s*:?\s*\[((?:[\d.;:,\s-]|\bto\b)*)\]?", re.IGNORECASE)
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*to\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_NAMES = {"fall": "falling"}  # one action under two names
_LONGEST_SHOWN = 60


def read(source: Path, lists: Path) -> AnnotatedVideos:
    """All listed videos, in the split "train"; their ids are `subject1_adl_01`, and so on.

    Raises:
        CatalogError: there are no tables.
    """
    tables = [
        (int(match[1]), path.stem, path)
        for path in find_lists(lists, *(f"{kind}.csv" for kind in _KINDS))
        if (match := _SUBJECT.fullmatch(path.parent.name))
    ]
    if not tables:
        raise CatalogError(f"{lists} has no tables such as 'Subject 1/ADL.csv'; give the folder that was unpacked")
    odd: Counter[str] = Counter()
    notes: list[str] = []
    videos: list[AnnotatedVideo] = []
    for subject, kind, path in tables:
        for file_name, classes in _lines(path):
            segments, unread = read_classes(classes)
            where = f"{path.parent.name}/{path.name}, {file_name}"
            notes += [f"{where}: not read: {text[:_LONGEST_SHOWN]!r}" for text in unread]
            video = source / path.parent.relative_to(lists) / kind / file_name
            videos.append(
                AnnotatedVideo(
                    video_id=f"subject{subject}_{kind.lower()}_{Path(file_name).stem}",
                    split="train",
                    segments=ordered_segments(segments, None, odd),
                    path=video if video.is_file() else None,
                )
            )
    notes += [f"{counted(odd[what], 'segment')} {what}" for what in sorted(odd)]
    return AnnotatedVideos(tuple(videos), (*notes, *missing_note(AnnotatedVideos(tuple(videos)))))


def read_classes(text: str) -> tuple[list[SegmentAnnotation], list[str]]:
    """What a table says of one video: its segments, and the parts that say nothing that can be understood.

    Args:
        text: such as `Sitting[0 to 3.4]; Falling (SW)[3.4 to 6]`.
    """
    segments: list[SegmentAnnotation] = []
    unread: list[str] = []
    end = 0
    for action in _ACTION.finditer(text):
        unread.append(text[end : action.start()])
        end = action.end()
        label = action[1].strip().lower()
        segments += [
            SegmentAnnotation(float(start), float(stop), _NAMES.get(label, label))
            for start, stop in _INTERVAL.findall(action[2])
        ]
        if strange := _INTERVAL.sub("", action[2]).strip(" ;,:"):
            unread.append(f"{action[1]}[{strange}")
        elif not _INTERVAL.search(action[2]):
            unread.append(action[0])
    unread.append(text[end:])
    return segments, [part for each in unread if (part := each.strip(" ;,:[]\t"))]


def _lines(path: Path) -> list[tuple[str, str]]:
    """File name and what happens of each line; commas in a description do not matter, the classes come last."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    lines = []
    for row in rows[1:]:
        # A comma inside of the classes would cut them: they begin with the first cell that has a bracket.
        first = next((place for place, cell in enumerate(row) if "[" in cell), len(row) - 1)
        lines.append((row[0].strip(), ",".join(row[first:]).strip()))
    return lines
