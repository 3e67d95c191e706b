import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import ClassMismatchError, check_classes, evaluate
from sparsedense.models.model_file import save_model
from tests.conftest import MOTIONS, TEST_PER_CLASS
from tests.evaluation.colour_model import colour_recogniser, constant_recogniser, tiny_recogniser

KEYS = {
    "accuracy", "accuracy_top5", "clip_accuracy", "precision", "recall", "f1", "videos", "split", "clips_per_video",
    "class_names", "per_class", "confusion", "examples",
}  # fmt: skip
TEST_COUNTS = [TEST_PER_CLASS, TEST_PER_CLASS, TEST_PER_CLASS + 1]  # `right` has a short one more


@pytest.fixture(scope="module")
def two_classes(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    root = tmp_path_factory.mktemp("two-classes")
    for split in ("train", "test"):
        for name in ("down", "right"):
            (root / "videos" / split / name).mkdir(parents=True)
            shutil.copy(squares_folder / split / name / f"{name}_{split}0.mp4", root / "videos" / split / name)
    prepare(root / "videos", root / "store", short_side=32, workers=1)
    return FrameStore(root / "store")


def test_a_recogniser_that_is_always_right(squares: FrameStore) -> None:
    result = evaluate(colour_recogniser(), squares, clips_per_video=2, num_workers=0)
    assert (result.accuracy, result.clip_accuracy, result.f1, result.precision, result.recall) == (1, 1, 1, 1, 1)
    assert result.accuracy_top5 == 1
    assert result.videos == sum(TEST_COUNTS)
    assert result.class_names == list(MOTIONS)
    assert [row["videos"] for row in result.per_class] == TEST_COUNTS
    assert result.confusion == [[count if row == column else 0 for column in range(3)] for row, count in
                                enumerate(TEST_COUNTS)]  # fmt: skip


@pytest.mark.parametrize("opinion", [0, 2])
def test_a_recogniser_of_one_opinion(squares: FrameStore, opinion: int) -> None:
    result = evaluate(constant_recogniser(opinion), squares, clips_per_video=1, num_workers=0)
    share = TEST_COUNTS[opinion] / sum(TEST_COUNTS)
    assert result.accuracy == pytest.approx(share)
    assert result.recall == pytest.approx(1 / 3)
    assert result.precision == pytest.approx(share / 3)
    assert result.f1 == pytest.approx(2 * share / (1 + share) / 3)
    assert [row["recall"] for row in result.per_class] == [float(index == opinion) for index in range(3)]
    assert [row[opinion] for row in result.confusion] == TEST_COUNTS


def test_a_video_is_judged_by_the_mean_of_its_clips_softmax(
    squares: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips whose softmax says 1 on average, while their mean logits and their first clip say 0."""
    four_clips = torch.tensor([[5.0, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 1.5, 0.0], [0.0, 1.5, 0.0]])
    centred_clip = torch.tensor([[0.0, 0.0, 1.0]])

    def outputs(
        _model: object, _store: object, videos: NDArray[np.int64], *_: object, num_clips: int, **__: object
    ) -> Tensor:
        return (four_clips if num_clips == 4 else centred_clip).expand(len(videos), -1, -1)

    monkeypatch.setattr("sparsedense.evaluation.evaluate.clip_outputs", outputs)
    result = evaluate(tiny_recogniser(), squares, clips_per_video=4)
    assert [sum(row) for row in zip(*result.confusion, strict=True)] == [0, sum(TEST_COUNTS), 0]
    assert result.accuracy == pytest.approx(TEST_COUNTS[1] / sum(TEST_COUNTS))
    assert result.clip_accuracy == pytest.approx(TEST_COUNTS[2] / sum(TEST_COUNTS))
    assert result.clips_per_video == 4


def test_an_odd_number_of_clips_has_the_centred_one_in_its_middle(
    squares: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outputs(
        _model: object, _store: object, videos: NDArray[np.int64], *_: object, num_clips: int, **__: object
    ) -> Tensor:
        assert num_clips == 3
        return torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, 1.0], [9.0, 0.0, 0.0]]).expand(len(videos), -1, -1)

    monkeypatch.setattr("sparsedense.evaluation.evaluate.clip_outputs", outputs)
    result = evaluate(tiny_recogniser(), squares, clips_per_video=3)
    assert result.clip_accuracy == pytest.approx(TEST_COUNTS[2] / sum(TEST_COUNTS))
    assert result.accuracy == pytest.approx(TEST_COUNTS[0] / sum(TEST_COUNTS))


def test_the_written_file_has_the_keys_that_readers_expect(squares: FrameStore, tmp_path: Path) -> None:
    result = evaluate(colour_recogniser(), squares, clips_per_video=1, out=tmp_path / "new", num_workers=0)
    written = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert set(written) == KEYS
    assert written == asdict(result)
    assert {"name", "videos", "precision", "recall", "f1"} == set(written["per_class"][0])
    assert len(written["examples"]) == sum(TEST_COUNTS)
    for example in written["examples"]:
        assert set(example) == {"image", "path", "label", "predicted", "probability", "correct"}
        assert (tmp_path / "new" / example["image"]).is_file()


def test_model_and_store_may_be_given_as_paths(squares_path: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", tiny_recogniser(), provenance={})
    calls: list[tuple[int, int]] = []
    result = evaluate(
        str(tmp_path / "model.safetensors"), squares_path, split="val", clips_per_video=1, num_workers=0,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert (result.videos, result.split) == (3, "val")
    assert calls[-1] == (3, 3)


def test_a_store_of_fewer_classes_is_told_by_name(two_classes: FrameStore) -> None:
    with pytest.raises(ClassMismatchError, match=r"knows 3 classes, .* made for 2; not in the store: diagonal\."):
        evaluate(colour_recogniser(), two_classes)


def test_a_store_of_other_classes_is_told_by_name(squares: FrameStore, two_classes: FrameStore) -> None:
    model = tiny_recogniser(("down", "jump"))
    with pytest.raises(ClassMismatchError, match=r"not in the store: jump; unknown to the model: right\."):
        evaluate(model, two_classes)
    many = tuple(f"class{number}" for number in range(9))
    with pytest.raises(ClassMismatchError, match=r"class0, class1, class2, class3, class4 and 4 more; unknown"):
        check_classes(many, squares)


def test_a_model_without_classifier_is_sent_to_finetune(squares: FrameStore) -> None:
    with pytest.raises(ClassMismatchError, match="pretrained only; run `sparsedense finetune`"):
        evaluate(tiny_recogniser(()), squares)


def test_a_split_without_labels_is_an_error(squares: FrameStore, two_classes: FrameStore) -> None:
    with pytest.raises(ValueError, match="no labelled video in the split 'unlabelled'; it has test, train, unlabelled"):
        evaluate(tiny_recogniser(), squares, split="unlabelled")
    with pytest.raises(ValueError, match="no labelled video in the split 'val'; it has test, train"):
        evaluate(tiny_recogniser(("down", "right")), two_classes, split="val")


def test_the_same_classes_in_another_order_are_told(squares: FrameStore) -> None:
    with pytest.raises(ClassMismatchError, match="the same in another order"):
        check_classes(squares.class_names[::-1], squares)
