"""What a source of videos lists, before groups and splits are settled."""

from __future__ import annotations

from dataclasses import dataclass

from sparsedense.data.locations import Location

SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
    "": "",
}


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video as a source lists it; group and split are empty where the source does not say."""

    path: Location
    label: str | None
    group: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The videos of a source, and what a person should know of how it was read."""

    videos: list[ListedVideo]
    notes: list[str]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 video", "3 videos"; a plural that is not made with an s is given."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"
