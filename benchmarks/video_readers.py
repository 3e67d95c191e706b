"""Ways to read the frames of a clip, each as fast as its library allows: for `loading.py`.

A reader takes a video, the increasing frame indices (N,) and the size of the frames, and gives (N, H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from sparsedense.data.store import FrameStore

Frames = NDArray[np.uint8]
Indices = NDArray[np.int64]
Size = tuple[int, int]  # height, width
Reader = Callable[[Path, Indices, Size], Frames]


def opencv_in_order(path: Path, indices: Indices, size: Size) -> Frames:
    """Every frame up to the last one that is wanted is read; these are resized."""
    capture, wanted, frames = cv2.VideoCapture(str(path)), set(indices.tolist()), []
    for number in range(int(indices[-1]) + 1):
        read, frame = capture.read()
        if not read:
            raise ValueError(f"{path} ends before frame {number}")
        if number in wanted:
            small = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames).astype(np.uint8)


def opencv_grab(path: Path, indices: Indices, size: Size) -> Frames:
    """As `opencv_in_order`, but frames that are not wanted are not turned into BGR."""
    capture, wanted, frames = cv2.VideoCapture(str(path)), set(indices.tolist()), []
    for number in range(int(indices[-1]) + 1):
        capture.grab()
        if number in wanted:
            small = cv2.resize(capture.retrieve()[1], size[::-1], interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames).astype(np.uint8)


def pyav(path: Path, indices: Indices, size: Size, *, threads: str) -> Frames:
    """Decoded in order, which is what a sparse clip needs anyway; only wanted frames are scaled, and by swscale."""
    wanted, last, frames = set(indices.tolist()), int(indices[-1]), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = threads
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                frames.append(frame.to_ndarray(format="rgb24", width=size[1], height=size[0], interpolation="AREA"))
            if number == last:
                break
    return np.stack(frames)


def decord(path: Path, indices: Indices, size: Size, *, threads: int) -> Frames:
    """One call for all frames, scaled by its own filter."""
    reader = importlib.import_module("decord").VideoReader(
        str(path), width=size[1], height=size[0], num_threads=threads
    )
    return np.asarray(reader.get_batch(indices.tolist()).asnumpy())


def torchcodec(path: Path, indices: Indices, size: Size, *, threads: int, seek_mode: str) -> Frames:
    """One call for all frames; resized by OpenCV, as the others."""
    decoders = importlib.import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=threads, seek_mode=seek_mode)
    frames = decoder.get_frames_at(indices.tolist()).data.numpy()
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames])


def video_readers() -> dict[str, Reader]:
    """Readers of original files by name; those of libraries that cannot be imported are left out, with a line."""
    readers: dict[str, Reader] = {
        "OpenCV, in order": opencv_in_order,
        "OpenCV, grab": opencv_grab,
        "PyAV, one thread": partial(pyav, threads="NONE"),
        "PyAV, auto threads": partial(pyav, threads="AUTO"),
    }
    further: dict[str, dict[str, Reader]] = {
        "decord": {
            "decord2, one thread": partial(decord, threads=1),
            "decord2, auto threads": partial(decord, threads=0),
        },
        "torchcodec.decoders": {
            f"torchcodec, {mode}, {threads or 'auto'} threads": partial(torchcodec, threads=threads, seek_mode=mode)
            for mode in ("exact", "approximate")
            for threads in (1, 0)
        },
    }
    for module, those in further.items():
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError, OSError) as error:  # torchcodec raises one or another without FFmpeg
            print(f"left out, {module} cannot be imported: {str(error).splitlines()[0]}")
        else:
            readers |= those
    return readers


def decode_pil(data: bytes) -> Frames:
    """One JPEG by Pillow: what webdataset's own decoders use."""
    import io

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def decode_simplejpeg(data: bytes) -> Frames:
    """One JPEG by the decoder that the store uses."""
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))


def webdataset_pairs(
    shards: list[Path], indices_of: Callable[[int], Indices], decode: Callable[[bytes], Frames]
) -> Iterator[Frames]:
    """A webdataset pipeline over the shards: samples in order, of each the wanted frames decoded and stacked."""
    wds: Any = importlib.import_module("webdataset")

    def clip(sample: dict[str, Any]) -> Frames:
        return np.stack([decode(sample[f"{index:06d}.jpg"]) for index in indices_of(int(sample["__key__"]))])

    yield from wds.WebDataset([str(shard) for shard in shards], shardshuffle=False, nodesplitter=None).map(clip)


def write_litdata(store: FrameStore, folder: Path, *, packed: bool) -> Path:
    """The JPEG frames of a store's videos as a LitData set, a video a sample.

    Args:
        store: the store.
        folder: where to write; what is there is kept.
        packed: the frames of a video as one array and where each ends, instead of a leaf a frame.
    """
    if not (folder / "index.json").exists():
        litdata: Any = importlib.import_module("litdata")
        sample = partial(_litdata_sample, store=store, packed=packed)
        litdata.optimize(
            fn=sample, inputs=store.videos().tolist(), output_dir=str(folder), num_workers=1, chunk_bytes="64MB"
        )
    return folder


def _litdata_sample(video: int, *, store: FrameStore, packed: bool) -> list[Any]:
    frames = store.stored_bytes(video, np.arange(store.length_frames(video)))
    if packed:
        return [video, np.concatenate(frames), np.cumsum([len(frame) for frame in frames])]
    return [video, *(np.array(frame) for frame in frames)]


def litdata_pairs(folder: Path, indices_of: Callable[[int], Indices]) -> Iterator[Frames]:
    """A LitData pipeline: samples in order, of each the wanted frames decoded and stacked."""
    litdata: Any = importlib.import_module("litdata")
    for video, *stored in litdata.StreamingDataset(str(folder), shuffle=False):
        indices = indices_of(int(video))
        if len(stored) == 2:
            data, ends = stored
            frames = [data[ends[index - 1] if index else 0 : ends[index]] for index in indices]
        else:
            frames = [stored[index] for index in indices]
        yield np.stack([decode_simplejpeg(frame) for frame in frames])
