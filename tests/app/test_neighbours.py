import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.app.neighbours import Neighbours, cache_path
from sparsedense.app.store_clips import StoreClips
from sparsedense.data.store import FrameStore
from sparsedense.prediction.video_recogniser import VideoRecogniser


def made(model: VideoRecogniser, store: FrameStore, folder: Path, is_idle: threading.Event) -> Neighbours:
    clips = StoreClips(store, folder)
    return Neighbours(model, store, clips, turn=threading.Lock(), is_idle=is_idle, cache=folder / "features.npz")


def waited(neighbours: Neighbours, features_D: NDArray[np.float32]) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while (found := neighbours.nearest(features_D, k=3))["done"] < found["total"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_analyses_go_first_and_what_was_computed_is_kept(
    colour_model: VideoRecogniser, app_store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_idle = threading.Event()
    blue_D = np.array([-1.0, -1.0, 2.0], dtype=np.float32)
    first = made(colour_model, app_store, tmp_path, is_idle)
    first.nearest(blue_D, k=3)
    time.sleep(0.3)
    assert first.nearest(blue_D, k=3) == {"done": 0, "total": 7, "nearest": []}
    is_idle.set()
    found = waited(first, blue_D)
    first.close()

    # By the definition: cosine of the features of the stored frames.
    ids = app_store.videos()
    rows = colour_model.embed([np.stack(list(StoreClips(app_store, tmp_path).frames(i, 0, 40))) for i in ids.tolist()])
    cosines = rows.features_ND @ blue_D / np.linalg.norm(rows.features_ND, axis=1) / np.linalg.norm(blue_D)
    nearest = found["nearest"]
    assert isinstance(nearest, list)
    assert [each["video_id"] for each in nearest] == ids[np.argsort(-cosines)[:3]].tolist()
    np.testing.assert_allclose([each["similarity"] for each in nearest], np.sort(cosines)[::-1][:3], atol=1e-3)

    monkeypatch.setattr(VideoRecogniser, "embed", None)  # nothing is computed a second time
    again = made(colour_model, app_store, tmp_path, is_idle)
    assert again.nearest(blue_D, k=3) == found
    again.close()


def test_another_model_or_store_has_another_file(app_store: FrameStore, tmp_path: Path) -> None:
    models = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for model in models:
        model.write_bytes(model.name.encode())
    paths = [cache_path(tmp_path, model, app_store.path) for model in models]
    assert paths[0] != paths[1]
    assert paths[0] == cache_path(tmp_path, models[0], app_store.path)
    assert paths[0].parent == tmp_path
