import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.retrieval.nearest import NearestRows, nearest_rows, unit_rows


def slow_nearest(
    features: NDArray[np.floating], query: NDArray[np.floating], k: int, allowed: NDArray[np.bool_]
) -> list[tuple[float, int]]:
    """Every product, one number at a time, sorted; of equal ones the smaller row first."""
    products = []
    for row, feature in enumerate(features.tolist()):
        if allowed[row]:
            products.append((sum(one * other for one, other in zip(feature, query.tolist(), strict=True)), row))
    return sorted(products, key=lambda each: (-each[0], each[1]))[:k]


def pairs(found: NearestRows) -> list[tuple[float, int]]:
    return list(zip(found.similarities.tolist(), found.rows.tolist(), strict=True))


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 30),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 40),
    st.integers(1, 9),
    st.sampled_from([np.float16, np.float32]),
)
def test_it_finds_what_a_sort_of_all_finds_in_the_same_order(
    seed: int, rows: int, dim: int, queries: int, k: int, part_rows: int, dtype: type
) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers have many ties, and no rounding that could break one.
    features: NDArray[np.floating] = rng.integers(-3, 4, (rows, dim)).astype(dtype)
    wanted = rng.integers(-3, 4, (queries, dim)).astype(np.float32)
    allowed = rng.random((queries, rows)) < rng.random()
    found = nearest_rows(features, wanted, k=k, part_rows=part_rows, allowed=lambda some, these: allowed[some, these])
    expected = [slow_nearest(features, query, k, allowed[number]) for number, query in enumerate(wanted)]
    assert [pairs(each) for each in found] == expected
    everything = nearest_rows(features, wanted, k=k, part_rows=part_rows)
    everywhere = np.ones(rows, dtype=np.bool_)
    assert [pairs(each) for each in everything] == [slow_nearest(features, query, k, everywhere) for query in wanted]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 20))
def test_the_parts_change_nothing_and_equal_rows_stay_in_order(seed: int, part_rows: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    some = unit_rows(rng.normal(size=(12, 37)).astype(np.float32)).astype(np.float16)
    features = some[rng.integers(0, 12, 200)]  # each row many times, in places where BLAS adds up differently
    queries = unit_rows(rng.normal(size=(3, 37)).astype(np.float32))
    whole = nearest_rows(features, queries, k=k)
    parted = nearest_rows(features, queries, k=k, part_rows=part_rows)
    for one, other, query in zip(whole, parted, queries, strict=True):
        assert pairs(one) == pairs(other)
        expected = slow_nearest(features, query, k, np.ones(200, dtype=np.bool_))
        np.testing.assert_array_equal(one.rows, [row for _, row in expected])
        np.testing.assert_allclose(one.similarities, [product for product, _ in expected], atol=1e-12)


def test_nearly_equal_rows_are_told_apart() -> None:
    features = np.full((50, 512), 0.04, dtype=np.float32)
    features[33, 7] = np.nextafter(np.float32(0.04), np.float32(1.0))
    query = np.full((1, 512), 0.04, dtype=np.float32)
    for part_rows in (1, 8, 50):
        (found,) = nearest_rows(features, query, k=3, part_rows=part_rows)
        assert found.rows.tolist() == [33, 0, 1]


def test_rows_of_unit_length_give_cosines() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 5)).astype(np.float32)
    features[3] = 0.0
    rows = unit_rows(features)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [float(number != 3) for number in range(20)], atol=1e-6)
    (found,) = nearest_rows(rows, rows[7:8], k=20)
    assert found.rows[0] == 7
    cosines = features @ features[7] / np.linalg.norm(features[7]) / np.maximum(np.linalg.norm(features, axis=1), 1e-9)
    np.testing.assert_allclose(found.similarities, cosines[found.rows], atol=1e-6)


def test_mistakes_are_told() -> None:
    features, query = np.zeros((3, 4), dtype=np.float32), np.zeros((1, 4), dtype=np.float32)
    for k, part_rows in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=rf"k \({k}\) and part_rows \({part_rows}\) must be at least 1"):
            nearest_rows(features, query, k=k, part_rows=part_rows)
    with pytest.raises(ValueError, match=r"queries must have shape \(Q, 4\), got \(1, 3\)"):
        nearest_rows(features, query[:, :3], k=1)
