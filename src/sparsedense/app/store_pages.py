"""The videos of a store by class, split and reject reason, page by page; of a large store only the page is read."""

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsedense.app.limits import RefusedError
from sparsedense.data.splits import SPLITS
from sparsedense.data.store import FrameStore

KINDS = ("readable", "damaged", "rejected")
MOST_ROWS = 96
_COLUMNS = ["path", "label", "group", "split", "status", "reason", "num_frames", "fps", "width", "height"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which videos to show; None takes all.

    Attributes:
        label: name of a class; empty for those without a label.
        split: name of a split.
        kind: "readable", "damaged" (kept up to the damage) or "rejected".
        reason: why files were rejected or what is wrong with them, with N for numbers.
    """

    label: str | None = None
    split: str | None = None
    kind: str | None = None
    reason: str | None = None


class StorePages:
    """A store to look through.

    Args:
        store: what to show.
    """

    def __init__(self, store: FrameStore) -> None:
        self._store = store
        self._reading = threading.Lock()

    def summary(self) -> dict[str, Any]:
        """What one can choose from, with numbers of files."""
        labels, counts = np.unique(self._store.label_ids, return_counts=True)
        by_label = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        splits = dict(zip(SPLITS, np.bincount(self._split_codes, minlength=len(SPLITS)).tolist(), strict=True))
        codes, reasons = self._reasons
        readable = self._readable
        return {
            "name": self._store.name or self._store.path.resolve().name,
            "videos": int(readable.sum()),
            "rejected": int((~readable).sum()),
            "damaged": int((readable & (codes >= 0)).sum()),
            "classes": [
                {"label": name, "count": by_label.get(index, 0)} for index, name in enumerate(self._store.class_names)
            ],
            "unlabelled": by_label.get(-1, 0),
            "splits": [{"split": name, "count": count} for name, count in splits.items() if count],
            "reasons": [
                {"reason": reason, "count": int(np.count_nonzero(codes == code))} for code, reason in enumerate(reasons)
            ],
        }

    def page(self, chosen: Filter, *, offset: int, limit: int) -> dict[str, Any]:
        """Some of the videos that a filter leaves, and how many it leaves.

        Raises:
            RefusedError: the filter names what is not there, or the page cannot be.
        """
        if not (offset >= 0 and 1 <= limit <= MOST_ROWS):
            raise RefusedError(400, f"A page begins at 0 or later and has 1 to {MOST_ROWS} videos.")
        ids = np.flatnonzero(self._matching(chosen))
        return {"total": len(ids), "offset": offset, "videos": self.rows(ids[offset : offset + limit])}

    def sample(self, count: int) -> list[dict[str, Any]]:
        """Some videos, evenly spread over those that can be read, with labels where there are any."""
        labelled = self._store.videos(labelled=True)
        ids = labelled if len(labelled) else self._store.videos()
        return self.rows(ids[np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64))])

    def rows(self, ids: NDArray[np.int64]) -> list[dict[str, Any]]:
        """What is known of some videos, in the order of their ids."""
        with self._reading, pq.ParquetFile(self._store.path / "manifest.parquet") as manifest:
            rows: list[dict[str, Any]] = []
            first = 0
            for number in range(manifest.num_row_groups):
                length = manifest.metadata.row_group(number).num_rows
                here = ids[(ids >= first) & (ids < first + length)]
                if len(here):
                    table = manifest.read_row_group(number, columns=_COLUMNS).take(pa.array(here - first))
                    rows += [
                        _row(video_id, row) for video_id, row in zip(here.tolist(), table.to_pylist(), strict=True)
                    ]
                first += length
        return rows

    @cached_property
    def _readable(self) -> NDArray[np.bool_]:
        return np.asarray(self._store.num_frames > 0)

    @cached_property
    def _split_codes(self) -> NDArray[np.int8]:
        table = pq.read_table(self._store.path / "manifest.parquet", columns=["split"])
        codes = pc.index_in(table["split"].combine_chunks(), value_set=pa.array(SPLITS))
        return np.asarray(codes.to_numpy(zero_copy_only=False).astype(np.int8))

    @cached_property
    def _reasons(self) -> tuple[NDArray[np.int32], list[str]]:
        """Code of each row's reason, -1 for none; the reasons."""
        table = pq.read_table(self._store.path / "manifest.parquet", columns=["reason"])
        alike = pc.replace_substring_regex(table["reason"].combine_chunks(), pattern=r"\d+", replacement="N")
        coded = alike.dictionary_encode()
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return codes, [str(reason) for reason in coded.dictionary.to_pylist()]

    def _matching(self, chosen: Filter) -> NDArray[np.bool_]:
        matching = np.ones(len(self._store), dtype=np.bool_)
        if chosen.label is not None:
            matching &= self._store.label_ids == self._label_id(chosen.label)
        if chosen.split is not None:
            matching &= self._split_codes == SPLITS.index(_one_of("split", chosen.split, SPLITS))
        codes, reasons = self._reasons
        if chosen.kind is not None:
            kind = _one_of("kind", chosen.kind, KINDS)
            matching &= self._readable if kind != "rejected" else ~self._readable
            matching &= codes >= 0 if kind == "damaged" else True
        if chosen.reason is not None:
            matching &= codes == reasons.index(_one_of("reason", chosen.reason, reasons))
        return matching

    def _label_id(self, label: str) -> int:
        return self._store.class_names.index(_one_of("class", label, self._store.class_names)) if label else -1


def _one_of(what: str, value: str, known: tuple[str, ...] | list[str]) -> str:
    if value not in known:
        raise RefusedError(400, f"The store has no {what} {value[:80]!r}.")
    return value


def _row(video_id: int, row: dict[str, Any]) -> dict[str, Any]:
    fps = row["fps"]
    seconds = row["num_frames"] / fps if fps and fps > 0 else None
    return {**row, "video_id": video_id, "name": PurePath(row["path"]).name, "duration_seconds": seconds}
