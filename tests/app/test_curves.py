from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.app.curves import CurveSummary


@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=12), most=st.integers(2, 30), seed=st.integers(0, 99))
def test_a_summary_keeps_the_peaks_and_covers_the_whole_video(parts: list[int], most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    summary = CurveSummary(["a", "b"], most_positions=most)
    scores_PL = np.round(rng.random((sum(parts), 2)), 3)
    edges = np.arange(sum(parts) + 1) / 8
    begin = 0
    for length in parts:
        summary.add(edges[begin : begin + length + 1], scores_PL[begin : begin + length])
        begin += length
    record = summary.record()
    kept = {each["label"]: np.array(each["scores"]) for each in record["series"]}
    starts = np.array(record["edges_seconds"])
    assert len(starts) - 1 == len(kept["a"]) <= most + 1
    assert starts[0] == 0
    assert starts[-1] == edges[-1]
    assert (np.diff(starts) > 0).all()
    # By the definition: each kept score is the highest of the positions between its edges.
    for column, name in enumerate("ab"):
        inside = [scores_PL[(edges[:-1] >= low) & (edges[:-1] < high), column].max() for low, high in pairwise(starts)]
        np.testing.assert_allclose(kept[name], inside)


def test_the_classes_that_reach_highest_come_first() -> None:
    summary = CurveSummary(["low", "high", "middle"])
    summary.add(np.array([0.0, 1.0, 2.0]), np.array([[0.1, 0.2, 0.5], [0.1, 0.9, 0.2]]))
    assert [each["label"] for each in summary.record(most_classes=2)["series"]] == ["high", "middle"]


def test_a_video_without_scores_has_an_empty_curve() -> None:
    assert CurveSummary(["a"]).record() == {"edges_seconds": [0.0], "series": [{"label": "a", "scores": []}]}


def test_two_positions_are_the_fewest() -> None:
    with pytest.raises(ValueError, match="most_positions"):
        CurveSummary(["a"], most_positions=1)
