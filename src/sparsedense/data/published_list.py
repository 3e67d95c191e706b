"""Published lists of labelled videos, such as the low-label subsets that papers compare on, and their rows in a store.

A line names a video by its path without the folder of the data set, then optionally tells frames and class:

    Rowing/v_Rowing_g17_c03 273 75      name, frames, class (the layout of MMAction2's lists of frames)
    Rowing/v_Rowing_g17_c03.avi 75      name, class
    Rowing/v_Rowing_g17_c03             name
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS
from sparsedense.data.splits import shown

if TYPE_CHECKING:
    from sparsedense.data.store import FrameStore  # brings torch, which takes seconds
MOST_MISLABELLED = 0.05  # share of a list's videos; with more, it is the list of something else


@dataclass(frozen=True, slots=True)
class ListedClip:
    """A line of a published list: its number, the video's name, and frames and class where the line tells them."""

    line: int
    name: str
    num_frames: int | None = None
    class_id: int | None = None

    @property
    def stem(self) -> str:
        """The file's name without folders and extension."""
        return _stem(self.name)


@dataclass(frozen=True, slots=True)
class PublishedSubset:
    """The videos of a published list in a store.

    Attributes:
        video_ids: rows of the store, in the order of the list (N,).
        missing: names in the list that the store does not have.
        rejected: names of videos that `prepare` rejected.
        too_short: names of videos with fewer frames than asked for.
        mislabelled: names of videos to which the list gives another class than to the others of their label; the
            store's label holds for them. The VideoSSL lists of HMDB51 swap climb with climb_stairs, kick with kick_ball
            and sword with sword_exercise in 2.5 % of their lines.
    """

    video_ids: NDArray[np.int64]
    missing: tuple[str, ...]
    rejected: tuple[str, ...]
    too_short: tuple[str, ...]
    mislabelled: tuple[str, ...] = ()


def read_published_list(path: str | Path) -> tuple[ListedClip, ...]:
    """Read a list; all lines must be of one form.

    Raises:
        ValueError: the list is empty, names a video twice, or its lines are of several forms.
        OSError: the file cannot be read.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); expected a list of videos") from error
    clips = [_clip(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not clips:
        raise ValueError(f"{path} is empty; expected a video a line")
    first_line: dict[str, int] = {}
    for clip in clips:
        if (clip.num_frames is None, clip.class_id is None) != (clips[0].num_frames is None, clips[0].class_id is None):
            raise ValueError(
                f"{path}, line {clip.line}: not of the form of line {clips[0].line}; "
                "expected 'name', 'name class' or 'name frames class' in all lines"
            )
        if clip.name in first_line:
            raise ValueError(f"{path}, line {clip.line}: {clip.name} is also in line {first_line[clip.name]}")
        first_line[clip.name] = clip.line
    return tuple(clips)


def published_subset(
    store: FrameStore, path: str | Path, *, min_frames: int = 0, allow_missing: bool = False
) -> PublishedSubset:
    """Find the videos of a published list among the labelled training videos of a store, by their file names.

    Args:
        store: the frame store.
        path: the list.
        min_frames: leave out videos with fewer frames; they are named in the result.
        allow_missing: leave out videos that the store does not have, as is normal for Kinetics; they are named too.

    Raises:
        ValueError: the list cannot be used with this store: a video is missing, ambiguous, in another split or without
            label, the list's classes are not the store's, or nothing is left.
        OSError: the list cannot be read.
    """
    clips = read_published_list(path)
    rows = _rows_by_stem(store)
    missing = [clip.name for clip in clips if clip.stem not in rows]
    if missing and (not allow_missing or len(missing) == len(clips)):
        raise ValueError(
            f"{path}: {len(missing)} of {len(clips)} videos are not in {store.path}: {shown(missing, 3)}; the store "
            f"has such as {shown(store.paths[:2])}. Is the list of another data set or release, or were they missing "
            "when the store was made?"
        )
    found = [(clip, _row_of(store, path, clip, rows[clip.stem])) for clip in clips if clip.stem in rows]
    _check_roles(store, path, found)
    mislabelled = _mislabelled(store, path, found)
    readable = set(store.videos().tolist())
    rejected = [clip.name for clip, row in found if row not in readable]
    short = [clip.name for clip, row in found if row in readable and store.num_frames[row] < min_frames]
    left_out = {*rejected, *short}
    ids = [row for clip, row in found if clip.name not in left_out]
    if not ids:
        raise ValueError(
            f"{path}: no video is left of {len(clips)}: {len(missing)} missing, {len(rejected)} rejected by prepare, "
            f"{len(short)} with fewer than {min_frames} frames"
        )
    return PublishedSubset(
        np.array(ids, dtype=np.int64), tuple(missing), tuple(rejected), tuple(short), tuple(mislabelled)
    )


def _clip(number: int, line: str) -> ListedClip:
    words = line.rsplit(" ", 2)
    if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
        return ListedClip(number, words[0], int(words[1]), int(words[2]))
    words = line.rsplit(" ", 1)
    if len(words) == 2 and words[1].isdigit():
        return ListedClip(number, words[0], class_id=int(words[1]))
    return ListedClip(number, line)


def _stem(name: str) -> str:
    """Name without folders, and without the extension of a video: others are a part of the name."""
    file = name.rpartition("/")[2]
    stem, dot, extension = file.rpartition(".")
    return stem if stem and f"{dot}{extension}".lower() in VIDEO_EXTENSIONS else file


def _rows_by_stem(store: FrameStore) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(store.paths):
        rows.setdefault(_stem(path), []).append(row)
    return rows


def _row_of(store: FrameStore, path: str | Path, clip: ListedClip, rows: Sequence[int]) -> int:
    """The one row of a clip; where several files have its name, the one in the folder that the list names."""
    if len(rows) > 1:
        folder = PurePosixPath(clip.name).parent.name
        rows = [row for row in rows if PurePosixPath(store.paths[row]).parent.name == folder] or rows
    if len(rows) > 1:
        raise ValueError(
            f"{path}, line {clip.line}: {clip.name} could be any of {shown([store.paths[row] for row in rows], 3)} in "
            f"{store.path}; name the folder in the list too"
        )
    return rows[0]


def _check_roles(store: FrameStore, path: str | Path, found: Sequence[tuple[ListedClip, int]]) -> None:
    held_out = [clip.name for clip, row in found if store.splits[row] in ("val", "test")]
    if held_out:
        raise ValueError(
            f"{path}: {len(held_out)} of {len(found)} videos are val or test videos of {store.path}: "
            f"{shown(held_out, 3)}; use the list of the split that the store was made with"
        )
    unknown = [clip.name for clip, row in found if store.label_ids[row] < 0]
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} of {len(found)} videos have no label in {store.path}: {shown(unknown, 3)}; "
            "prepare them as labelled training videos"
        )


def _mislabelled(store: FrameStore, path: str | Path, found: Sequence[tuple[ListedClip, int]]) -> list[str]:
    """Names of the clips whose class in the list is not the one that the list has for most videos of their label.

    A list counts its classes in an order of its own, so only the pairs of number and label can be compared.
    """
    pairs = {clip.name: (clip.class_id, int(store.label_ids[row])) for clip, row in found if clip.class_id is not None}
    counts = Counter(pairs.values()).most_common()
    label_of = {class_id: label for (class_id, label), _ in reversed(counts)}
    id_of = {label: class_id for (class_id, label), _ in reversed(counts)}
    odd = [name for name, (class_id, label) in pairs.items() if label_of[class_id] != label or id_of[label] != class_id]
    if len(odd) > MOST_MISLABELLED * len(found):
        name = odd[0]
        raise ValueError(
            f"{path}: the labels of the list are not those of {store.path}: {len(odd)} of {len(found)} videos differ, "
            f"such as {name!r}, which has class {pairs[name][0]} and is {store.class_names[pairs[name][1]]!r} in the "
            "store; use the list of this data set"
        )
    return odd
