"""Approximate search with FAISS (extra `faiss`), for more videos than a product with all of them is quick for.

An inverted file: the rows are clustered, and only the clusters nearest to the query are looked at (Sivic and Zisserman,
"Video Google", ICCV 2003). What it finds is compared anew with the exact products, so only what it misses differs.

Shapes: N rows, Q queries, D features.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.retrieval.nearest import Features, NearestRows, best_of, exact_products

_ROWS_AT_ONCE = 65536
_TRAINING_ROWS_PER_CLUSTER = 64  # FAISS wants 39 at least
_CANDIDATES_PER_RESULT = 4
_SEED = 0


class MissingFaissError(ValueError):
    """FAISS is needed and not installed."""


def check_faiss() -> None:
    """Make sure that FAISS is there.

    Raises:
        MissingFaissError: it is not installed.
    """
    if find_spec("faiss") is None:
        raise MissingFaissError("approximate search needs FAISS; install it with `pip install 'sparsedense[faiss]'`")


def build_approximate(path: Path, features_ND: Features) -> None:
    """Write the inverted file of some rows; each is kept in half precision."""
    faiss = import_module("faiss")
    num_rows, feature_dim = features_ND.shape
    clusters = max(1, min(round(4 * num_rows**0.5), num_rows // _TRAINING_ROWS_PER_CLUSTER))
    index = faiss.index_factory(feature_dim, f"IVF{clusters},SQfp16", faiss.METRIC_INNER_PRODUCT)
    sample_size = min(num_rows, clusters * _TRAINING_ROWS_PER_CLUSTER)
    sample = np.sort(np.random.default_rng(_SEED).choice(num_rows, sample_size, replace=False))
    index.train(features_ND[sample].astype(np.float32))
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        index.add(np.asarray(features_ND[start : start + _ROWS_AT_ONCE], dtype=np.float32))
    with complete_file(path) as partial:
        faiss.write_index(index, str(partial))


class ApproximateSearch:
    """The inverted file of a view, opened.

    Args:
        path: what `build_approximate` wrote.
        features_ND: the rows.

    Raises:
        MissingFaissError: FAISS is not installed.
    """

    def __init__(self, path: Path, features_ND: Features) -> None:
        check_faiss()
        self._faiss: Any = import_module("faiss")
        self._index = self._faiss.read_index(str(path))
        self._features_ND = features_ND

    def nearest_rows(
        self, queries_QD: NDArray[np.float32], *, k: int, allowed_QN: NDArray[np.bool_] | None = None
    ) -> list[NearestRows]:
        """As `nearest.nearest_rows`, but some of the nearest rows may be missing."""
        found = []
        for number, query_D in enumerate(queries_QD):
            parameters = self._faiss.SearchParametersIVF(nprobe=self._clusters_to_visit)
            if allowed_QN is not None:
                parameters.sel = self._faiss.IDSelectorBitmap(np.packbits(allowed_QN[number], bitorder="little"))
            _, rows = self._index.search(query_D[None], _CANDIDATES_PER_RESULT * k, params=parameters)
            candidates = np.sort(rows[0][rows[0] >= 0])
            found.append(best_of(exact_products(self._features_ND[candidates], query_D), candidates, k))
        return found

    @property
    def _clusters_to_visit(self) -> int:
        clusters = int(self._index.nlist)
        return min(clusters, 8 + clusters // 20)
