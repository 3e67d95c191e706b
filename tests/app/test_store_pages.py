import numpy as np
import pytest

from sparsedense.app.limits import RefusedError
from sparsedense.app.store_pages import Filter, StorePages
from sparsedense.data.store import FrameStore


@pytest.fixture(scope="module")
def pages(app_store: FrameStore) -> StorePages:
    return StorePages(app_store)


def test_the_summary_counts_what_a_page_gives(pages: StorePages) -> None:
    summary = pages.summary()
    assert (summary["name"], summary["videos"], summary["rejected"], summary["damaged"]) == ("squares", 7, 1, 0)
    assert summary["unlabelled"] == 1
    for each in summary["classes"]:
        assert pages.page(Filter(label=each["label"]), offset=0, limit=50)["total"] == each["count"]
    for each in summary["splits"]:
        assert pages.page(Filter(split=each["split"]), offset=0, limit=50)["total"] == each["count"]
    for each in summary["reasons"]:
        assert pages.page(Filter(reason=each["reason"]), offset=0, limit=50)["total"] == each["count"] == 1


def test_filters_are_joined(pages: StorePages) -> None:
    page = pages.page(Filter(label="right", split="test", kind="readable"), offset=0, limit=50)
    assert [row["path"] for row in page["videos"]] == ["test/right/right_1.mp4"]
    assert page["videos"][0]["duration_seconds"] == pytest.approx(1.6)
    rejected = pages.page(Filter(kind="rejected"), offset=0, limit=50)["videos"]
    assert [row["name"] for row in rejected] == ["broken.mp4"]
    assert rejected[0]["reason"]
    assert pages.page(Filter(label="", kind="readable"), offset=0, limit=50)["videos"][0]["label"] is None


def test_pages_join_without_a_gap(pages: StorePages) -> None:
    whole = pages.page(Filter(), offset=0, limit=50)
    parts = [pages.page(Filter(), offset=offset, limit=3)["videos"] for offset in range(0, whole["total"], 3)]
    assert [row for part in parts for row in part] == whole["videos"]
    assert pages.page(Filter(), offset=1000, limit=3)["videos"] == []


def test_rows_come_in_order_and_only_those_asked_for(pages: StorePages) -> None:
    assert [row["video_id"] for row in pages.rows(np.array([1, 4, 5]))] == [1, 4, 5]
    assert pages.rows(np.array([], dtype=np.int64)) == []


def test_samples_have_labels(pages: StorePages) -> None:
    assert len(pages.sample(4)) == 4
    assert all(row["label"] for row in pages.sample(4))


@pytest.mark.parametrize(
    "chosen", [Filter(label="absent"), Filter(split="' or 1=1"), Filter(kind="all"), Filter(reason="none")]
)
def test_what_is_not_there_is_told(chosen: Filter, pages: StorePages) -> None:
    with pytest.raises(RefusedError, match="The store has no"):
        pages.page(chosen, offset=0, limit=10)


@pytest.mark.parametrize(("offset", "limit"), [(-1, 10), (0, 0), (0, 97)])
def test_pages_have_a_size(offset: int, limit: int, pages: StorePages) -> None:
    with pytest.raises(RefusedError, match="A page begins"):
        pages.page(Filter(), offset=offset, limit=limit)
