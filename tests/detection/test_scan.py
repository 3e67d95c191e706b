import tracemalloc
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.held_frames import TimedPicture
from sparsedense.detection.scan import Scan, ScanSettings, ScoreCurve
from tests.detection.known_curves import FPS, PLAIN, classes_by_grey, grey_frames


def scanned(
    values: NDArray[np.int64], *, effort: float, stride_frames: float = 2.0, length: int = 8, num_scales: int = 3
) -> tuple[Scan, ScoreCurve]:
    """The scan of a video, and its whole curve."""
    config = ScanSettings(ClipGrid(length, num_scales), stride_frames, effort, batch_size=5)
    scan = Scan(grey_frames(values), classes_by_grey(3), config, PLAIN)
    curves = list(scan)
    for before, after in pairwise(curves):
        assert before.edges_seconds[-1] == after.edges_seconds[0]
    edges = np.concatenate([curves[0].edges_seconds[:1], *(curve.edges_seconds[1:] for curve in curves)])
    logits = np.concatenate([curve.outputs_KPD for curve in curves], axis=1)
    return scan, ScoreCurve(edges, logits, np.concatenate([curve.presence_KP for curve in curves], axis=1))


def actions(num_frames: int) -> NDArray[np.int64]:
    """Idle (0), with class 1 in the second and class 2 in the fourth fifth."""
    values = np.zeros(num_frames, dtype=np.int64)
    values[num_frames // 5 : 2 * num_frames // 5] = 1
    values[3 * num_frames // 5 : 4 * num_frames // 5] = 2
    return values


@settings(max_examples=60, deadline=None)
@given(
    num_frames=st.integers(1, 900),
    effort=st.sampled_from([0.0, 0.2, 1.0]),
    stride_frames=st.sampled_from([1.0, 1.7, 3.0]),
    length=st.sampled_from([3, 4, 8]),
    num_scales=st.integers(1, 3),
)
def test_the_curve_covers_the_video_and_every_frame_is_read_once(
    num_frames: int, effort: float, stride_frames: float, length: int, num_scales: int
) -> None:
    scan, curve = scanned(
        actions(num_frames), effort=effort, stride_frames=stride_frames, length=length, num_scales=num_scales
    )
    assert scan.counts.frames_decoded == num_frames
    assert scan.counts.frames_converted <= np.ceil(num_frames / stride_frames) + 1
    assert curve.edges_seconds[0] == 0.0
    assert curve.edges_seconds[-1] == pytest.approx(num_frames / FPS)
    assert (np.diff(curve.edges_seconds) > 0).all()
    assert (curve.presence_KP.max(axis=0) > 0).all()
    if effort == 1:
        assert scan.counts.clips_computed == scan.counts.clips_exhaustive
    else:
        skim = scanned(
            actions(num_frames), effort=0, stride_frames=stride_frames, length=length, num_scales=num_scales
        )[0].counts.clips_computed
        most = skim + effort * (scan.counts.clips_exhaustive - skim)
        windows = num_frames / (stride_frames * ClipGrid(length, num_scales).window_ticks) + 1
        assert skim <= scan.counts.clips_computed <= most + windows


def test_full_effort_gives_the_scores_of_every_clip() -> None:
    values = actions(1500)
    _, curve = scanned(values, effort=1.0, stride_frames=2.0)
    grid, score = ClipGrid(8, 3), classes_by_grey(3)
    ticks = values[::2]
    for position in (0, 1, 57, 150, 200, curve.outputs_KPD.shape[1] - 1):
        clip = ticks[np.clip(grid.clip_ticks(0, position), 0, len(ticks) - 1)]
        expected = score(clip.astype(np.uint8)[None, :, None, None, None])[0]
        np.testing.assert_allclose(curve.outputs_KPD[0, position], expected[0], atol=1e-5)
    assert (curve.presence_KP == 1).all()


def test_zoom_computes_clips_at_the_boundaries_and_not_in_what_is_clear() -> None:
    values = actions(6000)
    seen: list[float] = []
    inner = classes_by_grey(3)

    def score(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.extend(clips[:, :, 0, 0, 0].std(axis=1).tolist())
        return inner(clips)

    list(Scan(grey_frames(values), score, ScanSettings(ClipGrid(8, 3), 2.0, 0.0), PLAIN))
    skim, seen[:] = len(seen), []
    zoomed = Scan(grey_frames(values), score, ScanSettings(ClipGrid(8, 3), 2.0, 0.5), PLAIN)
    list(zoomed)
    # Four boundaries, and about each a few clips of every scale, of hundreds that might be computed.
    assert skim < len(seen) < skim + 120 < zoomed.counts.clips_exhaustive / 5
    assert sum(spread > 0 for spread in seen) >= 12


def test_the_skim_tells_what_happens_and_the_zoom_when() -> None:
    values = actions(1000)
    expected = {label: (values == label) for label in (1, 2)}
    errors = {}
    for effort in (0.0, 0.3, 1.0):
        _, curve = scanned(values, effort=effort)
        told = PLAIN(curve.outputs_KPD, curve.presence_KP).argmax(axis=1)
        centres = ((curve.edges_seconds[1:] + curve.edges_seconds[:-1]) / 2 * FPS).astype(int)
        errors[effort] = float(np.mean([(told == label) != expected[label][centres] for label in (1, 2)]))
    assert errors[1.0] <= errors[0.3] <= errors[0.0] <= 0.1
    assert errors[0.3] <= 0.02


def test_frames_and_memory_do_not_grow_with_the_length() -> None:
    def peak(num_frames: int) -> tuple[int, int]:
        def source() -> Iterator[TimedPicture]:
            for number in range(num_frames):
                grey = number // 300 % 3
                yield TimedPicture(number / FPS, partial(np.full, (64, 64, 3), grey, dtype=np.uint8))

        scan = Scan(source(), classes_by_grey(3), ScanSettings(ClipGrid(4, 2), 5.0, 0.1, 4), PLAIN)
        tracemalloc.start()
        for _ in scan:
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return scan.counts.most_frames_held, most

    short, long = peak(1_500), peak(30_000)  # one minute, twenty
    grid = ClipGrid(4, 2)
    # Read, skimmed and zoomed, and what is read ahead; how far ahead depends on the threads.
    assert max(short[0], long[0]) <= 4 * grid.window_ticks + 2 * grid.span_ticks(1)
    assert long[1] < 1.1 * short[1]


def test_ten_hours_hold_no_more_frames_than_ten_minutes() -> None:
    def most_held(num_frames: int, *, read_ahead: bool) -> int:
        def source() -> Iterator[TimedPicture]:
            picture = np.zeros((1, 1, 3), dtype=np.uint8)
            return (TimedPicture(number / FPS, lambda: picture) for number in range(num_frames))

        scan = Scan(
            source(), classes_by_grey(3), ScanSettings(ClipGrid(4, 2), 25.0, 0.0, 64, read_ahead=read_ahead), PLAIN
        )
        positions = sum(curve.outputs_KPD.shape[1] for curve in scan)
        assert positions == -(-num_frames // 25)
        assert scan.counts.frames_decoded == num_frames
        return scan.counts.most_frames_held

    assert most_held(900_000, read_ahead=False) == most_held(15_000, read_ahead=False)


def test_the_skim_alone_converts_few_frames() -> None:
    scan, _ = scanned(actions(2000), effort=0.0, stride_frames=1.0, length=16)
    assert scan.counts.frames_converted <= 0.55 * 2000


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        scanned(np.zeros(0, dtype=np.int64), effort=1.0)


@pytest.mark.parametrize("values", [{"stride_frames": 0.5}, {"effort": 1.5}, {"batch_size": 0}])
def test_settings_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ScanSettings(**{"grid": ClipGrid(8), "stride_frames": 2.0, **values})  # type: ignore[arg-type]
