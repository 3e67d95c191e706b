"""What people give to a model: files, folders, globs, URLs, arrays and standard input, as a list of videos.

What cannot be read stays in the list with the reason, so that one bad file does not stop the others.
"""

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS, visible_files
from sparsedense.data.errors import CatalogError
from sparsedense.video.url import is_url

STANDARD_INPUT = "-"
_READ_SCHEMES = ("http", "https")

VideoLike = str | Path | NDArray[np.uint8]
# A list of one kind is named too, because for type checkers a list of strings is no list of "strings or paths".
VideoList = list[str] | list[Path] | list[NDArray[np.uint8]] | list[VideoLike] | tuple[VideoLike, ...]


@dataclass(frozen=True, slots=True)
class VideoSource:
    """One video to read.

    Attributes:
        name: as the user knows it.
        media: file, URL or frames (T, H, W, 3); None where there is nothing to read.
        problem: why there is nothing to read.
    """

    name: str
    media: Path | str | NDArray[np.uint8] | None
    problem: str | None = None


@contextmanager
def open_sources(videos: VideoLike | VideoList) -> Iterator[list[VideoSource]]:
    """The videos that a list stands for, in order, or the one that is given, while the block runs.

    A folder stands for the videos below it, a glob for what it matches, `-` for the video on standard input, which is
    kept in a temporary file until the block ends: a video is read twice, once for its length.

    Args:
        videos: files, folders, globs, http URLs, `-`, and arrays of frames (T, H, W, 3).

    Raises:
        TypeError, ValueError: something in the list is none of these, or the list is empty, or what is given in place
            of a list stands for several videos.
    """
    if not isinstance(videos, (list, tuple)):
        _check_one(videos)
        videos = [videos]
    if not videos:
        raise ValueError("no videos are given; give at least one file, folder, glob, URL or array")
    with tempfile.TemporaryDirectory(prefix="sparsedense-") as folder:
        sources: list[VideoSource] = []
        for position, video in enumerate(videos):
            if isinstance(video, (str, Path)):
                sources += _read_input(Path(folder)) if str(video) == STANDARD_INPUT else list(_named(video))
            else:
                sources.append(VideoSource(f"array {position}", _checked_frames(video, position)))
        yield sources


def _check_one(video: VideoLike) -> None:
    if isinstance(video, (str, Path)) and not is_url(video) and (Path(video).is_dir() or _is_glob(str(video))):
        kind = "folder" if Path(video).is_dir() else "glob"
        raise ValueError(f"{video} is a {kind}, which may hold many videos; give it in a list: [{str(video)!r}]")


def _named(video: str | Path) -> Iterable[VideoSource]:
    name = str(video)
    if is_url(video):
        return [_url(name)]
    if Path(video).is_dir():
        return _folder(Path(video))
    if _is_glob(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches:
            return [VideoSource(name, None, "no file matches")]
        return [source for match in matches for source in _match(Path(match))]
    return [VideoSource(name, Path(video))]


def _is_glob(name: str) -> bool:
    return glob.has_magic(name) and not Path(name).exists()


def _match(path: Path) -> Iterable[VideoSource]:
    return _folder(path) if path.is_dir() else [VideoSource(str(path), path)]


def _folder(folder: Path) -> Iterable[VideoSource]:
    try:
        found = [path for path in visible_files(folder) if path.suffix.lower() in VIDEO_EXTENSIONS]
    except CatalogError as error:
        return [VideoSource(str(folder), None, str(error))]
    if not found:
        kinds = ", ".join(sorted(VIDEO_EXTENSIONS))
        return [VideoSource(str(folder), None, f"the folder holds no videos (looked for {kinds})")]
    return [VideoSource(str(path), path) for path in found]


def _url(url: str) -> VideoSource:
    scheme = url.partition(":")[0].lower()
    if scheme in _READ_SCHEMES:
        return VideoSource(url, url)
    return VideoSource(url, None, f"{scheme} URLs are live streams or unknown here; http and https are read")


def _read_input(folder: Path) -> list[VideoSource]:
    spooled = folder / f"input{len(list(folder.iterdir()))}"
    if sys.stdin.isatty():
        return [VideoSource(STANDARD_INPUT, None, "standard input is a terminal; pipe a video into it")]
    with spooled.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    return [VideoSource(STANDARD_INPUT, spooled)]


def _checked_frames(video: Any, position: int) -> NDArray[np.uint8]:  # noqa: ANN401 - it is what the user gave
    """An array as frames (T, H, W, 3) of uint8."""
    if not hasattr(video, "__array__"):
        raise TypeError(
            f"video {position} is a {type(video).__name__}; expected a path, folder, glob, URL or array (T, H, W, 3), "
            "or a list of them"
        )
    frames: NDArray[Any] = np.asarray(video)
    if frames.dtype != np.uint8:
        raise ValueError(f"video {position} is an array of {frames.dtype}; expected uint8 in 0..255")
    if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(f"video {position} is an array of shape {frames.shape}; expected RGB frames (T, H, W, 3)")
    return frames
