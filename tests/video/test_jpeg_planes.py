from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.video import jpeg_planes
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.jpeg_planes import JpegPlanes, JpegPlaneScaler
from sparsedense.video.scale import FrameScaler

MOST_LOSS_DB = 0.1
Picture = NDArray[np.uint8]


def colourful(height: int, width: int) -> Picture:
    """Soft waves, hard edges in strong colours, and grain."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin(x / 23) + np.cos(y / 17)
    picture = np.stack([110 + 60 * wave, 120 + 50 * np.roll(wave, 40, 1), 100 - 55 * wave], axis=-1)
    picture[height // 6 : height // 2, width // 10 : width // 3] = (220, 30, 40)
    picture[height // 3 : height * 4 // 5, width // 2 : width * 3 // 4] = (30, 60, 230)
    picture += np.random.default_rng(0).integers(-8, 9, (height, width, 1))
    return picture.clip(0, 255).astype(np.uint8)


def coded(
    picture: Picture, *, pix_fmt: str = "yuv420p", colorspace: int = 2, full_range: bool = False
) -> av.VideoFrame:
    """A frame as a decoder gives it, its chroma in the middle of the pixels it is for."""
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format=pix_fmt, dst_color_range="JPEG" if full_range else "MPEG", interpolation="BICUBIC"
    )
    frame.colorspace = colorspace
    return frame


def exact_rgb(frame: av.VideoFrame, height: int, width: int) -> NDArray[np.float32]:
    """Slow reference of BT.601: chroma to every pixel by interpolation, formula in floats, then the mean over areas."""
    planes = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]  # type: ignore[call-overload]
    y, cb, cr = (
        p[: plane.height, : plane.width].astype(np.float32) for p, plane in zip(planes, frame.planes, strict=True)
    )
    cb, cr = (cv2.resize(c, y.shape[::-1], interpolation=cv2.INTER_LINEAR) - 128 for c in (cb, cr))
    if int(frame.color_range) != 2:
        y, cb, cr = (y - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1).clip(0, 255)
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def psnr_db(one: NDArray[np.float32], other: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def loss_db(frame: av.VideoFrame, height: int, width: int) -> float:
    """How much worse a frame is that went into the JPEG file by planes, not by RGB."""
    planes = JpegPlaneScaler(width, height, short_side=128)(frame)
    assert planes is not None
    rgb = np.ascontiguousarray(FrameScaler(width, height, short_side=128)(frame))
    by_rgb = simplejpeg.encode_jpeg(rgb, 90, colorspace="RGB", colorsubsampling="420")
    exact = exact_rgb(frame, *rgb.shape[:2])
    ways = (by_rgb, simplejpeg.encode_jpeg_yuv_planes(*planes, 90))
    before, after = (psnr_db(exact, simplejpeg.decode_jpeg(data, "RGB")) for data in ways)
    return before - after


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
def test_as_good_as_by_rgb(pix_fmt: str) -> None:
    losses = [
        loss_db(coded(colourful(*size), pix_fmt=pix_fmt, full_range=full_range), *size)
        for size in ((240, 320), (320, 240), (188, 334), (270, 480), (480, 640))
        for full_range in (False, True)
    ]
    assert np.mean(losses) < MOST_LOSS_DB
    assert max(losses) < 1.5 * MOST_LOSS_DB


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turned_frame_is_the_turned_picture(quarter_turns: int) -> None:
    frame = coded(colourful(240, 320))
    scale = JpegPlaneScaler(320, 240, short_side=128)
    straight, turned = scale(frame), scale(frame, quarter_turns)
    assert straight is not None
    assert turned is not None
    np.testing.assert_array_equal(turned.luma, np.rot90(straight.luma, quarter_turns))
    assert turned.cb.shape == ((turned.shape[0] + 1) // 2, (turned.shape[1] + 1) // 2)
    pictures = [simplejpeg.decode_jpeg(simplejpeg.encode_jpeg_yuv_planes(*planes, 95), "RGB").astype(np.float32)
                for planes in (straight, turned)]  # fmt: skip
    assert np.abs(np.rot90(pictures[0], quarter_turns) - pictures[1]).mean() < 3


def test_chroma_is_the_mean_of_four_pixels_and_edges_count_twice() -> None:
    frame = coded(colourful(90, 130), pix_fmt="yuv444p", full_range=True)
    planes = JpegPlaneScaler(130, 90, short_side=45)(frame)
    assert planes is not None
    assert (planes.shape, planes.cr.shape) == ((45, 65), (23, 33))
    whole = FrameScaler(130, 90, short_side=45)(frame).astype(np.float64)
    cr = 128 + whole @ (0.5, -0.418688, -0.081312)
    padded = np.pad(cr, ((0, 1), (0, 1)), mode="edge")
    expected = padded.reshape(23, 2, 33, 2).mean(axis=(1, 3))
    assert np.abs(planes.cr - expected).max() < 2


@pytest.mark.parametrize("size", [(32, 42), (33, 42), (32, 43), (33, 43)], ids=str)
@pytest.mark.parametrize("quarter_turns", [0, 1])
def test_file_does_not_depend_on_what_lies_in_memory_behind_the_frame(
    size: tuple[int, int], quarter_turns: int
) -> None:
    height, width = size
    frame = coded(colourful(2 * height, 2 * width), pix_fmt="yuv444p")
    files, others = set(), []
    for number in range(30):
        others.append(np.random.default_rng(number).integers(0, 256, 700 * (number + 1)))
        planes = JpegPlaneScaler(2 * width, 2 * height, short_side=height)(frame, quarter_turns)
        assert planes is not None
        files.add(simplejpeg.encode_jpeg_yuv_planes(*planes, 90))
    assert len(files) == 1


@pytest.mark.parametrize(
    ("pix_fmt", "colorspace", "short_side", "why"),
    [
        ("yuv420p", 1, 128, "BT.709"),
        ("yuv420p", 9, 128, "BT.2020"),
        ("rgb24", 0, 128, "RGB"),
        ("gbrp", 0, 128, "RGB in planes"),
        ("yuv420p", 2, 240, "not scaled"),
        ("yuv420p", 2, 180, "hardly scaled"),
    ],
)
def test_other_frames_go_through_rgb(pix_fmt: str, colorspace: int, short_side: int, why: str) -> None:
    frame = coded(colourful(240, 320), pix_fmt=pix_fmt, colorspace=colorspace)
    assert JpegPlaneScaler(320, 240, short_side=short_side)(frame) is None, why


def test_every_frame_of_a_file_comes_in_one_form_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(colourful(120, 160), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoDecoder(path) as decoder:
        assert all(isinstance(frame, JpegPlanes) for frame in decoder.jpeg_frames(short_side=60))
    with VideoDecoder(path) as decoder:
        frames = list(decoder.jpeg_frames(short_side=120))
    assert len(frames) == 3
    assert all(isinstance(frame, np.ndarray) and frame.shape == (120, 160, 3) for frame in frames)


@given(height=st.integers(1, 9), width=st.integers(1, 9), padding=st.integers(0, 3), seed=st.integers(0, 999))
def test_chroma_is_halved_exactly(height: int, width: int, padding: int, seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, 256, (2 * height, 2 * width + padding), dtype=np.uint8)
    plane = plane[:, : 2 * width]
    sums = plane.astype(np.int64).reshape(height, 2, width, 2).sum(axis=(1, 3))
    np.testing.assert_array_equal(jpeg_planes._halved(plane), (sums + 2) // 4)


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 999))
def test_an_odd_side_is_made_even_by_its_edge(height: int, width: int, seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    expected = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    np.testing.assert_array_equal(jpeg_planes._even_sides(plane), expected)
