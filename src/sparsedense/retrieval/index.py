"""An index of a store's videos: which of them are most like a clip.

    index = sparsedense.load_index("index")
    for found in index.search(model.embed("clip.mp4").features_ND)[0]:
        print(found.similarity, found.label, found.path)

Shapes: N videos of the index, Q queries, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sparsedense.retrieval.approximate import ApproximateSearch
from sparsedense.retrieval.index_files import (
    VIEWS,
    IndexFileError,
    IndexInfo,
    approximate_path,
    open_features,
    read_info,
    read_rows,
)
from sparsedense.retrieval.nearest import Features, nearest_rows, unit_rows

MOST_ROWS_EXACT = 1_000_000  # above, approximate search is taken where it was prepared
SEARCHES = ("auto", "exact", "approximate")


@dataclass(frozen=True)
class Neighbour:
    """A video that was found.

    Attributes:
        row: of the index.
        video_id: of the store.
        path: the video, relative to the source of the store.
        label: its class; None where unknown.
        group: its group: actor, scene or source video.
        split: its split.
        similarity: cosine of the features, in -1..1.
    """

    row: int
    video_id: int
    path: str
    label: str | None
    group: str
    split: str
    similarity: float


class Index:
    """An index, opened for reading; the features stay on the disk.

    Args:
        path: the folder that `build_index` wrote.

    Attributes:
        path: that folder.
        info: what the index was made of.

    Raises:
        IndexFileError: the folder is no index, or a damaged or unfinished one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        info = read_info(self.path)
        if info is None:
            raise IndexFileError(f"{path}: no such index; make one with `sparsedense index MODEL STORE --out {path}`")
        if not info.is_complete:
            done = ", ".join(f"{info.done[view]} of {info.num_rows} {view}" for view in VIEWS)
            raise IndexFileError(f"{path} is not finished ({done}); run the same `sparsedense index` again to go on")
        self.info: IndexInfo = info
        self._features: dict[str, Features] = {}

    def __len__(self) -> int:
        return self.info.num_rows

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}: {len(self)} videos)"

    @cached_property
    def rows(self) -> pa.Table:
        """The indexed videos: video_id, path, label, group, split, num_frames."""
        return read_rows(self.path)

    def features(self, view: str) -> Features:
        """Features (N, D) of unit length, mapped from the disk.

        Raises:
            ValueError: the view is not `dense` or `sparse`.
        """
        if view not in VIEWS:
            raise ValueError(f"view ({view!r}) must be one of {', '.join(VIEWS)}")
        if view not in self._features:
            self._features[view] = open_features(self.path, view, self.info)
        return self._features[view]

    def search(
        self,
        features_QD: NDArray[np.float32],
        *,
        k: int = 10,
        view: str = "dense",
        split: str | None = None,
        without_groups: Sequence[str | None] | None = None,
        without_rows: Sequence[int | None] | None = None,
        search: str = "auto",
    ) -> list[list[Neighbour]]:
        """The videos most like each query by cosine, the most similar first; of equal ones, the first of the store.

        Args:
            features_QD: features of the queries, of any length.
            k: how many to give; fewer are given where fewer may be.
            view: `dense` or `sparse`: which features to compare.
            split: give only videos of this split.
            without_groups: for each query a group whose videos are left out, or None.
            without_rows: for each query a row that is left out, or None.
            search: `exact`, `approximate` (FAISS), or `auto`: exact up to a million videos, and above where approximate
                search was not prepared.

        Raises:
            ValueError: an argument cannot be, or the queries are not finite numbers.
            IndexFileError: approximate search was not prepared.
            MissingFaissError: approximate search needs FAISS, which is not installed.
        """
        if not np.isfinite(features_QD).all():
            raise ValueError("the features of a query are not all finite numbers")
        queries_QD = unit_rows(np.asarray(features_QD, dtype=np.float32))
        kept = _Kept(self.rows, len(queries_QD), split, without_groups, without_rows)
        if self._is_approximate(search, view):
            approximate = ApproximateSearch(approximate_path(self.path, view), self.features(view))
            allowed_QN = kept.allowed(slice(None), slice(None)) if kept.is_choice else None
            found = approximate.nearest_rows(queries_QD, k=k, allowed_QN=allowed_QN)
        else:
            found = nearest_rows(self.features(view), queries_QD, k=k, allowed=kept.allowed if kept.is_choice else None)
        return [self._neighbours(each.rows, each.similarities) for each in found]

    def row_of(self, path: str) -> int | None:
        """The row of a video by its path in the store; None where there is none."""
        row = pc.index(self.rows["path"], path).as_py()
        return None if row < 0 else int(row)

    def video_id_of(self, row: int) -> int:
        """Number in the store of the video of a row."""
        return int(self.rows["video_id"][row].as_py())

    def group_of(self, row: int) -> str:
        """Group of the video of a row."""
        return str(self.rows["group"][row].as_py())

    def _is_approximate(self, search: str, view: str) -> bool:
        if search not in SEARCHES:
            raise ValueError(f"search ({search!r}) must be one of {', '.join(SEARCHES)}")
        is_prepared = approximate_path(self.path, view).is_file()
        if search == "approximate" and not is_prepared:
            raise IndexFileError(
                f"{self.path}: approximate search was not prepared; run `sparsedense index` again with --approximate"
            )
        return search == "approximate" or (search == "auto" and is_prepared and len(self) > MOST_ROWS_EXACT)

    def _neighbours(self, rows: NDArray[np.int64], similarities: NDArray[np.float64]) -> list[Neighbour]:
        found = self.rows.select(["video_id", "path", "label", "group", "split"]).take(pa.array(rows)).to_pylist()
        return [
            Neighbour(row=row, similarity=similarity, **columns)
            for row, similarity, columns in zip(rows.tolist(), similarities.tolist(), found, strict=True)
        ]


def load_index(path: str | Path) -> Index:
    """Open an index that `build_index` wrote.

    Args:
        path: its folder.

    Raises:
        IndexFileError: the folder is no index, or a damaged or unfinished one.
    """
    return Index(path)


class _Kept:
    """Which rows may be given for which query."""

    def __init__(
        self,
        rows: pa.Table,
        num_queries: int,
        split: str | None,
        without_groups: Sequence[str | None] | None,
        without_rows: Sequence[int | None] | None,
    ) -> None:
        for name, given in (("without_groups", without_groups), ("without_rows", without_rows)):
            if given is not None and len(given) != num_queries:
                raise ValueError(f"{name} has {len(given)} entries for {num_queries} queries")
        self._num_queries, self._num_rows = num_queries, len(rows)
        self._in_split_N: NDArray[np.bool_] | None = None
        if split is not None:
            self._in_split_N = pc.equal(rows["split"], split).to_numpy()
            if not self._in_split_N.any():
                raise ValueError(f"the index has no videos of split {split!r}")
        self._group_codes_N = np.zeros(0, dtype=np.int64)
        self._left_out_groups_Q: NDArray[np.int64] | None = None
        if without_groups is not None:
            self._group_codes_N, self._left_out_groups_Q = _group_codes(rows, without_groups)
        self._left_out_rows_Q: NDArray[np.int64] | None = None
        if without_rows is not None:
            self._left_out_rows_Q = np.array([-1 if row is None else row for row in without_rows], dtype=np.int64)
        self.is_choice = split is not None or without_groups is not None or without_rows is not None

    def allowed(self, queries: slice, rows: slice) -> NDArray[np.bool_]:
        """For some queries and rows (Q, C)."""
        shape = (len(range(self._num_queries)[queries]), len(range(self._num_rows)[rows]))
        allowed_QC = np.ones(shape, dtype=np.bool_)
        if self._in_split_N is not None:
            allowed_QC &= self._in_split_N[rows]
        if self._left_out_groups_Q is not None:
            allowed_QC &= self._group_codes_N[rows] != self._left_out_groups_Q[queries, None]
        if self._left_out_rows_Q is not None:
            allowed_QC &= np.arange(self._num_rows)[rows] != self._left_out_rows_Q[queries, None]
        return allowed_QC


def _group_codes(rows: pa.Table, groups: Sequence[str | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for the group of each row, and those of some groups; -1 for None and for groups that do not occur."""
    encoded = rows["group"].combine_chunks().dictionary_encode()
    numbers = {name: code for code, name in enumerate(encoded.dictionary.to_pylist())}
    codes_N = encoded.indices.to_numpy().astype(np.int64)
    return codes_N, np.array([-1 if group is None else numbers.get(group, -1) for group in groups], dtype=np.int64)
