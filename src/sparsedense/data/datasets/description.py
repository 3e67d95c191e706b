"""What a person has to know of a public data set: what to download, from where, how large, and how it must lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """A public data set as its owners distribute it.

    Attributes:
        title: its full name.
        videos: how many videos it has, in words.
        classes: number of classes.
        size: size of the download, such as "6.5 GB"; mirrors differ by a few per cent.
        page: the owners' public page.
        download: what to download there and how to unpack it, one step a line.
        layout: the folder as a tree, as it lies after unpacking.
        splits: how many official splits it has.
        about: what one should know before training on it.
        kind: "videos" of one action each, or "segments" of long videos.
    """

    title: str
    videos: str
    classes: int
    size: str
    page: str
    download: tuple[str, ...]
    layout: str
    splits: int = 1
    about: tuple[str, ...] = ()
    kind: str = "videos"
