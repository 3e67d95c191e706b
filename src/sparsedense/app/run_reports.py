"""The reports of runs below a folder; nothing else of it is given out."""

import json
import os
from pathlib import Path
from typing import Any

from sparsedense.app.limits import RefusedError

_PAGE = "report.html"
_DEEPEST = 5
_MOST_FOLDERS = 5000
_MARKS = (_PAGE, "metrics.jsonl", "results.json")


class RunReports:
    """Runs below a folder.

    Args:
        folder: where runs lie, at most five folders deep.

    Raises:
        ValueError: it is no folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the one that your runs lie in (--runs)")
        self._folder = folder.resolve()

    def listed(self) -> list[dict[str, Any]]:
        """The runs, the newest first: path below the folder, whether there is a report, when, and what was measured."""
        runs = []
        for path in self._folders():
            if not any((path / mark).is_file() for mark in _MARKS):
                continue
            page = path / _PAGE
            newest = page if page.is_file() else path
            runs.append(
                {
                    "path": path.relative_to(self._folder).as_posix(),
                    "name": self._folder.name if path == self._folder else path.relative_to(self._folder).as_posix(),
                    "has_report": page.is_file() and not page.is_symlink(),
                    "modified_seconds": newest.stat().st_mtime,
                    "figures": _figures(path),
                }
            )
        return sorted(runs, key=lambda run: -float(run["modified_seconds"]))

    def page(self, path: str) -> Path:
        """The file of a report.

        Args:
            path: as `listed` gives it, with `/report.html` behind it.

        Raises:
            RefusedError: it is no report below the folder.
        """
        parts = path.split("/")
        plain = all(part not in ("", ".", "..") and not set(part) & {"\\", "\0", ":"} for part in parts)
        found = self._folder.joinpath(*parts) if plain and parts[-1] == _PAGE else None
        # A link might lead out of the folder, so none is followed.
        if found is None or found.resolve() != found or not found.is_file():
            raise RefusedError(404, "There is no such report. `sparsedense report RUN` writes one.")
        return found

    def _folders(self) -> list[Path]:
        found: list[Path] = []
        for place, folders, _ in os.walk(self._folder, followlinks=False):
            path = Path(place)
            depth = len(path.relative_to(self._folder).parts)
            folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _DEEPEST else []
            found.append(path)
            if len(found) == _MOST_FOLDERS:
                break
        return found


def _figures(folder: Path) -> list[dict[str, Any]]:
    """A few measured numbers of a run, where there is an evaluation."""
    path = folder / "evaluation.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not path.is_symlink() else {}
    except (OSError, ValueError):
        return []  # the report itself tells what is wrong with it
    if not isinstance(content, dict):
        return []
    shown = (("accuracy", "accuracy"), ("accuracy_top5", "top 5"), ("f1", "macro F1"))
    return [{"name": name, "value": content[key]} for key, name in shown if isinstance(content.get(key), int | float)]
