"""Classes without training or test videos, and why."""

from sparsedense.data.class_gaps import class_gaps

OK = "ok"


def test_nothing_is_told_where_every_class_has_both() -> None:
    assert class_gaps([("a", "g1", "train", OK), ("a", "g2", "test", OK), (None, "g3", "unlabelled", OK)]) == []
    assert class_gaps([]) == []


def test_a_class_needs_no_test_video_where_there_is_no_test() -> None:
    assert class_gaps([("a", "g1", "train", OK), ("b", "g2", "train", OK), ("b", "g3", "val", OK)]) == []


def test_a_class_needs_no_training_video_in_a_store_to_test_on() -> None:
    assert class_gaps([("a", "g1", "test", OK), ("b", "g2", "test", OK)]) == []


def test_classes_are_named_by_the_reason() -> None:
    videos = [
        ("a", "g1", "train", OK),
        ("a", "g2", "test", OK),
        ("one group", "g1", "train", OK),
        ("one group", "g1", "train", OK),
        ("broken", "g3", "train", "rejected"),
        ("broken", "g4", "test", OK),
        ("gone", "g5", "train", "rejected"),
        ("elsewhere", "g6", "val", OK),
        ("elsewhere", "g7", "test", OK),
    ]
    assert class_gaps(videos) == [
        "1 class without a training video (the other videos were rejected): 'broken'",
        "1 class without a training video (the splits put none there): 'elsewhere'",
        "1 class without a training video (all videos were rejected): 'gone'",
        "1 class without a test video (all videos were rejected): 'gone'",
        "1 class without a test video (all videos of the class are of one group): 'one group'",
    ]


def test_of_many_classes_five_are_named() -> None:
    videos = [(name, name, "train", OK) for name in "abcdefg"] + [("h", "g1", "train", OK), ("h", "g2", "test", OK)]
    (told,) = class_gaps(videos)
    assert told.startswith("7 classes without a test video (")
    assert told.endswith(": 'a', 'b', 'c', 'd', 'e' and 2 more")
