"""Makes an index of a store: the dense and the sparse features of each video; goes on where it was interrupted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.data.locations import parse_location, resolved
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import output_batches
from sparsedense.file_lock import file_lock
from sparsedense.prediction.video_model import DEFAULT_CLIPS_PER_VIDEO
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.retrieval.approximate import build_approximate, check_faiss
from sparsedense.retrieval.fingerprint import feature_fingerprint, store_fingerprint
from sparsedense.retrieval.index import Index, load_index
from sparsedense.retrieval.index_files import (
    DTYPES,
    VIEWS,
    IndexFileError,
    IndexInfo,
    approximate_path,
    create_features,
    open_features,
    read_info,
    remove_index,
    write_info,
    write_rows,
)
from sparsedense.retrieval.nearest import unit_rows

Progress = Callable[[int, int], None]

_ROWS_BETWEEN_SAVES = 256  # what is lost at most by an interruption
_LOCK_NAME = ".index.lock"


def build_index(
    model: str | Path,
    store: FrameStore | str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    clips_per_video: int = DEFAULT_CLIPS_PER_VIDEO,
    dtype: str = "float16",
    approximate: bool = False,
    overwrite: bool = False,
    batch_size: int = 16,
    num_workers: int = 1,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Index:
    """Compute the features of a store's videos and keep them for search; the same call goes on where one was ended.

    Args:
        model: a model file; it needs no classes.
        store: frame store, or its folder or URL.
        out: folder to write.
        split: index only this split; None takes every video that can be read.
        clips_per_video: evenly spaced dense clips whose features are averaged.
        dtype: `float16`, or `float32` for twice the disk and the last digits of the similarities.
        approximate: also prepare approximate search with FAISS, which pays off above a million videos.
        overwrite: delete an index of another model, store or setting that is in `out`.
        batch_size: clips that go through the network at a time.
        num_workers: processes that read clips.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        precision: of the model's answers, as in `load_model`.
        progress: called with clips done and clips in all.

    Raises:
        IndexFileError: `out` holds another index.
        ValueError: the store has no videos of the split, or a setting cannot be.
        MissingFaissError: FAISS is asked for and not installed.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype ({dtype!r}) must be one of {', '.join(DTYPES)}")
    if clips_per_video < 1:
        raise ValueError(f"clips_per_video ({clips_per_video}) must be at least 1")
    if approximate:
        check_faiss()
    recogniser = load_model(model, device=device, precision=precision)
    frame_store = store if isinstance(store, FrameStore) else open_store(store)
    video_ids, folder = _videos(frame_store, split), Path(out)
    plan = IndexInfo(
        model=str(Path(model).resolve()),
        model_fingerprint=feature_fingerprint(recogniser),
        store=resolved(parse_location(frame_store.location)),
        store_fingerprint=store_fingerprint(frame_store.path),
        split=split,
        clips_per_video=clips_per_video,
        dtype=dtype,
        num_rows=len(video_ids),
        feature_dim=recogniser.feature_dim,
        done=dict.fromkeys(VIEWS, 0),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / _LOCK_NAME, busy=f"{folder}: another process is making this index"):
        info = _begin(folder, plan, frame_store, video_ids, overwrite=overwrite)
        work = _Work(recogniser, frame_store, video_ids, folder, batch_size, num_workers, progress)
        for view in VIEWS:
            info = work.compute(view, info)
            if approximate:
                build_approximate(approximate_path(folder, view), open_features(folder, view, info))
    return load_index(folder)


def _videos(store: FrameStore, split: str | None) -> NDArray[np.int64]:
    video_ids = store.videos(split=split)
    if not len(video_ids):
        wanted = "videos" if split is None else f"videos of split {split!r}"
        raise ValueError(f"{store.location} has no {wanted}; see `sparsedense inspect {store.location}`")
    return video_ids


def _begin(
    folder: Path, plan: IndexInfo, store: FrameStore, video_ids: NDArray[np.int64], *, overwrite: bool
) -> IndexInfo:
    """What is done of an index already; a new one is laid out."""
    there = read_info(folder)
    if there is not None:
        different = plan.differences(there)
        if not different:
            return there
        if not overwrite:
            raise IndexFileError(
                f"{folder} holds an index with another {', '.join(different)}; choose another folder, or --overwrite"
            )
        remove_index(folder)
    write_rows(folder, store, video_ids)
    for view in VIEWS:
        create_features(folder, view, plan)
    write_info(folder, plan)
    return plan


class _Work:
    """The computing of an index, view by view."""

    def __init__(
        self,
        model: VideoRecogniser,
        store: FrameStore,
        video_ids: NDArray[np.int64],
        folder: Path,
        batch_size: int,
        num_workers: int,
        progress: Progress | None,
    ) -> None:
        self._model, self._store, self._video_ids, self._folder = model, store, video_ids, folder
        self._batch_size, self._num_workers, self._progress = batch_size, num_workers, progress

    def compute(self, view: str, info: IndexInfo) -> IndexInfo:
        """Fill the array of a view from where it ends, and save from time to time how far it is."""
        clips_each = {"dense": info.clips_per_video, "sparse": 1}
        begun = sum(info.done[each] * clips_each[each] for each in VIEWS)
        total = info.num_rows * sum(clips_each.values())
        if info.done[view] == info.num_rows:
            return info
        features_ND = open_features(self._folder, view, info, writable=True)
        batches = output_batches(
            self._model,
            self._store,
            self._video_ids[info.done[view] :],
            self._model.features,
            num_clips=info.clips_per_video,
            view=view,
            batch_size=self._batch_size,
            num_workers=self._num_workers,
            progress=None if self._progress is None else lambda done, _: self._advance(begun + done, total),
        )
        waiting_BD = torch.zeros(0, info.feature_dim)
        row = saved = info.done[view]
        for batch_BD in batches:
            waiting_BD = torch.cat([waiting_BD, batch_BD])
            whole = len(waiting_BD) // clips_each[view]
            means_VD = waiting_BD[: whole * clips_each[view]].view(whole, clips_each[view], -1).mean(dim=1)
            waiting_BD = waiting_BD[whole * clips_each[view] :]
            features_ND[row : row + whole] = unit_rows(self._checked(means_VD.numpy(), row))
            row += whole
            if row - saved >= _ROWS_BETWEEN_SAVES or row == info.num_rows:
                features_ND.flush()
                info, saved = info.with_done(view, row), row
                write_info(self._folder, info)
        return info

    def _advance(self, done: int, total: int) -> None:
        if self._progress:
            self._progress(done, total)

    def _checked(self, means_VD: NDArray[np.float32], first_row: int) -> NDArray[np.float32]:
        """Features that are numbers."""
        bad = np.flatnonzero(~np.isfinite(means_VD).all(axis=1))
        if len(bad):
            path = self._store.paths[int(self._video_ids[first_row + bad[0]])]
            raise ValueError(
                f"the model gives no finite features for {path}; it was probably trained on until it diverged"
            )
        return means_VD
