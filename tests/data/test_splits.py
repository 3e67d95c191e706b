from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.data.errors import CatalogError
from sparsedense.data.splits import cut_groups, draw_splits, hold_out_groups

videos = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("0123456789")), max_size=60)
fractions = st.floats(0, 0.45)


@given(videos=videos, val=fractions, test=fractions, seed=st.integers(0, 5))
def test_a_drawn_split_never_cuts_a_group_and_trains_every_class(
    videos: list[tuple[str, str]], val: float, test: float, seed: int
) -> None:
    labels, groups = [label for label, _ in videos], [group for _, group in videos]
    splits = draw_splits(labels, groups, val_fraction=val, test_fraction=test, seed=seed)
    assert cut_groups(groups, splits) == []
    assert len({*zip(groups, splits, strict=True)}) == len(set(groups))
    assert {label for label, split in zip(labels, splits, strict=True) if split == "train"} == set(labels)
    if val == 0:
        assert "val" not in splits
    if test == 0:
        assert "test" not in splits


@given(videos=videos, seed=st.integers(0, 5), data=st.data())
def test_a_drawn_split_depends_on_the_videos_and_not_on_their_order(
    videos: list[tuple[str, str]], seed: int, data: st.DataObject
) -> None:
    def split_of_group(listed: list[tuple[str, str]]) -> dict[str, str]:
        labels, groups = [label for label, _ in listed], [group for _, group in listed]
        splits = draw_splits(labels, groups, val_fraction=0.2, test_fraction=0.2, seed=seed)
        return dict(zip(groups, splits, strict=True))

    assert split_of_group(videos) == split_of_group(data.draw(st.permutations(videos)))


@given(per_class=st.integers(10, 40), num_classes=st.integers(1, 5), seed=st.integers(0, 5))
def test_videos_without_common_groups_are_spread_as_the_fractions_ask(
    per_class: int, num_classes: int, seed: int
) -> None:
    labels = [f"class {index % num_classes}" for index in range(per_class * num_classes)]
    groups = [f"video {index}" for index in range(len(labels))]
    splits = draw_splits(labels, groups, val_fraction=0.1, test_fraction=0.3, seed=seed)
    counts = Counter(zip(labels, splits, strict=True))
    for name in set(labels):
        for split, fraction in (("train", 0.6), ("val", 0.1), ("test", 0.3)):
            assert abs(counts[name, split] - fraction * per_class) <= 1


@given(videos=videos, added=videos, seed=st.integers(0, 5))
def test_kept_groups_stay_where_they_are_and_new_classes_are_trained(
    videos: list[tuple[str, str]], added: list[tuple[str, str]], seed: int
) -> None:
    def drawn(listed: list[tuple[str, str]], kept: dict[str, str] | None) -> dict[str, str]:
        labels, groups = [label for label, _ in listed], [group for _, group in listed]
        splits = draw_splits(labels, groups, val_fraction=0.2, test_fraction=0.3, seed=seed, kept=kept)
        return dict(zip(groups, splits, strict=True))

    added = [(label, f"new {group}") for label, group in added]
    before = drawn(videos, None)
    after = drawn([*videos, *added], before)
    assert {group: after[group] for group in before} == before
    trained = {label for label, group in [*videos, *added] if after[group] == "train"}
    assert trained == {label for label, _ in [*videos, *added]}
    assert drawn(videos, before) == before


def test_seeds_draw_differently() -> None:
    labels, groups = ["a"] * 40, [str(index) for index in range(40)]
    drawn = {tuple(draw_splits(labels, groups, val_fraction=0.1, test_fraction=0.2, seed=seed)) for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("num_groups", [2, 4])
def test_few_groups_still_leave_one_to_test_on(num_groups: int) -> None:
    labels = ["a", "b"] * num_groups
    groups = [f"subject {index // 2}" for index in range(2 * num_groups)]
    splits = draw_splits(labels, groups, val_fraction=0.1, test_fraction=0.2, seed=0)
    assert Counter(splits)["test"] == 2


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.1, -0.2), (0.5, 0.5), (0.0, 1.0)])
def test_fractions_that_leave_nothing_are_refused(val: float, test: float) -> None:
    with pytest.raises(ValueError, match="val_fraction"):
        draw_splits(["a"], ["g"], val_fraction=val, test_fraction=test, seed=0)


@given(groups=st.lists(st.sampled_from("abcdef"), min_size=1))
def test_held_out_groups_are_exactly_the_named_ones(groups: list[str]) -> None:
    names = sorted(set(groups))
    test, val = set(names[1:2]), set(names[2:3])
    splits = hold_out_groups(groups, val_groups=val, test_groups=test)
    expected = {True: "test"}
    for group, split in zip(groups, splits, strict=True):
        assert split == expected.get(group in test, "val" if group in val else "train")


def test_impossible_hold_outs_are_explained() -> None:
    with pytest.raises(CatalogError, match=r"test_groups names 's9', .* the groups are 's1', 's2'"):
        hold_out_groups(["s1", "s2"], val_groups=[], test_groups=["s9"])
    with pytest.raises(CatalogError, match="both"):
        hold_out_groups(["s1", "s2"], val_groups=["s1"], test_groups=["s1"])
    with pytest.raises(CatalogError, match="every group"):
        hold_out_groups(["s1", "s2"], val_groups=["s1"], test_groups=["s2"])


def test_cut_groups_are_found_and_unlabelled_videos_do_not_count() -> None:
    groups = ["a", "a", "b", "b", "c", "c"]
    assert cut_groups(groups, ["train", "test", "val", "val", "unlabelled", "test"]) == ["a"]
