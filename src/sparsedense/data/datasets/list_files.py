"""Finding and reading the list files that come with a public data set."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sparsedense.data.errors import CatalogError
from sparsedense.data.splits import shown

_DEPTH = 4  # folders below the one that is given; a data set's lists lie near its top
_MOST_FOLDERS = 1000  # a folder with more of them holds the data, such as Jester's 148,092 folders of frames


def find_lists(folder: Path, *patterns: str) -> list[Path]:
    """Files below a folder whose name matches one of the patterns, in order of their paths.

    Raises:
        CatalogError: the folder is missing or cannot be read.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise CatalogError(f"{folder} {what}; expected the folder of the data set's lists")
    found = []
    top = len(folder.parts)
    for parent, folders, files in os.walk(folder, followlinks=True):
        too_deep = len(Path(parent).parts) - top >= _DEPTH
        folders[:] = [] if too_deep or len(folders) > _MOST_FOLDERS else sorted(folders)
        found += [Path(parent, name) for name in files if any(fnmatch(name, pattern) for pattern in patterns)]
    return sorted(found)


def find_list(folder: Path, *names: str, hint: str) -> Path:
    """The one file of a name below a folder; of several names, the first that there is; of equal copies, one.

    Args:
        folder: where to look.
        names: the file's name, and other names that it goes by.
        hint: where the list comes from, for the error.

    Raises:
        CatalogError: there is no such file, or there are several.
    """
    files = find_lists(folder, *names)
    for name in names:
        of_name = [path for path in files if fnmatch(path.name, name)]
        if len({path.read_bytes() for path in of_name}) > 1:
            raise CatalogError(
                f"{folder} has different files {name}: {', '.join(str(path) for path in of_name[:3])}; "
                "give the folder of the right one as the lists"
            )
        if of_name:
            return of_name[0]
    raise CatalogError(f"{folder} has no file {' or '.join(names)}, only {_contents(folder)}; {hint}")


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line that is not empty; line ends of any system.

    Raises:
        CatalogError: the file is not text or cannot be read.
    """
    lines = enumerate(_text(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The content of a JSON file.

    Raises:
        CatalogError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise CatalogError(f"{path} is not JSON ({error}); download it again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path} is not UTF-8 text ({error}); download it again") from error
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error


def _contents(folder: Path) -> str:
    names: Sequence[str] = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return shown(names, 6) if names else "nothing"
