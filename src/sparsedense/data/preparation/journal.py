"""What a run of `prepare` has finished, one line of JSON a video, so that a killed run goes on where it was.

A line is written after the frames that it tells of are on the disk. A line that was cut short counts as not written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsedense.data.manifest import ManifestRow
from sparsedense.data.preparation.source_files import SourceFile


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A finished video.

    Attributes:
        row: its row of the manifest.
        source: the file that it was made from.
        end: byte of its shard behind its frames; -1 for a rejected file.
    """

    row: ManifestRow
    source: SourceFile
    end: int


def append_entries(path: Path, entries: Iterable[JournalEntry]) -> None:
    """Add entries to a journal, and wait until they are on the disk.

    Raises:
        OSError: they cannot be written.
    """
    lines = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    with path.open("ab") as file:
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())


def recover_entries(path: Path) -> list[JournalEntry]:
    """The entries of a journal of a run that may have been killed; a line that was cut short is removed.

    Raises:
        OSError: the journal cannot be read or written.
    """
    if not path.exists():
        return []
    entries: list[JournalEntry] = []
    end = 0
    with path.open("rb+") as file:
        for line, values in _whole_lines(file):
            entries.append(JournalEntry(ManifestRow(**values["row"]), SourceFile(**values["source"]), values["end"]))
            end += len(line)
        file.truncate(end)
    return entries


def _whole_lines(lines: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines with what they say, up to the first that is not whole."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            yield line, json.loads(line)
        except ValueError:
            return
