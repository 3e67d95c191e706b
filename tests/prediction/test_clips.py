import shutil
import tracemalloc
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.evaluation_clips import EvaluationClips
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.prediction import clips
from sparsedense.prediction.clips import ClipForm, StoppedError, VideoClips, read_clips
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.read import stream_frames
from sparsedense.video.write import write_video
from tests.conftest import HEIGHT, MOTIONS, square_frames
from tests.video.sample_videos import numbered_frames, write_numbered, write_truncated

CLIPS = ClipConfig(length=8, size=16, evaluation_stride_frames=None)


def form(*, clips: ClipConfig = CLIPS, short_side: int = HEIGHT, clips_per_video: int = 4) -> ClipForm:
    return ClipForm(clips, short_side, clips_per_video)


def read(path: Path, wanted: ClipForm) -> VideoClips:
    return read_clips(VideoSource(str(path), path), wanted)


def repeated(clips: VideoClips, clips_per_video: int) -> NDArray[np.uint8]:
    """All clips asked for, in order; different ones come in the order of their frames."""
    return np.repeat(clips.frames_UTHWC, np.round(clips.shares_U * clips_per_video).astype(int), axis=0)


@pytest.mark.parametrize("stride_frames", [None, 2.0])
def test_clips_of_a_file_are_those_of_a_store(
    raw_store: FrameStore, squares_folder: Path, stride_frames: float | None
) -> None:
    settings = ClipConfig(length=8, size=16, evaluation_stride_frames=stride_frames)
    videos = raw_store.videos(split=["test", "unlabelled"])
    dataset = EvaluationClips(raw_store, videos, settings, num_clips=4)
    for row, video_id in enumerate(videos.tolist()):
        found = read(squares_folder / raw_store.paths[video_id], form(clips=settings, short_side=raw_store.short_side))
        expected = np.stack([dataset[4 * row + clip].frames_THWC.numpy() for clip in range(4)])
        assert found.num_frames == raw_store.num_frames[video_id]
        np.testing.assert_array_equal(repeated(found, 4), expected)


def test_clips_of_a_damaged_file_are_those_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "videos" / "a").mkdir(parents=True)
    path = write_truncated(tmp_path / "videos" / "a" / "short.mp4", 40, keep=0.6)
    prepare(tmp_path / "videos", tmp_path / "store", codec="raw", workers=1)
    store = FrameStore(tmp_path / "store")
    found = read(path, form(short_side=128))
    dataset = EvaluationClips(store, np.array([0]), CLIPS, num_clips=4)
    assert found.damage is not None
    assert found.damage == store.manifest["reason"][0].as_py()
    assert found.num_frames == store.num_frames[0]
    expected = np.stack([dataset[clip].frames_THWC.numpy() for clip in range(4)])
    np.testing.assert_array_equal(repeated(found, 4), expected)


@pytest.mark.parametrize("claimed", [0, 7, 39, 41, 400])
def test_a_wrong_count_of_frames_changes_nothing(tmp_path: Path, claimed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", 40)
    expected = read(path, form())
    monkeypatch.setattr(clips, "count_frames", lambda _path: claimed)
    found = read(path, form())
    assert found.num_frames == expected.num_frames == 40
    np.testing.assert_array_equal(found.frames_UTHWC, expected.frames_UTHWC)


def test_a_video_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", 40)
    decoded = []

    class Spy(VideoDecoder):
        def __init__(self, path: str | Path) -> None:
            decoded.append(path)
            super().__init__(path)

    monkeypatch.setattr(clips, "VideoDecoder", Spy)
    read(path, form())
    assert decoded == [path]


def test_a_video_that_changes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = iter([20, 30])
    path = tmp_path / "a.mp4"

    class Changing(VideoDecoder):
        def __init__(self, path: str | Path) -> None:
            write_numbered(Path(path), next(lengths))
            super().__init__(path)

    write_numbered(path, 10)
    monkeypatch.setattr(clips, "VideoDecoder", Changing)
    with pytest.raises(UnreadableVideoError, match=r"a\.mp4: each reading gives another number of frames"):
        read(path, form())


def test_an_array_of_a_files_frames_gives_the_files_clips(squares_folder: Path) -> None:
    path = squares_folder / "unlabelled" / "unknown_1.mp4"
    frames = np.stack(list(stream_frames(path)))
    as_is = read_clips(VideoSource("array", frames), form())
    np.testing.assert_array_equal(as_is.frames_UTHWC, read(path, form()).frames_UTHWC)
    # Scaled, colours are converted before in the one and after in the other.
    smaller = form(short_side=26)
    scaled = read_clips(VideoSource("array", frames), smaller).frames_UTHWC.astype(float)
    difference = np.abs(scaled - read(path, smaller).frames_UTHWC)
    assert difference.mean() < 3, "of 255"


def test_an_array_may_be_a_view(squares_folder: Path) -> None:
    frames = np.stack(list(stream_frames(squares_folder / "unlabelled" / "unknown_1.mp4")))
    mirrored = read_clips(VideoSource("array", frames[:, :, ::-1]), form())
    expected = read_clips(VideoSource("array", np.ascontiguousarray(frames[:, :, ::-1])), form())
    np.testing.assert_array_equal(mirrored.frames_UTHWC, expected.frames_UTHWC)


@given(num_frames=st.integers(1, 45), clips_per_video=st.integers(1, 12), length=st.integers(2, 9))
def test_shares_stand_for_all_clips(num_frames: int, clips_per_video: int, length: int) -> None:
    settings = ClipConfig(length=length, size=8, evaluation_stride_frames=2.0)
    frames = numbered_frames(num_frames, 8, 8)
    found = read_clips(VideoSource("array", frames), form(clips=settings, clips_per_video=clips_per_video))
    assert found.shares_U.sum() == pytest.approx(1.0)
    indices_MT = settings.evaluation_indices(num_frames, clips_per_video)
    assert len(found.frames_UTHWC) == len({tuple(clip) for clip in indices_MT.tolist()})
    np.testing.assert_array_equal(repeated(found, clips_per_video), frames[indices_MT])


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = {}
    for num_frames in (150, 1500):
        path = tmp_path / f"{num_frames}.mp4"
        write_video(path, square_frames(MOTIONS["right"], 2, num_frames=num_frames, seed=0))
        tracemalloc.start()
        found = read(path, form())
        peaks[num_frames] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.num_frames == num_frames
    assert peaks[1500] < 1.1 * peaks[150] + 100_000, "a frame has 5,760 bytes, so 1350 more would have 7.8 MB"


@pytest.mark.parametrize("shape", [(16, 640, 3), (64, 640, 3)])
def test_a_cropped_frame_does_not_keep_the_whole_one(shape: tuple[int, ...]) -> None:
    cropped = clips.crop_frame(np.zeros(shape, dtype=np.uint8), 16)
    assert cropped.shape == (16, 16, 3)
    assert cropped.base is None


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 10)
    stop = Event()
    stop.set()
    with pytest.raises(StoppedError):
        read_clips(VideoSource("a", path), form(), stop)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match=r"nowhere\.mp4: file not found"):
        read(tmp_path / "nowhere.mp4", form())
    with pytest.raises(UnreadableVideoError, match="a folder: it is empty"):
        read_clips(VideoSource("a folder", None, "it is empty"), form())
    shutil.copy(__file__, tmp_path / "text.mp4")
    with pytest.raises(UnreadableVideoError, match="not a video file"):
        read(tmp_path / "text.mp4", form())
