"""The videos of a store that are most like one: their features are computed in the background, when first asked for.

Shapes: N videos, D features.
"""

import hashlib
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.app.analysis import WatchingModel
from sparsedense.app.store_clips import StoreClips
from sparsedense.data.errors import StoreError
from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.data.store import FrameStore

_VIDEOS_AT_ONCE = 4
_MOST_FRAMES = 1500  # of a video, from its middle; one frame at 128 x 170 takes 65 kB
_SAVED_EVERY = 200


class Neighbours:
    """Features of a store's videos and the nearest of them.

    Args:
        model: what computes features.
        store: whose videos they are of.
        clips: reads their frames.
        turn: to be held while the model is used.
        is_idle: set while no analysis runs or waits; these go first.
        cache: file that keeps the features; None keeps them in memory only.
    """

    def __init__(
        self,
        model: WatchingModel,
        store: FrameStore,
        clips: StoreClips,
        *,
        turn: threading.Lock,
        is_idle: threading.Event,
        cache: Path | None,
    ) -> None:
        self._model, self._store, self._clips = model, store, clips
        self._turn, self._is_idle, self._cache = turn, is_idle, cache
        self._features: list[NDArray[np.float32]] = []  # of unit length
        self._ids: list[int] = []
        self._done = 0  # videos that were looked at, damaged ones included
        # In mixed order, so that an answer before the end is about all classes; always the same, for what is kept.
        self._wanted = np.random.default_rng(0).permutation(store.videos())
        self._begun, self._stopped = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def nearest(self, features_D: NDArray[np.float32], *, k: int, except_for: int | None = None) -> dict[str, Any]:
        """The videos of those described so far whose features point most nearly in the same direction.

        Args:
            features_D: of the video to compare with.
            k: how many.
            except_for: a video of the store that is left out.
        """
        self._begin()
        done = self._done
        ids, features = self._ids[:], self._features[: len(self._ids)]
        record: dict[str, Any] = {"done": done, "total": len(self._wanted), "nearest": []}
        if not ids:
            return record
        similarities_N = np.stack(features[: len(ids)]) @ _unit(features_D)
        order = [row for row in np.argsort(-similarities_N, kind="stable").tolist() if ids[row] != except_for][:k]
        record["nearest"] = [
            {"video_id": ids[row], "similarity": round(float(similarities_N[row]), 4)} for row in order
        ]
        return record

    def close(self) -> None:
        """Stop the background work; what is done is kept."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _begin(self) -> None:
        with self._begun:
            if self._thread is None:
                self._load()
                self._thread = threading.Thread(target=self._run, name="sparsedense-neighbours", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._done < len(self._wanted):
            while not self._is_idle.wait(timeout=0.2):
                if self._stopped.is_set():
                    break
            if self._stopped.is_set():
                break
            self._describe(self._wanted[self._done : self._done + _VIDEOS_AT_ONCE].tolist())
            if self._done % _SAVED_EVERY < _VIDEOS_AT_ONCE:
                self._save()
        self._save()

    def _describe(self, video_ids: list[int]) -> None:
        read: dict[int, NDArray[np.uint8]] = {}
        for video_id in video_ids:
            num_frames = self._store.length_frames(video_id)
            count = min(num_frames, _MOST_FRAMES)
            try:
                read[video_id] = np.stack(list(self._clips.frames(video_id, (num_frames - count) // 2, count)))
            except StoreError as error:
                logging.getLogger("uvicorn.error").warning("%s; it is left out of the nearest clips", error)
        if read:
            with self._turn:
                rows = self._model.embed(list(read.values())).features_ND
            self._features += [_unit(row) for row in rows]
            self._ids += read
        self._done += len(video_ids)

    def _load(self) -> None:
        if self._cache is None or not self._cache.is_file():
            return
        with np.load(self._cache, allow_pickle=False) as kept:
            self._ids, self._features = kept["ids"].tolist(), list(kept["features"])
            self._done = int(kept["done"])

    def _save(self) -> None:
        if self._cache is None or not self._ids:
            return
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        with complete_file(self._cache) as partial, partial.open("wb") as file:
            np.savez(file, ids=np.array(self._ids), features=np.stack(self._features), done=np.array(self._done))


def cache_path(folder: Path, model: Path, store: Path) -> Path:
    """Where the features of a store by a model are kept: another file for whatever else is in either."""
    mark = hashlib.sha256()
    with model.open("rb") as file:
        while block := file.read(1 << 20):
            mark.update(block)
    for name in ("store.json", "manifest.parquet"):
        mark.update((store / name).read_bytes())
    return folder / f"features-{mark.hexdigest()[:24]}.npz"


def _unit(features_D: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(features_D / max(float(np.linalg.norm(features_D)), 1e-12), dtype=np.float32)
