from pathlib import Path

import numpy as np
import pytest

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import clip_outputs
from sparsedense.models.model_file import save_model
from sparsedense.prediction.video_recogniser import load_model
from sparsedense.retrieval import build
from sparsedense.retrieval.build import build_index
from sparsedense.retrieval.index import Index, load_index
from sparsedense.retrieval.index_files import IndexFileError, IndexInfo, read_info
from tests.evaluation.colour_model import tiny_recogniser


class PowerCutError(Exception):
    """The computer is switched off."""


def test_the_features_are_those_of_evaluation(index: Index, model_path: Path, squares: FrameStore) -> None:
    model, videos = load_model(model_path, device="cpu"), squares.videos()
    assert index.rows["video_id"].to_pylist() == videos.tolist()
    assert index.rows["path"].to_pylist() == [squares.paths[video_id] for video_id in videos]
    for view in ("dense", "sparse"):
        outputs = clip_outputs(model, squares, videos, model.features, num_clips=2, view=view, num_workers=0)
        expected = outputs.mean(dim=1).numpy()
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(index.features(view), expected, atol=1e-6)
    assert np.abs(index.features("dense") - index.features("sparse")).max() > 1e-3


def test_half_precision_halves_the_file_and_changes_little(
    index: Index, model_path: Path, squares_path: Path, tmp_path: Path
) -> None:
    half = build_index(model_path, squares_path, tmp_path, clips_per_video=2, num_workers=0, device="cpu")
    assert half.features("dense").dtype == np.float16
    np.testing.assert_allclose(half.features("dense"), index.features("dense"), atol=5e-4)


def test_an_interrupted_index_goes_on(
    index: Index, model_path: Path, squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_ROWS_BETWEEN_SAVES", 2)
    calls: list[tuple[int, int]] = []

    def watch(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 4:
            raise PowerCutError

    def run() -> Index:
        return build_index(
            model_path, squares_path, tmp_path, clips_per_video=2, dtype="float32", num_workers=0, device="cpu",
            batch_size=4, progress=watch,
        )  # fmt: skip

    with pytest.raises(PowerCutError):
        run()
    info = read_info(tmp_path)
    assert info is not None
    assert 0 < info.done["dense"] < info.num_rows
    with pytest.raises(IndexFileError, match=r"is not finished \(\d+ of \d+ dense, 0 of \d+ sparse\); run the same"):
        load_index(tmp_path)
    resumed = run()
    begun, total = calls[4]
    assert begun > 4  # what was done before is not done again
    assert calls[-1] == (total, total) == (3 * len(index), 3 * len(index))
    for view in ("dense", "sparse"):
        np.testing.assert_array_equal(resumed.features(view), index.features(view))
    count = len(calls)
    run()
    assert len(calls) == count  # there is nothing to do


def test_another_model_or_setting_does_not_go_into_an_index(
    model_path: Path, squares_path: Path, tmp_path: Path
) -> None:
    def run(model: Path = model_path, *, dtype: str = "float16", overwrite: bool = False) -> IndexInfo:
        out = tmp_path / "index"
        return build_index(
            model, squares_path, out, split="val", clips_per_video=1, num_workers=0, dtype=dtype, overwrite=overwrite
        ).info

    first = run()
    other = tmp_path / "other.safetensors"
    recogniser = tiny_recogniser(())
    for parameter in recogniser.encoder.parameters():
        parameter.data.mul_(1.01)
    save_model(other, recogniser, provenance={"store": {"short_side": load_model(model_path).short_side}})
    with pytest.raises(IndexFileError, match=r"holds an index with another model_fingerprint; .* or --overwrite"):
        run(other)
    with pytest.raises(IndexFileError, match="with another dtype"):
        run(dtype="float32")
    assert read_info(tmp_path / "index") == first
    assert run(other, overwrite=True).model_fingerprint != first.model_fingerprint


def test_a_classifier_or_a_copy_makes_no_other_model(model_path: Path, squares_path: Path, tmp_path: Path) -> None:
    def run(model: Path) -> IndexInfo:
        return build_index(model, squares_path, tmp_path / "index", split="val", clips_per_video=1, num_workers=0).info

    first = run(model_path)
    short_side = load_model(model_path).short_side
    save_model(tmp_path / "more.safetensors", tiny_recogniser(), provenance={"store": {"short_side": short_side}})
    assert run(tmp_path / "more.safetensors") == first


def test_features_that_are_no_numbers_are_told(squares_path: Path, tmp_path: Path) -> None:
    recogniser = tiny_recogniser(())
    next(recogniser.encoder.parameters()).data.fill_(float("nan"))
    save_model(tmp_path / "m.safetensors", recogniser, provenance={})
    with pytest.raises(ValueError, match=r"gives no finite features for val/.*\.mp4"):
        build_index(tmp_path / "m.safetensors", squares_path, tmp_path / "index", split="val", num_workers=0)


def test_mistakes_are_told(model_path: Path, squares_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    with pytest.raises(ValueError, match=r"dtype \('int8'\) must be one of float16, float32"):
        build_index(model_path, squares_path, out, dtype="int8")
    with pytest.raises(ValueError, match=r"clips_per_video \(0\) must be at least 1"):
        build_index(model_path, squares_path, out, clips_per_video=0)
    assert not out.exists()
