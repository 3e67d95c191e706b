"""What an index is on the disk, so that any program can read it.

INDEX/index.json     what it was made of and how, and how much of it is done
      rows.parquet   a line for each video: video_id, path, label, group, split, num_frames
      dense.npy      its features (N, D), of unit length: the mean over evenly spaced dense clips
      sparse.npy     the same of the one clip that spans the video
      dense.faiss    for approximate search, where that was asked for; likewise sparse.faiss
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.data.store import FrameStore

FORMAT_VERSION = 1
VIEWS = ("dense", "sparse")
DTYPES = ("float16", "float32")

FeatureMap = np.memmap[tuple[int, int], np.dtype[np.floating[Any]]]

_INFO_NAME, _ROWS_NAME = "index.json", "rows.parquet"
_ROW_COLUMNS = ["video_id", "path", "label", "group", "split", "num_frames"]


class IndexFileError(ValueError):
    """An index is missing, damaged, not finished, or was made with another model or store; the message names it."""


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """What an index was made of (`index.json`).

    Attributes:
        model: path of the model file.
        model_fingerprint: what its features depend on.
        store: folder of the store, or its URL.
        store_fingerprint: SHA-256 of its manifest.
        split: the only split that was indexed; None means all of them.
        clips_per_video: dense clips whose features were averaged.
        dtype: of the arrays.
        num_rows: videos N.
        feature_dim: features D.
        done: rows that are computed, by view.
        format_version: version of this layout.
    """

    model: str
    model_fingerprint: str
    store: str
    store_fingerprint: str
    split: str | None
    clips_per_video: int
    dtype: str
    num_rows: int
    feature_dim: int
    done: Mapping[str, int]
    format_version: int = FORMAT_VERSION

    @property
    def is_complete(self) -> bool:
        """Whether all rows are computed."""
        return all(self.done[view] == self.num_rows for view in VIEWS)

    def differences(self, other: Self) -> list[str]:
        """Names of what makes two indices different ones; where the files lie does not."""
        places = {"model", "store", "done"}
        return [
            each.name
            for each in fields(self)
            if each.name not in places and getattr(self, each.name) != getattr(other, each.name)
        ]

    def with_done(self, view: str, done: int) -> Self:
        """The same with more rows of a view computed."""
        return replace(self, done={**self.done, view: done})


def write_info(folder: Path, info: IndexInfo) -> None:
    """Write `index.json` in place of the one that is there."""
    with complete_file(folder / _INFO_NAME) as partial:
        partial.write_text(json.dumps(asdict(info), indent=2) + "\n")


def read_info(folder: Path) -> IndexInfo | None:
    """What an index says about itself; None where there is none.

    Raises:
        IndexFileError: it is damaged, or of a version that is not known.
    """
    path = folder / _INFO_NAME
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise IndexFileError(
                f"{path}: index format {version}, this version reads {FORMAT_VERSION}; make the index again"
            )
        return IndexInfo(**content)
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise IndexFileError(f"{path} is damaged ({error}); make the index again with `sparsedense index`") from error


def write_rows(folder: Path, store: FrameStore, video_ids: NDArray[np.int64]) -> None:
    """Write `rows.parquet`, a line for each indexed video of a store."""
    with complete_file(folder / _ROWS_NAME) as partial:
        pq.write_table(store.manifest.select(_ROW_COLUMNS).take(pa.array(video_ids)), partial)


def read_rows(folder: Path) -> pa.Table:
    """The table of indexed videos.

    Raises:
        IndexFileError: it is missing or damaged.
    """
    path = folder / _ROWS_NAME
    try:
        return pq.read_table(path, columns=_ROW_COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise IndexFileError(f"{path} cannot be read ({error}); make the index again") from error


def create_features(folder: Path, view: str, info: IndexInfo) -> None:
    """Make the array of a view, for `open_features` to fill."""
    array = np.lib.format.open_memmap(
        features_path(folder, view), mode="w+", dtype=np.dtype(info.dtype), shape=(info.num_rows, info.feature_dim)
    )
    array.flush()


def open_features(folder: Path, view: str, info: IndexInfo, *, writable: bool = False) -> FeatureMap:
    """The array of a view (N, D), mapped into memory.

    Raises:
        IndexFileError: it is missing, damaged or of another shape than the index says.
    """
    path = features_path(folder, view)
    try:
        features_ND: FeatureMap = np.lib.format.open_memmap(path, mode="r+" if writable else "r")
    except (OSError, ValueError) as error:
        raise IndexFileError(f"{path} cannot be read ({error}); make the index again") from error
    if features_ND.shape != (info.num_rows, info.feature_dim) or features_ND.dtype != np.dtype(info.dtype):
        raise IndexFileError(
            f"{path} holds {features_ND.shape} of {features_ND.dtype}, but index.json says "
            f"({info.num_rows}, {info.feature_dim}) of {info.dtype}; make the index again"
        )
    return features_ND


def features_path(folder: Path, view: str) -> Path:
    """The array of a view."""
    return folder / f"{view}.npy"


def approximate_path(folder: Path, view: str) -> Path:
    """The structure for approximate search of a view."""
    return folder / f"{view}.faiss"


def remove_index(folder: Path) -> None:
    """Delete the files of an index, and no others."""
    for view in VIEWS:
        features_path(folder, view).unlink(missing_ok=True)
        approximate_path(folder, view).unlink(missing_ok=True)
    for name in (_ROWS_NAME, _INFO_NAME):
        (folder / name).unlink(missing_ok=True)
