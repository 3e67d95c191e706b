from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsedense.prediction.batches import video_outputs
from sparsedense.prediction.clips import VideoClips
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

CPU = torch.device("cpu")
Read = tuple[VideoSource, VideoClips | UnreadableVideoError]


def video(number: int, num_clips: int) -> Read:
    """A video of random clips; one without clips is one that cannot be read."""
    source = VideoSource(f"{number}.mp4", Path(f"{number}.mp4"))
    if not num_clips:
        return source, UnreadableVideoError("elsewhere", "broken")
    rng = np.random.default_rng(number)
    shares = rng.dirichlet(np.ones(num_clips)).astype(np.float32)
    return source, VideoClips(rng.integers(0, 256, (num_clips, 2, 3, 3, 3), dtype=np.uint8), shares, 7, "damaged")


def colours(clips_BCTHW: Tensor) -> Tensor:
    return clips_BCTHW.mean(dim=(2, 3, 4))


@given(counts=st.lists(st.integers(0, 6), max_size=12), batch_size=st.integers(1, 9))
def test_videos_are_the_means_of_their_clips_in_full_batches(counts: list[int], batch_size: int) -> None:
    videos = [video(number, count) for number, count in enumerate(counts)]
    sizes: list[int] = []

    def output(clips_BCTHW: Tensor) -> Tensor:
        sizes.append(len(clips_BCTHW))
        return colours(clips_BCTHW)

    outputs = list(video_outputs(output, videos, device=CPU, batch_size=batch_size))
    assert [found.source for found in outputs] == [source for source, _ in videos]
    for found, (_, clips) in zip(outputs, videos, strict=True):
        if isinstance(clips, UnreadableVideoError):
            assert (found.mean_D, found.error, found.num_frames) == (None, "broken", 0)
            continue
        per_clip = clips.frames_UTHWC.mean(axis=(1, 2, 3)) / 255
        assert found.mean_D is not None
        np.testing.assert_allclose(found.mean_D, (per_clip * clips.shares_U[:, None]).sum(axis=0), rtol=1e-4)
        assert (found.error, found.num_frames, found.damage) == (None, 7, "damaged")
    assert sizes == [batch_size] * (sum(counts) // batch_size) + [sum(counts) % batch_size] * bool(
        sum(counts) % batch_size
    )


def test_a_video_is_given_as_soon_as_its_last_clip_is_done() -> None:
    taken: list[int] = []

    def videos() -> list[Read]:
        return [video(number, 2) for number in range(4)]

    def counted() -> object:
        for number, read in enumerate(videos()):
            taken.append(number)
            yield read

    outputs = video_outputs(colours, counted(), device=CPU, batch_size=4)  # type: ignore[arg-type]
    next(outputs)
    assert taken == [0, 1]
    next(outputs)
    assert taken == [0, 1]
    next(outputs)
    assert taken == [0, 1, 2, 3]


def test_clips_come_as_floats_in_0_to_1_without_gradient() -> None:
    seen: list[tuple[torch.dtype, tuple[int, ...], bool]] = []

    def output(clips_BCTHW: Tensor) -> Tensor:
        seen.append((clips_BCTHW.dtype, tuple(clips_BCTHW.shape), torch.is_grad_enabled()))
        assert clips_BCTHW.max() <= 1
        return colours(clips_BCTHW)

    list(video_outputs(output, [video(0, 3)], device=CPU, batch_size=2))
    assert seen == [(torch.float32, (2, 3, 2, 3, 3), False), (torch.float32, (1, 3, 2, 3, 3), False)]


def test_a_batch_holds_a_clip() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(0\) must be at least 1"):
        next(video_outputs(colours, [], device=CPU, batch_size=0))
