"""How fast a training pair comes from the store, beside the ways in which others read it.

    python benchmarks/loading.py [--videos 24] [--rounds 7] [--work FOLDER] [--json OUT]
    python benchmarks/loading.py --videos 3 --frames 120 --rounds 2      # to try it

A pair is a sparse and a dense clip of 16 frames of one video, with a short side of 128 pixels. All read the same clips
of the same videos, and give them in the same size, in one process; the JPEG frames that webdataset and LitData stream
are those of the store. The last target is that of the whole loader (clips of 112 pixels, cropped and resized, in a
batch) beside the JPEG decoder alone on the frames that it needs. Each round lets all read all videos once, one after
the other; ratios are medians over rounds, so that what else the machine does disturbs all alike. The files are in the
page cache. LitData is there twice: with a leaf a frame, and with the frames of a video in one array and an offset table
of our own beside it, which is what our store is; that one has no target.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import simplejpeg
import torch

from footage import film
from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.prepare import prepare
from sparsedense.data.sampling import random_views
from sparsedense.data.store import FrameStore
from video_readers import (
    Frames,
    Indices,
    Reader,
    decode_pil,
    decode_simplejpeg,
    litdata_pairs,
    video_readers,
    webdataset_pairs,
    write_litdata,
)

LENGTH, SKIP_RATIO, SHORT_SIDE = 16, 4.0, 128
STORES = ("store, jpeg", "store, raw")
ORDERED = "OpenCV, in order"
LITDATA = "LitData, a leaf a frame"
LOADER, DECODER = "loader, jpeg", "JPEG decoder alone"
# What must hold: the ratio of the store to the best of these ways.
TARGETS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("store, jpeg", (ORDERED,), 8.0),
    ("store, raw", (ORDERED,), 50.0),
    ("store, jpeg", ("PyAV", "decord2", "torchcodec"), 5.0),
    ("store, jpeg", ("webdataset",), 1.5),
    ("store, jpeg", (LITDATA,), 1.5),
    ("loader, jpeg", (DECODER,), 0.7),
)
MOST_DIFFERENCE = 16.0  # mean of absolute differences in levels; the scalers differ, the frames must not
Round = Callable[[], list[Frames]]
UNLIKE = (LOADER, DECODER)  # these give clips of another size, or none


class LoaderRounds:
    """The whole loader, and the decoder alone on the frames that it needs."""

    def __init__(self, store: FrameStore) -> None:
        self._dataset = TrainingClips(store, ClipConfig(), AugmentConfig(), seed=0)
        videos = store.videos()
        self._sampler = DrawSampler(videos, draws_per_epoch=len(videos), seed=0)
        self._stored: list[Frames] = []
        height, width = np.max([store.frame_size(video) for video in videos.tolist()], axis=0)
        self._buffer = np.empty(3 * height * width, dtype=np.uint8)

    def begin(self, number: int) -> None:
        """Choose the clips of a round."""
        self._sampler.set_epoch(number)
        plans = [self._dataset.plan(draw) for draw in self._sampler]
        self._stored = [
            frame
            for plan in plans
            for frame in self._dataset.store.stored_bytes(plan.video_id, np.unique(self._dataset.wanted(plan)))
        ]

    def load(self) -> list[Frames]:
        """Batches of 8 videos."""
        return [
            batch["dense"].numpy()
            for batch in training_loader(self._dataset, self._sampler, batch_size=8, num_workers=0)
        ]

    def decode(self) -> list[Frames]:
        """The decoder as it comes, into memory that is warm."""
        for stored in self._stored:
            simplejpeg.decode_jpeg(stored, "RGB", buffer=self._buffer)
        return []


class Pairs:
    """The clips: for each video and round the same frames for everyone."""

    def __init__(self, store: FrameStore) -> None:
        self._store, self.round = store, 0

    def __call__(self, video_id: int) -> Indices:
        """Increasing indices of the different frames of both clips."""
        views = random_views(
            self._store.length_frames(video_id),
            clip_length=LENGTH,
            skip_ratios=(SKIP_RATIO,),
            rng=np.random.default_rng((self.round, video_id)),
        )
        return np.unique(np.concatenate([views.sparse, views.dense[0]]))


def ways(
    stores: dict[str, FrameStore], originals: list[Path], pairs: Pairs, loader: LoaderRounds, work: Path
) -> dict[str, Round]:
    """Everyone's way to read all videos once."""
    jpeg = stores[STORES[0]]
    videos = jpeg.videos().tolist()

    def from_store(store: FrameStore) -> list[Frames]:
        return [store.read(video, pairs(video)).permute(1, 2, 3, 0).numpy() for video in videos]

    def from_originals(reader: Reader) -> list[Frames]:
        return [reader(originals[video], pairs(video), jpeg.frame_size(video)) for video in videos]

    def streamed(decode: Callable[[bytes], Frames]) -> list[Frames]:
        return list(webdataset_pairs(sorted((jpeg.path / "shards").glob("*.tar")), pairs, decode))

    found: dict[str, Round] = {name: partial(from_store, store) for name, store in stores.items()}
    found |= {LOADER: loader.load, DECODER: loader.decode}
    found |= {name: partial(from_originals, reader) for name, reader in video_readers().items()}
    if importlib.util.find_spec("webdataset") is None:
        print("left out, webdataset is not installed")
    else:
        found["webdataset, Pillow"] = partial(streamed, decode_pil)
        found["webdataset, simplejpeg"] = partial(streamed, decode_simplejpeg)
    if importlib.util.find_spec("litdata") is None:
        print("left out, litdata is not installed")
    else:
        for name, packed in ((LITDATA, False), ("LitData, an array a video", True)):
            folder = write_litdata(jpeg, work / f"litdata-{packed}", packed=packed)
            found[name] = lambda folder=folder: list(litdata_pairs(folder, pairs))  # type: ignore[misc]
    return found


def measure(found: dict[str, Round], pairs: Pairs, loader: LoaderRounds, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round; a first one, not timed, checks that all give the same frames."""
    expected = found[STORES[1]]()
    for name, read in found.items():
        given = read()
        if name in UNLIKE:
            continue
        for one, other in zip(given, expected, strict=True):
            difference = np.abs(one.astype(np.int16) - other).mean() if one.shape == other.shape else np.inf
            if difference > MOST_DIFFERENCE:
                raise SystemExit(f"{name} gives other frames: {one.shape}, {other.shape}, difference {difference:.1f}")
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds):
        pairs.round = number + 1
        loader.begin(number + 1)
        for name, read in found.items():
            start = time.perf_counter()
            read()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def judge(seconds: dict[str, list[float]]) -> list[dict[str, object]]:
    """The targets, with the median ratio to the best of those named."""
    verdicts = []
    for store, rivals, target in TARGETS:
        there = [name for name in seconds if name.startswith(rivals)]
        if not there:
            continue
        best = min(there, key=lambda name: median(seconds[name]))
        ratio = median(other / own for other, own in zip(seconds[best], seconds[store], strict=True))
        verdicts.append({"store": store, "against": best, "ratio": ratio, "target": target, "met": ratio >= target})
    return verdicts


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--frames", type=int, default=250, help="of each video")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, help="folder to make and keep videos and stores in (a temporary one)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    return parser.parse_args()


def main() -> int:
    """Measure, print a table, and return 1 where a target is missed."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        film(work / "videos", videos=arguments.videos, frames=arguments.frames)
        stores = {}
        for name, codec in zip(STORES, ("jpeg", "raw"), strict=True):
            prepare(work / "videos", work / codec, codec=codec, short_side=SHORT_SIDE, test_fraction=0, val_fraction=0)
            stores[name] = FrameStore(work / codec)
        pairs = Pairs(stores[STORES[0]])
        originals = [work / "videos" / path for path in stores[STORES[0]].paths]
        loader = LoaderRounds(stores[STORES[0]])
        seconds = measure(ways(stores, originals, pairs, loader, work), pairs, loader, arguments.rounds)
    verdicts = judge(seconds)
    print(f"{'way':<38}{'ms a pair':>12}{'jpeg store is':>16}{'raw store is':>14}")
    for name, times in seconds.items():
        ratios = [median(o / s for o, s in zip(times, seconds[store], strict=True)) for store in STORES]
        print(f"{name:<38}{1e3 * median(times) / arguments.videos:>12.2f}{ratios[0]:>14.1f} x{ratios[1]:>12.1f} x")
    for verdict in verdicts:
        met = "met" if verdict["met"] else "MISSED"
        print(
            f"{verdict['store']} against {verdict['against']}: {verdict['ratio']:.2f} x of {verdict['target']}: {met}"
        )
    if arguments.json:
        found = {"cores": os.cpu_count(), "seconds": seconds, "verdicts": verdicts, "videos": arguments.videos}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(verdict["met"] for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
