"""Folders laid out as the owners of data sets do it, with empty files for videos: a catalog does not open them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from sparsedense.data.catalog import Catalog

# The published lists, where they lie beside the checkout; they are not part of the project.
PUBLISHED = Path(__file__).parents[4] / "shared" / "splits"


def published(*names: str) -> Path:
    """A folder of published lists; the test is skipped where there is none."""
    folder = PUBLISHED.joinpath(*names)
    if not folder.is_dir():
        pytest.skip(f"the published lists {'/'.join(names)} do not lie beside the checkout")
    return folder


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_lines(path: Path, lines: Iterable[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def table_of(catalog: Catalog) -> dict[str, tuple[str | None, str, str]]:
    return {catalog.name(entry): (entry.label, entry.group, entry.split) for entry in catalog}
