"""Videos in, the most similar videos of an index out.

    for answer in sparsedense.retrieve("index", ["clip.mp4"]):
        for found in answer.neighbours:
            print(found.similarity, found.label, found.path)

Shapes: Q queries, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from sparsedense.prediction.reading_options import Progress
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.retrieval.fingerprint import feature_fingerprint
from sparsedense.retrieval.index import Index, Neighbour
from sparsedense.retrieval.index_files import IndexFileError

_SHOWN_DIGITS = 12  # of a fingerprint


@dataclass(frozen=True)
class Retrieval:
    """What was found for one video.

    Attributes:
        query: the video, as it was given.
        neighbours: the most similar videos, the most similar first.
        view: which features were compared.
        video_id: of the store, where the query is a video of the index.
        damage: where and why decoding ended before the end of the file; the answer is about the frames before.
        error: why the video could not be read; None where it could.
    """

    query: str
    neighbours: tuple[Neighbour, ...] = ()
    view: str = "dense"
    video_id: int | None = None
    damage: str | None = None
    error: str | None = None


class SearchOptions(TypedDict, total=False):
    """Keywords of `Index.search` that are the same for all queries."""

    k: int
    split: str | None
    search: str


def retrieve(
    index: Index | str | Path,
    videos: Sequence[str | Path],
    *,
    model: VideoRecogniser | str | Path | None = None,
    view: str = "dense",
    exclude_same_group: bool = False,
    batch_size: int = 16,
    num_threads: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
    **options: Unpack[SearchOptions],
) -> list[Retrieval]:
    """Find the videos of an index that are most like each of some videos.

    Args:
        index: an index or its folder.
        videos: paths of videos of the index, as they are in its store, which are compared with all others; and files,
            folders, globs, http URLs and `-`.
        model: the model that the index was made with; None takes the file that the index names. It is not needed for
            videos of the index.
        view: `dense` compares evenly spaced dense clips, `sparse` the one clip that spans the video.
        exclude_same_group: leave out videos of the query's group (actor, scene, source video), which for a query that
            is not in the index is unknown.
        batch_size: clips that go through the network at a time.
        num_threads: videos decoded at a time; None takes one a core.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        precision: of the model's answers, as in `load_model`.
        progress: called with videos done and videos in all.
        options: `k`, `split` and `search`, as of `Index.search`.

    Returns:
        an answer for each video of the index, then for each other video that could be read, then for the others.

    Raises:
        IndexFileError: the index or the model cannot be used, or do not belong together.
        ValueError: an argument cannot be, or a group is unknown.
    """
    index = index if isinstance(index, Index) else Index(index)
    rows = {str(video): None if Path(video).exists() else index.row_of(str(video)) for video in videos}
    known = {name: row for name, row in rows.items() if row is not None}
    others = [name for name, row in rows.items() if row is None]
    if exclude_same_group and others:
        raise ValueError(
            f"{others[0]} is no video of {index.path}, so its group is not known; name a video by its path in the "
            "store, as the answers show it"
        )
    answers: list[Retrieval] = []
    if known:
        features_QD = np.stack([index.features(view)[row] for row in known.values()]).astype(np.float32)
        groups = [index.group_of(row) for row in known.values()] if exclude_same_group else None
        found = index.search(
            features_QD, view=view, without_rows=list(known.values()), without_groups=groups, **options
        )
        answers += [
            Retrieval(name, tuple(neighbours), view, index.video_id_of(row))
            for (name, row), neighbours in zip(known.items(), found, strict=True)
        ]
    if others:
        recogniser = matching_model(index, model, device=device, precision=precision)
        embeddings = recogniser.embed(
            others,
            view=view,
            clips_per_video=index.info.clips_per_video,
            batch_size=batch_size,
            num_threads=num_threads,
            progress=progress,
        )
        found = index.search(embeddings.features_ND, view=view, **options) if embeddings.videos else []
        answers += [
            Retrieval(name, tuple(neighbours), view, damage=embeddings.damages.get(name))
            for name, neighbours in zip(embeddings.videos, found, strict=True)
        ]
        answers += [Retrieval(name, view=view, error=error) for name, error in embeddings.errors.items()]
    return answers


def matching_model(
    index: Index,
    model: VideoRecogniser | str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> VideoRecogniser:
    """The model that an index was made with.

    Args:
        index: the index.
        model: that model, or its file; None takes the file that the index names.
        device: where to compute.
        precision: of the model's answers, as in `load_model`.

    Raises:
        IndexFileError: it is another model, or the file is not there any more.
    """
    if model is None and not Path(index.info.model).is_file():
        raise IndexFileError(
            f"{index.path} was made with {index.info.model}, which is not there any more; give that model with --model"
        )
    recogniser = (
        model
        if isinstance(model, VideoRecogniser)
        else load_model(model or index.info.model, device=device, precision=precision)
    )
    fingerprint = feature_fingerprint(recogniser)
    if fingerprint != index.info.model_fingerprint:
        raise IndexFileError(
            f"{recogniser.name} is not the model that {index.path} was made with: its features are "
            f"{fingerprint[:_SHOWN_DIGITS]}, those of the index {index.info.model_fingerprint[:_SHOWN_DIGITS]}; give "
            f"that model with --model, or make the index again with `sparsedense index {recogniser.name} "
            f"{index.info.store} --out {index.path} --overwrite`"
        )
    return recogniser
