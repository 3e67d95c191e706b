"""The videos of a public data set on this disk, found by their names: how they are put into folders does not matter."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS
from sparsedense.data.errors import CatalogError
from sparsedense.data.locations import relative_name
from sparsedense.data.splits import shown


class VideoIndex:
    """All videos below a folder, by a key made of their names without extension.

    Args:
        root: the folder; links to folders are followed, each folder once; hidden ones are left out.
        key: what makes the key of a name, `str.lower` for example; None takes the name.
        frame_folders: names of folders that hold the frames of one video each, as pictures.

    Raises:
        CatalogError: the folder is missing or cannot be listed.
    """

    def __init__(
        self, root: Path, *, key: Callable[[str], str] | None = None, frame_folders: Collection[str] = ()
    ) -> None:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise CatalogError(f"{root} {what}; expected the folder that holds the data set's videos")
        self.root = root
        self._paths: dict[str, list[Path]] = defaultdict(list)
        self._used: set[str] = set()
        for path, name in _videos(root, frozenset(frame_folders)):
            self._paths[key(name) if key else name].append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, key: str) -> bool:
        return key in self._paths

    def find(self, key: str, *, prefer: str = "") -> Path | None:
        """The video of a key, or None where there is none.

        Args:
            key: as the index makes them.
            prefer: name of a folder; of several videos of a key, the one below it is taken.

        Raises:
            CatalogError: several videos have the key.
        """
        paths = self._paths.get(key, [])
        if not paths:
            return None
        self._used.add(key)
        preferred = [path for path in paths if prefer and prefer in path.parts]
        if len(preferred) == 1 or len(paths) == 1:
            return (preferred or paths)[0]
        names = [relative_name(path, self.root) for path in paths]
        raise CatalogError(
            f"{self.root} has {key!r} {len(paths)} times: {shown(names, 3)}; give a folder that holds each video once"
        )

    def unused(self) -> list[str]:
        """Names, relative to the root, of the videos that were never asked for."""
        return sorted(
            relative_name(path, self.root)
            for key, paths in self._paths.items()
            if key not in self._used
            for path in paths
        )


def _videos(root: Path, frame_folders: frozenset[str]) -> list[tuple[Path, str]]:
    """Path and name without extension of each video, in order of their paths."""
    found: list[tuple[Path, str]] = []
    seen: set[tuple[int, int]] = set()
    try:
        for parent, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
            status = Path(parent).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()  # a loop of links
                continue
            seen.add((status.st_dev, status.st_ino))
            found += [(Path(parent, name), name) for name in folders if name in frame_folders]
            folders[:] = [name for name in folders if not name.startswith(".") and name not in frame_folders]
            for name in files:
                stem, extension = os.path.splitext(name)  # noqa: PTH122 - half a million names
                if extension.lower() in VIDEO_EXTENSIONS and not name.startswith("."):
                    found.append((Path(parent, name), stem))
    except OSError as error:
        _refuse(error)
    return sorted(found, key=lambda item: str(item[0]))


def _refuse(error: OSError) -> None:
    raise CatalogError(f"{error.filename} cannot be listed: {error.strerror}; check its permissions") from error
