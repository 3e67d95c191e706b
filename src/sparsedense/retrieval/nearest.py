"""Exact search for the rows of largest product with a query, in parts, so that memory does not grow with the rows.

Products in single precision find the candidates; these are computed again in double precision, each by itself, and
decide. So the answer does not depend on the parts, and of equal rows the first one comes first, always.

Shapes: N rows, Q queries, D features, C rows of a part, K rows wanted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating[Any]]
Allowed = Callable[[slice, slice], NDArray[np.bool_]]

PART_ROWS = 16384  # with 512 features 32 MiB in single precision, and twice that where all rows are candidates
_QUERIES_AT_ONCE = 256
_HALF_ULP = 2.0**-24  # of single precision


class NearestRows(NamedTuple):
    """Rows for one query, the most similar first: their products (K,) and their numbers (K,)."""

    similarities: NDArray[np.float64]
    rows: NDArray[np.int64]


def nearest_rows(
    features_ND: Features,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: Allowed | None = None,
    part_rows: int = PART_ROWS,
) -> list[NearestRows]:
    """The k rows of largest inner product with each query; of equal products, the smaller row number comes first.

    Args:
        features_ND: rows to search, usually a memory map; of unit length, products are cosines.
        queries_QD: what to search for.
        k: how many rows to give; fewer are given where fewer are allowed.
        allowed: for some of the queries and some of the rows, which row may be given for which query (Q, C); None
            allows all.
        part_rows: rows that are looked at in one go.

    Raises:
        ValueError: k or `part_rows` is below 1, or the numbers of features differ.
    """
    if k < 1 or part_rows < 1:
        raise ValueError(f"k ({k}) and part_rows ({part_rows}) must be at least 1")
    if queries_QD.ndim != 2 or queries_QD.shape[1] != features_ND.shape[1]:
        raise ValueError(f"queries must have shape (Q, {features_ND.shape[1]}), got {queries_QD.shape}")
    found: list[NearestRows] = []
    for first in range(0, len(queries_QD), _QUERIES_AT_ONCE):
        some = slice(first, first + _QUERIES_AT_ONCE)
        found += _search(
            features_ND, queries_QD[some], k, None if allowed is None else partial(allowed, some), part_rows
        )
    return found


def unit_rows(features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their lengths, so that products are cosines; a row of zeros stays one."""
    lengths_N1 = np.linalg.norm(features_ND.astype(np.float64), axis=1, keepdims=True)
    return (features_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)).astype(np.float32)


def exact_products(rows_CD: Features, query_D: NDArray[np.float32]) -> NDArray[np.float64]:
    """Products of rows with a query in double precision (C,); each depends on its own row only."""
    # No matrix product: BLAS may add the same row up in another order where it stands in another place.
    products_C: NDArray[np.float64] = (rows_CD.astype(np.float64) * query_D.astype(np.float64)).sum(axis=1)
    return products_C


def best_of(similarities: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> NearestRows:
    """The k best, in order."""
    order = np.lexsort((rows, -similarities))[:k]
    return NearestRows(similarities[order], rows[order])


def _search(
    features_ND: Features,
    queries_QD: NDArray[np.float32],
    k: int,
    allowed: Callable[[slice], NDArray[np.bool_]] | None,
    part_rows: int,
) -> list[NearestRows]:
    best = [NearestRows(np.zeros(0), np.zeros(0, dtype=np.int64)) for _ in queries_QD]
    query_lengths_Q = np.linalg.norm(queries_QD.astype(np.float64), axis=1)
    for start in range(0, len(features_ND), part_rows):
        part_CD = np.asarray(features_ND[start : start + part_rows])
        single_CD = part_CD.astype(np.float32, copy=False)
        products_QC = queries_QD @ single_CD.T
        # How far a product in single precision may be from the true one (Higham, 2002, section 3.1), twice that.
        longest = float(np.sqrt(np.einsum("cd,cd->c", single_CD, single_CD).max()))
        errors_Q = 2 * (single_CD.shape[1] + 1) * _HALF_ULP * longest * query_lengths_Q
        if allowed is not None:
            products_QC[~allowed(slice(start, start + len(part_CD)))] = -np.inf
        for number, query_D in enumerate(queries_QD):
            candidates = _candidates(products_QC[number], best[number], k, float(errors_Q[number]))
            if len(candidates):
                similarities = exact_products(part_CD[candidates], query_D)
                both = np.concatenate([best[number].similarities, similarities])
                best[number] = best_of(both, np.concatenate([best[number].rows, candidates + start]), k)
    return best


def _candidates(products_C: NDArray[np.float32], best: NearestRows, k: int, error: float) -> NDArray[np.int64]:
    """Rows of a part that may be among the k best."""
    if len(best.rows) == k:
        least = best.similarities[-1] - error
    elif k < len(products_C):
        least = float(np.partition(products_C, len(products_C) - k)[len(products_C) - k]) - 2 * error
    else:
        least = -np.inf
    return np.flatnonzero((products_C >= least) & (products_C > -np.inf))
