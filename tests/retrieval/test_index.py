from pathlib import Path

import numpy as np
import pytest

from sparsedense.retrieval import index as index_module
from sparsedense.retrieval.approximate import build_approximate
from sparsedense.retrieval.index import Index, Neighbour, load_index
from sparsedense.retrieval.index_files import IndexFileError


@pytest.fixture
def copied(index: Index, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    for file in index.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def slow_search(index: Index, query: np.ndarray, k: int, keep: np.ndarray, view: str) -> list[int]:
    cosines = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in index.features(view)]
    rows = [row for row in range(len(index)) if keep[row]]
    return sorted(rows, key=lambda row: (-cosines[row], row))[:k]


@pytest.mark.parametrize("view", ["dense", "sparse"])
def test_search_is_by_cosine_of_what_may_be_found(index: Index, view: str) -> None:
    rng = np.random.default_rng(0)
    queries = 50 * rng.normal(size=(4, index.info.feature_dim)).astype(np.float32)
    rows = index.rows.to_pylist()
    everything = np.ones(len(index), dtype=np.bool_)
    for query, found in zip(queries, index.search(queries, k=7, view=view), strict=True):
        assert [each.row for each in found] == slow_search(index, query, 7, everything, view)
        for each in found:
            columns = {name: rows[each.row][name] for name in ("video_id", "path", "label", "group", "split")}
            assert each == Neighbour(row=each.row, similarity=each.similarity, **columns)
            assert -1.0 - 1e-6 <= each.similarity <= 1.0 + 1e-6
    groups = [rows[0]["group"], None, rows[5]["group"], "no such group"]
    left_out = [3, 4, None, None]
    found_lists = index.search(
        queries, k=len(index), view=view, split="test", without_groups=groups, without_rows=left_out
    )
    for query, group, row, found in zip(queries, groups, left_out, found_lists, strict=True):
        keep = np.array([each["split"] == "test" and each["group"] != group for each in rows])
        if row is not None:
            keep[row] = False
        assert [each.row for each in found] == slow_search(index, query, len(index), keep, view)


def test_approximate_search_that_looks_everywhere_is_exact(
    index: Index, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = np.random.default_rng(1).normal(size=(3, index.info.feature_dim)).astype(np.float32)
    own = load_index(copied)
    with pytest.raises(IndexFileError, match=r"was not prepared; run `sparsedense index` again with --approximate"):
        own.search(queries, search="approximate")
    build_approximate(copied / "dense.faiss", own.features("dense"))
    for options in ({}, {"split": "test"}, {"without_rows": [0, 1, None]}):
        exact = own.search(queries, k=5, search="exact", **options)
        assert own.search(queries, k=5, search="approximate", **options) == exact
        assert own.search(queries, k=5, **options) == exact
    monkeypatch.setattr(index_module, "MOST_ROWS_EXACT", 3)
    monkeypatch.setattr(index_module, "nearest_rows", None)
    assert own.search(queries, k=5) == own.search(queries, k=5, search="approximate")


def test_videos_are_known_by_their_path_in_the_store(index: Index) -> None:
    path = index.rows["path"][6].as_py()
    assert index.row_of(path) == 6
    assert index.row_of("nowhere.mp4") is None
    assert index.video_id_of(6) == index.rows["video_id"][6].as_py()
    assert index.group_of(6) == index.rows["group"][6].as_py()


def test_what_is_no_index_is_told(index: Index, copied: Path) -> None:
    with pytest.raises(IndexFileError, match=r"nowhere: no such index; make one with `sparsedense index MODEL STORE"):
        load_index(copied / "nowhere")
    np.save(copied / "dense.npy", np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(IndexFileError, match=r"dense\.npy holds \(2, 3\) of float32, but index\.json says"):
        load_index(copied).features("dense")
    (copied / "sparse.npy").unlink()
    with pytest.raises(IndexFileError, match=r"sparse\.npy cannot be read"):
        load_index(copied).features("sparse")
    (copied / "rows.parquet").write_text("no table")
    with pytest.raises(IndexFileError, match=r"rows\.parquet cannot be read"):
        load_index(copied).row_of("a")
    text = (copied / "index.json").read_text()
    for content, message in (
        (text[:50], "is damaged"),
        (text.replace('"format_version": 1', '"format_version": 2'), "format 2"),
    ):
        (copied / "index.json").write_text(content)
        with pytest.raises(IndexFileError, match=message):
            load_index(copied)


def test_mistakes_are_told(index: Index) -> None:
    query = np.ones((1, index.info.feature_dim), dtype=np.float32)
    for options, message in (
        ({"view": "middle"}, r"view \('middle'\) must be one of dense, sparse"),
        ({"search": "quick"}, r"search \('quick'\) must be one of auto, exact, approximate"),
        ({"split": "val2"}, "the index has no videos of split 'val2'"),
        ({"k": 0}, r"k \(0\)"),
        ({"without_rows": [1, 2]}, "without_rows has 2 entries for 1 queries"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(query, **options)
    with pytest.raises(ValueError, match="not all finite"):
        index.search(query * np.nan)
