"""Files with the same content: a waste within a split, a leak between training and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sparsedense.data.listing import counted
from sparsedense.data.manifest import ManifestRow
from sparsedense.data.preparation.source_files import SourceFile

_LEAK = "warning, a leak: the same content in val or test and in another split: "
_CONTRADICTION = "warning: the same content with several labels: "
_COPY = "the same content more than once: "
_MOST_NAMED = 3


def duplicate_notes(rows: Sequence[ManifestRow], files: Sequence[SourceFile]) -> list[str]:
    """Notes that name the stored videos whose files have the same content, worst first.

    Args:
        rows: the manifest.
        files: what is known of the source file of each row.
    """
    copies_of: dict[str, list[ManifestRow]] = defaultdict(list)
    for row, file in zip(rows, files, strict=True):
        if row.status == "ok" and file.sha256:
            copies_of[file.sha256].append(row)
    sets = [copies for copies in copies_of.values() if len(copies) > 1]
    kinds: dict[str, list[list[ManifestRow]]] = {_LEAK: [], _CONTRADICTION: [], _COPY: []}
    for copies in sets:
        kinds[_kind(copies)].append(copies)
    return [_note(kind, sets) for kind, sets in kinds.items() if sets]


def is_duplicate_note(note: str) -> bool:
    """Whether a note comes from `duplicate_notes`."""
    return note.startswith((_LEAK, _CONTRADICTION, _COPY))


def _kind(copies: Sequence[ManifestRow]) -> str:
    """The worst that the copies of one content are."""
    splits = {row.split for row in copies}
    if len(splits) > 1 and splits & {"val", "test"}:
        return _LEAK
    return _CONTRADICTION if len({row.label for row in copies if row.label is not None}) > 1 else _COPY


def _note(kind: str, sets: Sequence[Sequence[ManifestRow]]) -> str:
    named = "; ".join(" = ".join(f"{row.path} ({_about(row)})" for row in copies) for copies in sets[:_MOST_NAMED])
    more = f"; and {len(sets) - _MOST_NAMED} more" if len(sets) > _MOST_NAMED else ""
    return f"{kind}{counted(sum(map(len, sets)), 'video')}: {named}{more}"


def _about(row: ManifestRow) -> str:
    return row.split if row.label is None else f"{row.label}, {row.split}"
